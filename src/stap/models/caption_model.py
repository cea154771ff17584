"""The contract between models and everything that uses them: encode a video once, then step word by word."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stap.models.batch import CaptionBatch, VideoBatch
from stap.text.special_ids import BOS, PAD

__all__ = [
    "Attention",
    "CaptionModel",
    "DecoderState",
    "Losses",
    "Memory",
    "Positions",
    "Step",
    "attentions_of",
    "without_special_words",
    "word_log_probabilities",
]


@dataclass(frozen=True)
class DecoderState:
    """Hidden and cell state of the word LSTM: h, c, each (N, H). N is a multiple of the number of videos B; see `CaptionModel`."""

    h: Tensor
    c: Tensor

    def select(self, rows: Tensor) -> DecoderState:
        """The states of the given rows, in that order (a beam that continues them)."""
        return DecoderState(self.h[rows], self.c[rows])


@dataclass(frozen=True)
class Positions:
    """The F positions in time of a stream that an attention weighs, for each of B videos.

    stream: its name in `VideoBatch.streams`.
    indices: (B, F) int64, the index in the stream of each position; on padding they mean nothing.
    is_padding: (B, F) bool, True where the video has no such position; padding comes last.
    """

    stream: str
    indices: Tensor
    is_padding: Tensor

    @classmethod
    def all_of(cls, stream: str, is_padding: Tensor) -> Positions:
        """Every position of a stream with this padding, (B, T)."""
        return cls(stream, torch.arange(is_padding.shape[1], device=is_padding.device).expand(is_padding.shape), is_padding)

    @property
    def size(self) -> int:
        """B, the number of videos."""
        return len(self.indices)

    def select(self, videos: Tensor) -> Positions:
        """Those of the given videos, in that order."""
        return Positions(self.stream, self.indices[videos], self.is_padding[videos])

    def of_video(self, video: int) -> Positions:
        """Those of one video without its padding, on the CPU: B is 1."""
        is_real = ~self.is_padding[video]
        return Positions(self.stream, self.indices[video, is_real][None].cpu(), self.is_padding[video, is_real][None].cpu())


@dataclass(frozen=True)
class Attention:
    """Where a model attends, for N rows of B videos; row n belongs to video n // (N / B).

    weights: (N, F), over the positions in time.
    places: (N, F, R), over the places of each position, where they sum to 1; None for an attention over time only.
    """

    positions: Positions
    weights: Tensor
    places: Tensor | None = None

    def of_video(self, video: int) -> Attention:
        """That of one video on the CPU, in float32 or better, over its own positions without padding: (N / B, F') and (N / B, F', R)."""
        rows = len(self.weights) // self.positions.size
        own, is_real = slice(video * rows, (video + 1) * rows), ~self.positions.is_padding[video]
        return Attention(
            self.positions.of_video(video),
            _on_cpu(self.weights[own, is_real]),
            None if self.places is None else _on_cpu(self.places[own, is_real]),
        )


def _on_cpu(weights: Tensor) -> Tensor:
    return weights.cpu().to(torch.promote_types(weights.dtype, torch.float32))


@dataclass(frozen=True)
class Memory:
    """A batch of videos as the decoder sees it, computed once a video. What it attends to is in each decoder's own subclass.

    positions: those of `Step.attention`.
    start: the decoder's first state, one row per video.
    embedding: (B, H), the video in the joint space of videos and sentences, where the model has one: see `CaptionModel.sentences`.
    pooling_weights: (B, F, R), over the places of each of the positions, the same for every word, where the encoder pools them; None for
    encoders that do not choose.
    """

    positions: Positions
    start: DecoderState
    embedding: Tensor
    pooling_weights: Tensor | None = None

    @property
    def size(self) -> int:
        """B, the number of videos."""
        return self.positions.size

    def select(self, videos: Tensor) -> Memory:
        """The memory of the given videos, in that order."""
        return Memory(
            self.positions.select(videos),
            self.start.select(videos),
            self.embedding[videos],
            None if self.pooling_weights is None else self.pooling_weights[videos],
        )


@dataclass(frozen=True)
class Step:
    """One word of N rows: logits (N, V), the next state, and every attention by its name.

    main: the name of the one over time that goes with a caption.
    """

    logits: Tensor
    state: DecoderState
    attentions: Mapping[str, Attention]
    main: str

    @property
    def attention(self) -> Attention:
        """The main one. Its positions are those of the memory."""
        return self.attentions[self.main]


@dataclass(frozen=True)
class Losses:
    """Named parts of the loss, unweighted, and the total to minimise; all are scalars, averaged over the batch."""

    total: Tensor
    parts: dict[str, Tensor]


class CaptionModel(nn.Module, ABC):
    """The interface that decoding and training use.

    Rows of a decoder state are grouped by video: with B videos in memory and N rows, row n belongs to video n // (N / B).
    A beam and several captions of one video both fit, and memory is never copied for them.
    """

    @property
    def output_bias(self) -> nn.Parameter | None:
        """The bias of the output layer, with a value for each of the last words of the vocabulary; None without."""
        return None

    @abstractmethod
    def encode(self, batch: VideoBatch) -> Memory:
        """Encode the videos for the decoder."""

    @property
    def has_joint_space(self) -> bool:
        """Whether it learned to match videos and sentences: `sentences` and `Memory.embedding` can be compared by their cosine."""
        return getattr(self, "sentence_encoder", None) is not None

    def sentences(self, captions: CaptionBatch) -> Tensor:
        """(N, H): captions in the joint space of a model that has one."""
        raise NotImplementedError(f"{type(self).__name__} has no joint space.")

    def start(self, memory: Memory, rows_per_video: int = 1) -> DecoderState:
        """The memory's start state, once for each row: B * rows_per_video rows."""
        h, c = memory.start.h, memory.start.c
        return DecoderState(h.repeat_interleave(rows_per_video, dim=0), c.repeat_interleave(rows_per_video, dim=0))

    @abstractmethod
    def step(self, memory: Memory, state: DecoderState, words: Tensor) -> Step:
        """Read one word per row, (N,) int64 ids (BOS first), and predict the next."""

    @abstractmethod
    def loss(self, batch: VideoBatch, captions: CaptionBatch) -> Losses:
        """The training loss of these captions of these videos."""

    def log_probabilities(self, memory: Memory, captions: CaptionBatch) -> Tensor:
        """(W,): the log-probability of each word of the captions, EOS included, caption by caption, in float32 or better.

        A caption may end without EOS. PAD and BOS are no words: they have no probability. This is one `step` after the other; subclasses
        read whole captions at once.
        """
        state, before = self.start(memory, captions.captions_per_video), torch.full_like(captions.words[:, 0], BOS)
        logits = []
        for words in captions.words.unbind(1):
            step = self.step(memory, state, before)
            logits.append(step.logits)
            state, before = step.state, words
        return word_log_probabilities(torch.stack(logits, dim=1)[~captions.is_padding], captions.words[~captions.is_padding])


def without_special_words(logits: Tensor) -> Tensor:
    """(..., V) logits in float32 or better, -inf for PAD and BOS."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits.index_fill(-1, torch.tensor([PAD, BOS], device=logits.device), float("-inf"))


def word_log_probabilities(logits: Tensor, words: Tensor) -> Tensor:
    """(W, V) logits and (W,) words that were said -> (W,), where PAD and BOS have no probability."""
    return without_special_words(logits).log_softmax(dim=-1).gather(-1, words.unsqueeze(-1)).squeeze(-1)


@torch.no_grad()
def attentions_of(model: CaptionModel, memory: Memory, words: Tensor) -> dict[str, Attention]:
    """Every attention of given captions, one per video, by its name, with a row per word: N = B * L.

    words: (B, L) int64, without BOS, L at least 1; row b * L + l predicted word l of video b. A search carries the main attention of
    its hypotheses only; all attentions of the caption that it chose are computed here.
    """
    state, before = model.start(memory), torch.full_like(words[:, 0], BOS)
    steps = []
    for word in words.unbind(1):
        steps.append(model.step(memory, state, before))
        state, before = steps[-1].state, word
    return {name: _joined([step.attentions[name] for step in steps]) for name in steps[0].attentions}


def _joined(of_words: list[Attention]) -> Attention:
    """The attentions of L words with a row per video -> one with a row per word."""
    weights = torch.stack([one.weights for one in of_words], dim=1).flatten(0, 1)
    places = [one.places for one in of_words if one.places is not None]
    return Attention(of_words[0].positions, weights, torch.stack(places, dim=1).flatten(0, 1) if places else None)
