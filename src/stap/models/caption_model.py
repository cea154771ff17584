"""The contract between models and everything that uses them: encode a video once, then step word by word."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from stap.models.batch import CaptionBatch, VideoBatch

__all__ = ["CaptionModel", "DecoderState", "Losses", "Memory", "Step"]


@dataclass(frozen=True)
class DecoderState:
    """Hidden and cell state of the word LSTM: h, c, each (N, H). N is a multiple of the number of videos B; see `CaptionModel`."""

    h: Tensor
    c: Tensor

    def select(self, rows: Tensor) -> DecoderState:
        """The states of the given rows, in that order (a beam that continues them)."""
        return DecoderState(self.h[rows], self.c[rows])


@dataclass(frozen=True)
class Memory:
    """Everything the decoder looks at, computed once a video.

    states: (B, T, H).   keys: (B, T, A), the states projected for the decoder's attention.   is_padding: (B, T) bool.
    start: the decoder's first state, one row a video.
    embedding: (B, H), the video in the joint space of videos and sentences (matching and search).
    pooling_weights: (B, T, R), where the encoder looked in each frame; None for encoders that do not choose.
    """

    states: Tensor
    keys: Tensor
    is_padding: Tensor
    start: DecoderState
    embedding: Tensor
    pooling_weights: Tensor | None = None

    @property
    def size(self) -> int:
        """B, the number of videos."""
        return len(self.states)

    def select(self, videos: Tensor) -> Memory:
        """The memory of the given videos, in that order."""
        return Memory(
            self.states[videos],
            self.keys[videos],
            self.is_padding[videos],
            self.start.select(videos),
            self.embedding[videos],
            None if self.pooling_weights is None else self.pooling_weights[videos],
        )


@dataclass(frozen=True)
class Step:
    """One word: logits (N, V), the next state, and the attention over the video's frames (N, T)."""

    logits: Tensor
    state: DecoderState
    attention: Tensor


@dataclass(frozen=True)
class Losses:
    """Named parts of the loss, unweighted, and the total to minimise; all are scalars, averaged over the batch."""

    total: Tensor
    parts: dict[str, Tensor]


class CaptionModel(nn.Module, ABC):
    """What decoding and training need of a model, and all they need.

    Rows of a decoder state are grouped by video: with B videos in memory and N rows, row n belongs to video n // (N / B).
    A beam and several captions of one video both fit, and memory is never copied for them.
    """

    @abstractmethod
    def encode(self, batch: VideoBatch) -> Memory:
        """Watch the videos."""

    @abstractmethod
    def start(self, memory: Memory, rows_per_video: int = 1) -> DecoderState:
        """The first decoder state: B * rows_per_video rows."""

    @abstractmethod
    def step(self, memory: Memory, state: DecoderState, words: Tensor) -> Step:
        """Read one word a row, (N,) int64 ids (BOS first), and predict the next."""

    @abstractmethod
    def loss(self, batch: VideoBatch, captions: CaptionBatch) -> Losses:
        """The training loss of these captions of these videos."""
