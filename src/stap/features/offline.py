"""Whether anything may be fetched: `stap --offline`, or HF_HUB_OFFLINE in the environment, and every download asks here first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["OFFLINE", "hub_as_told", "is_offline"]

OFFLINE = "HF_HUB_OFFLINE"  # the switch of the Hugging Face Hub's client, which stap takes for all downloads


def is_offline() -> bool:
    """Whether nothing may be fetched."""
    return os.environ.get(OFFLINE, "").strip().upper() in {"1", "ON", "YES", "TRUE"}


@contextmanager
def hub_as_told() -> Iterator[None]:
    """The Hub's client obeys the switch as it is now; by itself it reads it when it is imported."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or is_offline()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
