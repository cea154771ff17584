"""The contract between models and everything that uses them: encode a video once, then step word by word."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from stap.models.batch import CaptionBatch, VideoBatch
from stap.text.special_ids import BOS

__all__ = ["CaptionModel", "DecoderState", "Losses", "Memory", "Step", "looks_of"]


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
    """A batch of videos as the decoder sees it, computed once a video. What it attends to is in each decoder's own subclass.

    is_padding: (B, T) bool, of the T positions that the attention of a `Step` is over.
    start: the decoder's first state, one row a video.
    embedding: (B, H), the video in the joint space of videos and sentences (matching and search).
    pooling_weights: (B, T, R), where the encoder looked in each frame; None for encoders that do not choose.
    stream: the name of the one that the T positions are of.
    positions: (B, T) int64, which of its positions each of the T is, for models that choose among them; None: t is t.
    """

    is_padding: Tensor
    start: DecoderState
    embedding: Tensor
    pooling_weights: Tensor | None = None
    positions: Tensor | None = None
    stream: str = "grid"

    @property
    def size(self) -> int:
        """B, the number of videos."""
        return len(self.is_padding)

    def select(self, videos: Tensor) -> Memory:
        """The memory of the given videos, in that order."""
        return Memory(
            self.is_padding[videos],
            self.start.select(videos),
            self.embedding[videos],
            None if self.pooling_weights is None else self.pooling_weights[videos],
            None if self.positions is None else self.positions[videos],
            self.stream,
        )


@dataclass(frozen=True)
class Step:
    """One word: logits (N, V), the next state, and the attention over the video's frames (N, T).

    looks: every attention of the word by its name, for models that have several; see `looks_of`.
    """

    logits: Tensor
    state: DecoderState
    attention: Tensor
    looks: Mapping[str, Tensor] = field(default_factory=dict)


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


@torch.no_grad()
def looks_of(model: CaptionModel, memory: Memory, words: Tensor) -> dict[str, Tensor]:
    """Where a model looked for each word of captions that are already there, one a video: name -> (B, L, ...).

    words: (B, L) int64, without BOS; the look at place l is the one that said word l. A beam search need not carry the maps of
    all its hypotheses: those of the caption that it chose are read here. Models with one attention only give nothing.
    """
    state, before = model.start(memory), torch.full_like(words[:, 0], BOS)
    looks: dict[str, list[Tensor]] = {}
    for word in words.unbind(1):
        step = model.step(memory, state, before)
        for name, weights in step.looks.items():
            looks.setdefault(name, []).append(weights)
        state, before = step.state, word
    return {name: torch.stack(weights, dim=1) for name, weights in looks.items()}
