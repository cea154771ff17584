"""The caption of one video."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["Alternative", "Provenance", "VideoCaption", "key_frame"]

_PICTURE_PIXELS = 192  # of the longer side of a key frame


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
    embedding: (H,) float32, the video in the joint space of a model that has one (`CaptionModel.has_joint_space`).
    picture: the key frame as JPEG, where it was asked for; see `key_frame`.
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
    embedding: Tensor | None = field(default=None, repr=False)
    picture: bytes = field(default=b"", repr=False)

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


def key_frame(caption: VideoCaption, rgb_uint8: np.ndarray) -> bytes:
    """The frame that all words together attend to most, or the middle one, small, as JPEG.   rgb_uint8: (T, height, width, 3), those seen."""
    from PIL import Image

    place = len(rgb_uint8) // 2
    if caption.attention is not None and caption.attention.shape[1] == len(rgb_uint8):
        place = int(caption.attention.sum(dim=0).argmax())
    image = Image.fromarray(rgb_uint8[place])
    image.thumbnail((_PICTURE_PIXELS, _PICTURE_PIXELS))
    written = io.BytesIO()
    image.save(written, "jpeg", quality=75)
    return written.getvalue()


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 5) for value in values.tolist()]
