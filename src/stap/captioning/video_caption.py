"""The caption of one video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

__all__ = ["Alternative", "Provenance", "VideoCaption"]


@dataclass(frozen=True)
class Alternative:
    """Another caption of a video, with its score."""

    caption: str
    score: float


@dataclass(frozen=True)
class Provenance:
    """Who said a caption: the model's name, its revision (None of a folder), what it was asked (None if nothing), and the seconds it took."""

    model: str
    revision: str | None
    prompt: str | None
    seconds: float


@dataclass(frozen=True)
class VideoCaption:
    """The caption of one video, and its attention where the captioner has one.

    score: log-probability of the caption and its end; of a captioner of the Hub its mean over the tokens.   words: the caption's L words.
    stream: the features that the model attends to over time, such as 'grid' or 'regions'; None without attention.
    attention: (L, T) float32, the weight of each frame of that stream for each word; rows sum to 1, or to less if a model (STAT
    without masks) also attends to padding. None of a captioner that shows none.
    times_seconds: (T,) float32, presentation times of the frames that were seen, from the start of the clip.
    pooling_weights: (T, R) float32, over the locations of each frame; None without learned pooling.
    alternatives: further captions that were kept of a beam, the best first, or that were drawn at random.   provenance: of a captioner of the Hub.
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
    alternatives: tuple[Alternative, ...] = ()
    provenance: Provenance | None = None

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
            **({"alternatives": [asdict(one) for one in self.alternatives]} if self.alternatives else {}),
            **(asdict(self.provenance) if self.provenance else {}),
        }


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 5) for value in values.tolist()]
