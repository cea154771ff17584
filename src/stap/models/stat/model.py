"""STAT: no encoder, but two-stage attention over global, motion and local features for each word. `decoder` is a word's way."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.profiler import record_function

from stap.errors import ConfigError
from stap.models.attention_penalty import attention_penalty, penalty_weight
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.caption_model import (
    Attention,
    CaptionModel,
    DecoderState,
    Losses,
    Memory,
    Positions,
    Step,
    word_log_probabilities,
)
from stap.models.inputs import InputStage
from stap.models.losses import caption_losses, select_words
from stap.models.stat.decoder import STATAttention, STATDecoder, Teaching, normal_or_orthogonal
from stap.models.stat.keys import STATKeys
from stap.models.stat.streams import Selected, STATStreams
from stap.models.word_dropout import WordDropout
from stap.recipes.settings import ModelSettings
from stap.text.special_ids import EOS

__all__ = ["STAT", "PlaceProjection", "STATMemory", "STATModel"]


@dataclass(frozen=True)
class STATMemory(Memory):
    """`Memory` and everything that STAT's attention reads.

    sequences: the positions of 'global', 'motion' and 'local', those that there are.   main: which of them the memory's are.
    """

    keys: STATKeys = field(kw_only=True)
    sequences: Mapping[str, Positions] = field(kw_only=True)
    main: str = field(kw_only=True)

    def select(self, videos: Tensor) -> STATMemory:
        """The memory of the given videos, in that order."""
        return STATMemory(
            **vars(super().select(videos)),
            keys=self.keys.select(videos),
            sequences={name: positions.select(videos) for name, positions in self.sequences.items()},
            main=self.main,
        )


class STATModel(CaptionModel):
    """A captioning model with STAT's decoder. Subclasses bring `encode`, which gives a STATMemory.

    Words have rows as in the released code: EOS, UNK and the words, so that id k of the vocabulary is row k - 2 of the embedding
    and of the output. PAD and BOS have none: BOS is read as the zero vector, and neither is ever predicted (logit -inf).
    """

    def __init__(
        self, attention: STATAttention, settings: ModelSettings, vocabulary_size: int, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        rows = vocabulary_size - EOS
        self.settings = settings
        self.label_smoothing = label_smoothing
        self.word_dropout = WordDropout(settings.word_dropout)
        self.embedding = nn.Embedding(rows, settings.embedding_size)
        self.decoder = STATDecoder(
            attention,
            rows=rows,
            hidden_size=settings.hidden_size,
            embedding_size=settings.embedding_size,
            dropout=settings.dropout,
            forget_bias=settings.forget_bias,
            output_bias=settings.output_bias != "none",
        )
        nn.init.normal_(self.embedding.weight, std=0.01)

    @property
    def output_bias(self) -> nn.Parameter | None:
        """Of all words but PAD and BOS."""
        return cast("nn.Parameter | None", self.decoder.output.bias)

    def embed(self, words: Tensor) -> Tensor:
        """(...) int64 ids -> (..., E); BOS and PAD are zero vectors."""
        embedded: Tensor = self.embedding((words - EOS).clamp_min(0))
        return embedded.masked_fill((words < EOS).unsqueeze(-1), 0)

    def step(self, memory: Memory, state: DecoderState, words: Tensor) -> Step:
        """Read one word per row and predict the next. Attentions: 'global', 'motion' and, with its places, 'local'."""
        assert isinstance(memory, STATMemory)
        logits, state, weights = self.decoder.step(memory.keys, state, self.embed(words))
        attentions = {
            name: Attention(positions, weights[name], weights.get("spatial") if name == "local" else None)
            for name, positions in memory.sequences.items()
        }
        return Step(pad(logits, (EOS, 0), value=float("-inf")), state, attentions, memory.main)

    def loss(self, batch: VideoBatch, captions: CaptionBatch) -> Losses:
        """The captions' cross-entropy and the weighted doubly stochastic penalty on every attention.

        parts: 'caption' and 'word', see `caption_losses`, and 'attention', the penalty averaged over captions, if it has a weight.
        """
        memory = self.encode(batch)
        assert isinstance(memory, STATMemory)
        return self._caption_losses(memory, captions)

    def _caption_losses(self, memory: STATMemory, captions: CaptionBatch) -> Losses:
        taught = self.teach(memory, captions)
        words = select_words(captions.words, captions) - EOS
        losses = caption_losses(taught.logits, words, len(captions.words), self.label_smoothing)
        weight, sums = penalty_weight(self.settings, len(captions.words)), taught.attention_sums
        if not weight:
            return losses
        padding = {name: memory.keys.padding_of(name) for name in sums}
        penalty = attention_penalty(sums, padding, memory.size)
        return Losses(losses.total + weight * penalty, losses.parts | {"attention": penalty})

    def log_probabilities(self, memory: Memory, captions: CaptionBatch) -> Tensor:
        """As `CaptionModel.log_probabilities`, in one pass over whole captions."""
        assert isinstance(memory, STATMemory)
        logits = pad(self.teach(memory, captions).logits, (EOS, 0), value=float("-inf"))
        return word_log_probabilities(logits, select_words(captions.words, captions))

    def teach(self, memory: STATMemory, captions: CaptionBatch) -> Teaching:
        """Read the captions under teacher forcing; the logits, of real words only, have a column for each row, that of EOS first."""
        return self.decoder.teach(
            memory.keys,
            self.start(memory, captions.captions_per_video),
            self.word_dropout(self.embed(captions.inputs)),
            captions.is_padding,
            sum_over_padding=self.settings.penalty_on_padding,
        )


class PlaceProjection(nn.Module):
    """tanh of a linear layer of each place, (B, F, R, D) -> (B, F, R, H)."""

    def __init__(self, feature_size: int, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(feature_size, hidden_size)
        normal_or_orthogonal(self.linear)

    def forward(self, places: Tensor) -> Tensor:
        """(B, F, R, D) -> (B, F, R, H)."""
        return torch.tanh(self.linear(places))


class STAT(STATModel):
    """STAT (Tu et al. 2017; Yan et al. 2020). Kind 'stat' is the authors' released code: motion and places are projected to H and
    the contexts are added. Kind 'stat-mm17' is the paper of 2017 as far as that code shows it: nothing is projected, and the
    contexts are concatenated.

    The start state is made from the mean of the global vectors (without them, of the places); nothing else is encoded.
    """

    def __init__(
        self,
        settings: ModelSettings,
        *,
        vocabulary_size: int,
        feature_sizes: Mapping[str, int],
        grid_size: tuple[int, ...] | None = None,
        inputs: InputStage | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        """feature_sizes: D of each stream.   grid_size: of the grid, as in `build_model`.   inputs: the input stage of the grid.

        Raises ConfigError if a stream is missing or does not fit.
        """
        streams = STATStreams(settings.stat, feature_sizes, None if grid_size is None else math.prod(grid_size))
        sizes, H = streams.sizes, settings.hidden_size
        is_projected = settings.kind == "stat"
        if "global" in sizes:
            _check_global(sizes["global"], settings)
        attended = dict.fromkeys(sizes, H) if is_projected else sizes
        attention = STATAttention(
            H,
            attention_size=settings.attention_size,
            global_size=attended.get("global"),
            motion_size=attended.get("motion"),
            local_size=attended.get("local"),
            fusion="sum" if is_projected else "concat",
            local_pooling=settings.stat.local_pooling,
            temporal_pooling=settings.stat.temporal_pooling,
        )
        super().__init__(attention, settings, vocabulary_size, label_smoothing)
        self.streams = streams
        self.inputs = inputs
        self.main = "global" if "global" in sizes else "local"
        start_size = sizes["global"] if self.main == "global" else attended["local"]
        self.initial_h = nn.Linear(start_size, H)
        self.initial_c = nn.Linear(start_size, H)
        self.global_projection: nn.Linear | None = None
        if settings.stat.project_global and "global" in sizes:
            self.global_projection = nn.Linear(sizes["global"], H)
        self.motion_projection = nn.Linear(sizes["motion"], H) if is_projected and "motion" in sizes else None
        self.local_projection: PlaceProjection | None = None
        if is_projected and "local" in sizes:
            self.local_projection = PlaceProjection(sizes["local"], H)
        for layer in (self.initial_h, self.initial_c, self.global_projection, self.motion_projection):
            if layer is not None:
                normal_or_orthogonal(layer)

    @record_function("encoder")
    def encode(self, batch: VideoBatch) -> STATMemory:
        """Choose the positions, project them, and compute every key. `embedding` is the start state: there is no joint space."""
        selected = self.streams.read(self._prepared(batch))
        raw = {name: stream.values for name, stream in selected.items()}
        padding = _padding(selected, raw) if self.settings.stat.mask_attention else {}
        projected = {name: self._project(name, values) for name, values in raw.items()}
        start = self._start(raw, projected)
        return STATMemory(
            positions=selected[self.main].positions,
            start=start,
            embedding=start.h,
            sequences={name: stream.positions for name, stream in selected.items()},
            main=self.main,
            keys=self.decoder.attention.keys(projected, padding),
        )

    def _prepared(self, batch: VideoBatch) -> VideoBatch:
        """The batch with the grid as the input stage gives it."""
        if self.inputs is None or "grid" not in batch.streams:
            return batch
        grid = self.inputs(batch.streams["grid"], batch.is_padding["grid"])
        return VideoBatch({**batch.streams, "grid": grid}, batch.is_padding, batch.video_numbers)

    def _project(self, name: str, values: Tensor) -> Tensor:
        if name == "local":
            return values if self.local_projection is None else self.local_projection(values)
        layer = self.motion_projection if name == "motion" else self.global_projection
        return values if layer is None else torch.tanh(layer(values))

    def _start(self, raw: Mapping[str, Tensor], projected: Mapping[str, Tensor]) -> DecoderState:
        """From the mean of the global vectors, or, without them, of the projected places. As in the released code a vector counts
        if its sum is not zero; a place's before the projection.
        """
        if self.main == "global":
            vectors = raw["global"]
            counts = vectors.sum(dim=2) != 0
        else:
            counts = raw["local"].flatten(1, 2).sum(dim=2) != 0
            vectors = projected["local"].flatten(1, 2).masked_fill(~counts.unsqueeze(2), 0)  # (B, F * R, H)
        mean = vectors.sum(dim=1) / counts.sum(dim=1, keepdim=True).clamp_min(1)
        return DecoderState(torch.tanh(self.initial_h(mean)), torch.tanh(self.initial_c(mean)))


def _padding(selected: Mapping[str, Selected], values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The padding of each stream; a place is padding too if its vector is zero."""
    padding = {name: stream.positions.is_padding for name, stream in selected.items()}
    if "local" in padding:
        padding["local"] = padding["local"].unsqueeze(-1) | (values["local"] == 0).all(dim=-1)  # (B, F, R)
    return padding


def _check_global(size: int, settings: ModelSettings) -> None:
    if settings.kind == "stat" and not settings.stat.project_global and size != settings.hidden_size:
        raise ConfigError(
            f"the global vectors have {size} values and model.hidden_size is {settings.hidden_size}; expected the same number, for "
            "they are added. Set model.stat.project_global: true to bring them to that size."
        )
