"""The input of a model: padded streams of features, and captions as word ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.profiler import record_function

from stap.errors import ShapeError
from stap.text.special_ids import BOS, PAD

__all__ = ["CaptionBatch", "VideoBatch"]


@dataclass(frozen=True)
class VideoBatch:
    """Features of B videos, a tensor a stream.

    streams: 'grid' (B, T, R, D), 'motion' (B, D) ..., as stored (float16) or, after `to`, in float32; rows past a video's end hold
    zeros.
    is_padding: for streams with a time axis, (B, T) bool, True where the video has no frame; padding comes last.
    video_numbers: (B,) int64, equal where two rows are the same video (they are never each other's negative).
    """

    streams: Mapping[str, Tensor]
    is_padding: Mapping[str, Tensor]
    video_numbers: Tensor

    def __post_init__(self) -> None:
        sizes = {name: len(stream) for name, stream in self.streams.items()} | {"video_numbers": len(self.video_numbers)}
        if len(set(sizes.values())) != 1:
            raise ShapeError(f"the streams disagree on the number of videos: {sizes}.")
        for name, padding in self.is_padding.items():
            if padding.shape != self.streams[name].shape[:2]:
                raise ShapeError(
                    f"{name}: padding {tuple(padding.shape)} for a stream {tuple(self.streams[name].shape)}; expected its first two sizes."
                )
            if bool(padding.all(dim=1).any()):
                raise ShapeError(f"{name}: a video without any frame.")

    @property
    def size(self) -> int:
        """B, the number of videos."""
        return len(self.video_numbers)

    def to(self, device: torch.device | str) -> VideoBatch:
        """The same batch on a device, in float32, as models take it.

        The bytes travel as they are stored and are cast on the device: a GPU is sent half as many.
        """
        with record_function("features to float32"):
            return VideoBatch(
                {name: stream.to(device, non_blocking=True).float() for name, stream in self.streams.items()},
                {name: padding.to(device, non_blocking=True) for name, padding in self.is_padding.items()},
                self.video_numbers.to(device, non_blocking=True),
            )


@dataclass(frozen=True)
class CaptionBatch:
    """Captions of the B videos of a batch, K each, as word ids.

    words: (B*K, L) int64: the caption, then EOS, then PAD; no BOS. Row n belongs to video n // K.
    """

    words: Tensor
    captions_per_video: int = field(default=1)

    @property
    def inputs(self) -> Tensor:
        """(B*K, L): the decoder's input at each step under teacher forcing: BOS, then the words without the last."""
        start = torch.full_like(self.words[:, :1], BOS)
        return torch.cat([start, self.words[:, :-1]], dim=1)

    @property
    def is_padding(self) -> Tensor:
        """(B*K, L) bool: True after the EOS."""
        return self.words == PAD

    @property
    def lengths(self) -> Tensor:
        """(B*K,) int64, the words of each caption with its EOS."""
        return (self.words != PAD).sum(dim=1)

    def to(self, device: torch.device | str) -> CaptionBatch:
        """The same captions on another device."""
        return CaptionBatch(self.words.to(device, non_blocking=True), self.captions_per_video)
