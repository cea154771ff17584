"""STAT's attention: for each word first over the places of every frame, then over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from stap.errors import ShapeError
from stap.models.attention import AdditiveAttention, AttentionLayer, EvenAttention, attention_weights, rows_per_video
from stap.models.weighted_sums import WeightedSums

__all__ = ["STATAttended", "STATAttention", "STATKeys"]


@dataclass(frozen=True)
class KeyedStream:
    """A sequence to attend to. values: (B, F, D).   keys: (B, F, A).   is_padding: (B, F) bool, or None: all count."""

    values: Tensor
    keys: Tensor
    is_padding: Tensor | None

    def select(self, videos: Tensor) -> KeyedStream:
        """The given videos, in that order."""
        return KeyedStream(self.values[videos], self.keys[videos], _rows(self.is_padding, videos))


@dataclass(frozen=True)
class KeyedPlaces:
    """Places to attend to: R in each of F positions.

    values: sums of (B, F * R, D).   spatial_keys: (B, F, R, A).   temporal_keys: sums of (B * F, R, A).
    is_missing: (B, F, R) bool, or None: all count.
    """

    values: WeightedSums
    spatial_keys: Tensor
    temporal_keys: WeightedSums
    is_missing: Tensor | None

    def select(self, videos: Tensor) -> KeyedPlaces:
        """The given videos, in that order."""
        values = self.temporal_keys.values
        temporal_keys = values.view(*self.spatial_keys.shape[:3], values.shape[-1])[videos]
        return KeyedPlaces(
            WeightedSums(self.values.values[videos]),
            self.spatial_keys[videos],
            WeightedSums(temporal_keys.flatten(0, 1)),
            _rows(self.is_missing, videos),
        )


@dataclass(frozen=True)
class STATKeys:
    """What STAT looks at, with everything that does not depend on the word already computed.

    streams: 'global', 'motion' (and 'local', where places are averaged).   places: where they are attended.
    """

    streams: Mapping[str, KeyedStream]
    places: KeyedPlaces | None

    @property
    def size(self) -> int:
        """B, the number of videos."""
        return len(self.places.spatial_keys if self.places else next(iter(self.streams.values())).values)

    def padding_of(self, name: str) -> Tensor | None:
        """Where the attention of this name has nothing to look at: (B, F) or, of 'spatial', (B, F, R) bool; None: nowhere."""
        if name in self.streams:
            return self.streams[name].is_padding
        if self.places is None or self.places.is_missing is None:
            return None
        return self.places.is_missing if name == "spatial" else self.places.is_missing.all(dim=-1)

    def select(self, videos: Tensor) -> STATKeys:
        """The given videos, in that order."""
        streams = {name: stream.select(videos) for name, stream in self.streams.items()}
        return STATKeys(streams, None if self.places is None else self.places.select(videos))


@dataclass(frozen=True)
class STATAttended:
    """What was seen for one word of N rows, and where it was.

    context: (N, C), the streams' contexts added (C = D) or side by side.
    weights: 'global' (N, F), 'motion' (N, F'), 'local' (N, F''), each of which sums to 1; 'spatial' (N, F'', R), which sums
    to 1 in each position. Only streams that there are.
    """

    context: Tensor
    weights: Mapping[str, Tensor]

    @property
    def places(self) -> Tensor:
        """(N, F'', R): how much each place of each position counts, which sums to 1: the product of both stages."""
        return self.weights["local"].unsqueeze(-1) * self.weights["spatial"]


class STATAttention(nn.Module):
    """Spatial, then temporal attention for one word (STAT; Tu et al. 2017, Yan et al. 2020), an ordinary module for any decoder.

    For each query: additive attention pools the R places inside every position into one local vector; three further ones pool
    the global, the motion and the pooled local sequence over time; the contexts are added (the authors' released code) or put
    side by side (the paper of 2017, as far as its code still shows). Streams whose size is None are left out.

    attention = STATAttention(1024, global_size=1024, motion_size=1024, local_size=1024, attention_size=1024)
    keys = attention.keys({"global": g, "motion": m, "local": l})  # once a video
    seen = attention(h, keys)  # once a word

    local_pooling 'mean' averages the places instead, so that there are no 'spatial' weights; temporal_pooling 'mean' gives all positions
    the same weight. Keys start Gaussian with standard
    deviation 0.01, as do scores; queries start orthogonal where they are square; biases start at 0.
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
        is_padding: 'global' (B, F), 'motion' (B, F') bool, 'local' (B, F'', R) bool, True where there is nothing to see; a
        position without any place is not attended either. Streams that are not in it have no padding.

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
        """One look of N queries (N, Q) at B videos; query n looks at video n // (N / B), whose keys are not copied.

        Raises ShapeError if N is not a multiple of B.
        """
        contexts, weights = [], {}
        for name, stream in keys.streams.items():
            seen = self._temporal(name)(query, stream.keys, stream.values, stream.is_padding)
            contexts.append(seen.context)
            weights[name] = seen.weights
        if keys.places is not None:
            context, weights["local"], weights["spatial"] = self._look_at_places(query, keys.places)
            contexts.append(context)
        fused = torch.cat(contexts, dim=1) if self.fusion == "concat" else torch.stack(contexts).sum(dim=0)
        return STATAttended(fused, weights)

    def _look_at_places(self, query: Tensor, places: KeyedPlaces) -> tuple[Tensor, Tensor, Tensor]:
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


def _averaged(places: Tensor, is_missing: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The mean of the places that there are: (B, F, R, D) -> (B, F, D), and which positions have none (B, F)."""
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


def _rows(tensor: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if tensor is None else tensor[rows]


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "none"
