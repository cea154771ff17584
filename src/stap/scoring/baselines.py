"""Baselines that need no video: a score means something only in comparison with theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from stap.errors import ScoringError

__all__ = ["most_frequent_caption"]


def most_frequent_caption(captions: Iterable[str]) -> str:
    """The caption that occurs most often, whatever its case and surrounding spaces; among equals the first in the alphabet.

    Of the training captions, it is the best single answer for a scorer that counts whole sentences; a system that has learned
    anything from pictures scores more.

    Raises ScoringError if there is no caption.
    """
    counts = Counter(" ".join(caption.lower().split()) for caption in captions)
    if not counts:
        raise ScoringError("there is no caption to choose from. Give the captions of the training split.")
    return min(counts, key=lambda caption: (-counts[caption], caption))
