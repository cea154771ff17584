"""One word of STAT: spatial attention, temporal attention, fusion, gate, LSTM, output layer.

The computation of the authors' released code (Tu et al. 2017; Yan et al. 2020). `STATDecoder.step` reads one word, `STATDecoder.teach`
whole captions; both go through `_advance`, which calls `STATAttention`, and `_predict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from stap.errors import ShapeError
from stap.models.attention import AdditiveAttention, AttentionLayer, EvenAttention, attention_weights, rows_per_video
from stap.models.caption_model import DecoderState
from stap.models.stat.keys import KeyedPlaces, KeyedStream, STATKeys
from stap.models.stat.weighted_sums import WeightedSums

__all__ = ["DropoutMasks", "STATAttended", "STATAttention", "STATDecoder", "Teaching", "normal_or_orthogonal"]


@dataclass(frozen=True)
class STATAttended:
    """The context of one word of N rows, and the weights that led to it.

    context: (N, C), the streams' contexts added (C = D) or concatenated.
    weights: 'global' (N, F), 'motion' (N, F'), 'local' (N, F''), each of which sums to 1; 'spatial' (N, F'', R), which sums
    to 1 in each position. Only of the streams that the attention has.
    """

    context: Tensor
    weights: Mapping[str, Tensor]

    @property
    def places(self) -> Tensor:
        """(N, F'', R): the weight of each place of each position, the product of both stages, which sums to 1."""
        return self.weights["local"].unsqueeze(-1) * self.weights["spatial"]


class STATAttention(nn.Module):
    """Spatial, then temporal attention for one word (STAT; Tu et al. 2017, Yan et al. 2020), an ordinary module for any decoder.

    For each query: additive attention pools the R places inside every position into one local vector; three further ones pool
    the global, the motion and the pooled local sequence over time; the contexts are added (the authors' released code) or
    concatenated (the paper of 2017, as far as its code still shows). Streams whose size is None are left out.

    attention = STATAttention(1024, global_size=1024, motion_size=1024, local_size=1024, attention_size=1024)
    keys = attention.keys({"global": g, "motion": m, "local": l})  # once a video
    attended = attention(h, keys)  # once a word

    local_pooling 'mean' averages the places instead, without 'spatial' weights; temporal_pooling 'mean' gives all positions the same
    weight. Initial weights: keys and scores Gaussian with standard deviation 0.01, queries orthogonal where they are square, biases 0.
    """

    def __init__(
        self,
        query_size: int,
        *,
        attention_size: int,
        global_size: int | None = None,
        motion_size: int | None = None,
        local_size: int | None = None,
        fusion: Literal["sum", "concat"] = "sum",
        local_pooling: Literal["attention", "mean"] = "attention",
        temporal_pooling: Literal["attention", "mean"] = "attention",
    ) -> None:
        """Raises ValueError if no stream has a size, or sizes to be added differ."""
        super().__init__()
        given = {"global": global_size, "motion": motion_size, "local": local_size}
        self.sizes = {name: size for name, size in given.items() if size is not None}
        if not self.sizes:
            raise ValueError("no stream: expected at least one of global_size, motion_size and local_size.")
        if fusion == "sum" and len(set(self.sizes.values())) > 1:
            raise ValueError(
                f"contexts of different sizes cannot be added: {self.sizes}. Project them, or take fusion='concat'."
            )
        self.fusion = fusion

        def additive(size: int) -> AttentionLayer:
            return AdditiveAttention(size, query_size, attention_size, score_bias=True)

        self.temporal = nn.ModuleDict(
            {name: additive(size) if temporal_pooling == "attention" else EvenAttention() for name, size in self.sizes.items()}
        )
        self.spatial: AttentionLayer | None = None
        if local_size is not None and local_pooling == "attention":
            self.spatial = additive(local_size)
        for module in self.modules():
            if isinstance(module, AdditiveAttention):
                _initialise(module)

    @property
    def context_size(self) -> int:
        """C."""
        return sum(self.sizes.values()) if self.fusion == "concat" else next(iter(self.sizes.values()))

    def keys(self, streams: Mapping[str, Tensor], is_padding: Mapping[str, Tensor] | None = None) -> STATKeys:
        """Everything about the videos that does not depend on the query.

        streams: 'global' (B, F, D), 'motion' (B, F', D), 'local' (B, F'', R, D), each with a length of its own.
        is_padding: 'global' (B, F), 'motion' (B, F') bool, 'local' (B, F'', R) bool, True on padding; a position whose places are
        all padding gets no attention either. Streams that are not in it have no padding.

        Raises ShapeError that names the stream if one is missing, unknown, or of another size.
        """
        padding = is_padding or {}
        self._check(streams, padding)
        keyed = {name: self._keyed(name, streams[name], padding.get(name)) for name in self.sizes if name != "local"}
        if "local" not in self.sizes:
            return STATKeys(keyed, None)
        places, is_missing = streams["local"], padding.get("local")
        if self.spatial is None:
            averaged = self._keyed("local", *_averaged(places, is_missing))
            return STATKeys(keyed | {"local": averaged}, None)
        # The temporal key of a pooled vector is the pooled temporal key of its places, for their weights sum to 1.
        temporal_keys = WeightedSums(self._temporal("local").keys(places).flatten(0, 1))
        return STATKeys(
            keyed, KeyedPlaces(WeightedSums(places.flatten(1, 2)), self.spatial.keys(places), temporal_keys, is_missing)
        )

    def forward(self, query: Tensor, keys: STATKeys) -> STATAttended:
        """Attend once for N queries (N, Q) of B videos; query n is of video n // (N / B), whose keys are not copied.

        Raises ShapeError if N is not a multiple of B.
        """
        contexts, weights = [], {}
        for name, stream in keys.streams.items():
            attended = self._temporal(name)(query, stream.keys, stream.values, stream.is_padding)
            contexts.append(attended.context)
            weights[name] = attended.weights
        if keys.places is not None:
            context, weights["local"], weights["spatial"] = self._attend_places(query, keys.places)
            contexts.append(context)
        fused = torch.cat(contexts, dim=1) if self.fusion == "concat" else torch.stack(contexts).sum(dim=0)
        return STATAttended(fused, weights)

    def _attend_places(self, query: Tensor, places: KeyedPlaces) -> tuple[Tensor, Tensor, Tensor]:
        """Spatial, then temporal attention: the context (N, D), temporal (N, F) and spatial weights (N, F, R)."""
        assert self.spatial is not None
        B, F, R, _ = places.spatial_keys.shape
        K = rows_per_video(len(query), B)
        missing = None if places.is_missing is None else places.is_missing.unsqueeze(1)  # (B, 1, F, R)
        spatial = attention_weights(self.spatial.scores(query, places.spatial_keys.unsqueeze(1)), missing)  # (B, K, F, R)
        pooled_keys = places.temporal_keys(spatial.transpose(1, 2).reshape(B * F, K, R))  # (B * F, K, A)
        pooled_keys = pooled_keys.view(B, F, K, pooled_keys.shape[-1]).transpose(1, 2)
        scores = self._temporal("local").scores(query, pooled_keys)  # (B, K, F)
        temporal = attention_weights(scores, None if missing is None else missing.all(dim=-1))
        both = (temporal.unsqueeze(-1) * spatial).flatten(2)  # (B, K, F * R)
        context = places.values(both)  # (B, K, D); the pooled vectors themselves are never made
        return context.view(B * K, -1), temporal.view(B * K, F), spatial.view(B * K, F, R)

    def _keyed(self, name: str, values: Tensor, is_padding: Tensor | None) -> KeyedStream:
        return KeyedStream(values, self._temporal(name).keys(values), is_padding)

    def _temporal(self, name: str) -> AttentionLayer:
        module = self.temporal[name]
        assert isinstance(module, AttentionLayer)
        return module

    def _check(self, streams: Mapping[str, Tensor], padding: Mapping[str, Tensor]) -> None:
        if set(streams) != set(self.sizes):
            raise ShapeError(f"the streams are {_listed(streams)}; expected {_listed(self.sizes)}.")
        videos = len(next(iter(streams.values())))
        for name, size in self.sizes.items():
            given, axes = tuple(streams[name].shape), ("F", "R") if name == "local" else ("F",)
            if len(given) != len(axes) + 2 or given[0] != videos or given[-1] != size:
                raise ShapeError(f"{name} {given}: expected ({', '.join(map(str, (videos, *axes, size)))}).")
            if name in padding and tuple(padding[name].shape) != given[:-1]:
                raise ShapeError(f"{name}: padding {tuple(padding[name].shape)} for a stream {given}; expected {given[:-1]}.")


@dataclass(frozen=True)
class DropoutMasks:
    """The factors of dropout in the decoder, for N captions of L words.

    gates: (N, L, 3H), input, forget and output gate before the sigmoid.   hidden: (N, L, H).   output: (N, L, E).
    """

    gates: Tensor
    hidden: Tensor
    output: Tensor


@dataclass(frozen=True)
class Teaching:
    """N captions of L words read under teacher forcing.

    logits: (M, rows), of the M words that are not padding, caption by caption.   state: the last one.
    attention_sums: each attention's sum over the steps.
    """

    logits: Tensor
    state: DecoderState
    attention_sums: Mapping[str, Tensor]


class STATDecoder(nn.Module):
    """One LSTM layer that reads the previous word and the context, and an output layer that reads both again.

    Gates are stored in the order input, forget, output, candidate. `rows` is the number of words of the output layer.

    Dropout is not rescaled: training multiplies by zeros and ones, evaluation by the share of ones. It stands on the gates'
    pre-activations (not the candidate's), on the state that the output layer reads, and on the output layer's hidden units.
    """

    def __init__(
        self,
        attention: STATAttention,
        *,
        rows: int,
        hidden_size: int,
        embedding_size: int,
        dropout: float,
        forget_bias: float = 0.0,
        output_bias: bool = True,
    ) -> None:
        super().__init__()
        C, H, E = attention.context_size, hidden_size, embedding_size
        self.kept = 1 - dropout
        self.attention = attention
        self.gate = nn.Linear(H, 1)
        self.word_gates = nn.Linear(E, 4 * H)
        self.recurrent_gates = nn.Linear(H, 4 * H, bias=False)
        self.context_gates = nn.Linear(C, 4 * H, bias=False)
        self.hidden_output = nn.Linear(H, E)
        self.context_output = nn.Linear(C, E)
        self.output = nn.Linear(E, rows, bias=output_bias)
        self._initialise(forget_bias)

    def step(self, keys: STATKeys, state: DecoderState, embedded: Tensor) -> tuple[Tensor, DecoderState, Mapping[str, Tensor]]:
        """Read one embedded word per row, (N, E): next logits (N, rows), next state, and `STATAttended.weights`."""
        masks = self.draw(len(embedded), 1, embedded)
        state, context, weights = self._advance(keys, state, self.word_gates(embedded), masks.gates[:, 0])
        logits = self._predict(state.h, context, embedded, DropoutMasks(masks.gates, masks.hidden[:, 0], masks.output[:, 0]))
        return logits, state, weights

    def teach(
        self,
        keys: STATKeys,
        state: DecoderState,
        embedded: Tensor,
        is_padding: Tensor,
        masks: DropoutMasks | None = None,
        *,
        sum_over_padding: bool = True,
    ) -> Teaching:
        """Read whole captions, (N, L, E), under teacher forcing.

        What does not depend on the recurrence is one product for all words: the words' share of the gates, and the output layer, the
        largest of all, which reads real words only.

        is_padding: (N, L) bool, True after a caption's end: the state stays as it is there.
        sum_over_padding: whether the sums of the attention include those steps.   masks: by default drawn.
        """
        masks = self.draw(embedded.shape[0], embedded.shape[1], embedded) if masks is None else masks
        hidden, contexts = [], []
        sums: dict[str, Tensor] = {}
        words = zip(self.word_gates(embedded).unbind(1), is_padding.unbind(1), masks.gates.unbind(1), strict=True)
        for word_gates, is_over, gate_mask in words:
            following, context, weights = self._advance(keys, state, word_gates, gate_mask)
            state = _carried(state, following, is_over[:, None])
            hidden.append(state.h)
            contexts.append(context)
            for name, weight in weights.items():
                counted = weight if sum_over_padding else weight.masked_fill(is_over.view(-1, *[1] * (weight.dim() - 1)), 0)
                sums[name] = sums[name] + counted if name in sums else counted
        is_real = ~is_padding
        real_masks = DropoutMasks(masks.gates, masks.hidden[is_real], masks.output[is_real])
        logits = self._predict(
            torch.stack(hidden, dim=1)[is_real], torch.stack(contexts, dim=1)[is_real], embedded[is_real], real_masks
        )
        return Teaching(logits, state, sums)

    def draw(self, captions: int, words: int, like: Tensor) -> DropoutMasks:
        """Masks for N captions of L words: zeros and ones in training, the share of ones in evaluation."""
        H, E = self.recurrent_gates.in_features, self.output.in_features

        def mask(size: int) -> Tensor:
            share = like.new_full((), self.kept).expand(captions, words, size)
            return torch.bernoulli(share) if self.training and self.kept < 1 else share

        return DropoutMasks(mask(3 * H), mask(H), mask(E))

    def _advance(
        self, keys: STATKeys, state: DecoderState, word_gates: Tensor, gate_mask: Tensor
    ) -> tuple[DecoderState, Tensor, Mapping[str, Tensor]]:
        """The next state, the gated context that led to it, and `STATAttended.weights`."""
        attended = self.attention(state.h, keys)
        context = torch.sigmoid(self.gate(state.h)) * attended.context
        gates = word_gates + self.recurrent_gates(state.h) + self.context_gates(context)
        size = gate_mask.shape[1]
        i, f, o = torch.sigmoid(gates[:, :size] * gate_mask).chunk(3, dim=1)
        c = f * state.c + i * torch.tanh(gates[:, size:])
        return DecoderState(o * torch.tanh(c), c), context, attended.weights

    def _predict(self, h: Tensor, context: Tensor, embedded: Tensor, masks: DropoutMasks) -> Tensor:
        read = self.hidden_output(h * masks.hidden) + embedded + self.context_output(context)
        logits: Tensor = self.output(torch.tanh(read) * masks.output)
        return logits

    @torch.no_grad()
    def _initialise(self, forget_bias: float) -> None:
        H = self.recurrent_gates.in_features
        # The order of the draws from torch's generator is part of what a seed means: the gate comes last.
        for layer in (self.word_gates, self.context_gates, self.hidden_output, self.context_output, self.output, self.gate):
            normal_or_orthogonal(layer)
        for block in self.recurrent_gates.weight.chunk(4):
            nn.init.orthogonal_(block)
        self.word_gates.bias[H : 2 * H] = forget_bias


def normal_or_orthogonal(layer: nn.Linear) -> None:
    """The released code's rule: an orthogonal matrix where it is square, otherwise Gaussian; the bias 0."""
    if layer.in_features == layer.out_features:
        nn.init.orthogonal_(layer.weight)
    else:
        nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _carried(before: DecoderState, after: DecoderState, is_over: Tensor) -> DecoderState:
    return DecoderState(torch.where(is_over, before.h, after.h), torch.where(is_over, before.c, after.c))


def _averaged(places: Tensor, is_missing: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The mean of the places that are not padding: (B, F, R, D) -> (B, F, D), and which positions have none (B, F)."""
    if is_missing is None:
        return places.mean(dim=2), None
    there = (~is_missing).unsqueeze(-1)
    return (places * there).sum(dim=2) / there.sum(dim=2).clamp_min(1), is_missing.all(dim=-1)


@torch.no_grad()
def _initialise(attention: AdditiveAttention) -> None:
    nn.init.normal_(attention.key.weight, std=0.01)
    nn.init.zeros_(attention.key.bias)
    nn.init.normal_(attention.score.weight, std=0.01)
    nn.init.zeros_(attention.score.bias)
    if attention.query.in_features == attention.query.out_features:
        nn.init.orthogonal_(attention.query.weight)
    else:
        nn.init.normal_(attention.query.weight, std=0.01)


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "none"
