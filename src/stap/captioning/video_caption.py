"""The caption of one video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

__all__ = ["VideoCaption"]


@dataclass(frozen=True)
class VideoCaption:
    """The caption of one video, and its attention where the captioner has one.

    score: log-probability of the caption and its end.   words: the caption's L words.
    stream: the features that the model attends to over time, such as 'grid' or 'regions'; None without attention.
    attention: (L, T) float32, the weight of each frame of that stream for each word; rows sum to 1, or to less if a model (STAT
    without masks) also attends to padding. None of a captioner that shows none.
    times_seconds: (T,) float32, presentation times of the frames that were seen, from the start of the clip.
    pooling_weights: (T, R) float32, over the locations of each frame; None without learned pooling.
    """

    path: Path
    caption: str
    score: float
    words: tuple[str, ...]
    stream: str | None
    attention: Tensor | None
    times_seconds: Tensor
    pooling_weights: Tensor | None
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The object of `stap caption --format json`; stream and attention are null where there is none."""
        attention: Sequence[Any] = [None] * len(self.words) if self.attention is None else list(map(_rounded, self.attention))
        words = [{"word": word, "attention": weights} for word, weights in zip(self.words, attention, strict=True)]
        return {
            "path": str(self.path),
            "caption": self.caption,
            "score": round(self.score, 4),
            "stream": self.stream,
            "times_seconds": _rounded(self.times_seconds),
            "words": words,
            "warnings": list(self.warnings),
        }


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 5) for value in values.tolist()]
