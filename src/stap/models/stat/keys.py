"""The values and keys of STAT's attention, computed once per video instead of once per word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from stap.models.stat.weighted_sums import WeightedSums

__all__ = ["KeyedPlaces", "KeyedStream", "STATKeys"]


@dataclass(frozen=True)
class KeyedStream:
    """A sequence to attend to. values: (B, F, D).   keys: (B, F, A).   is_padding: (B, F) bool, or None: no padding."""

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
    is_missing: (B, F, R) bool, or None: no padding.
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
    """The sequences and places that STAT attends to, with their keys.

    streams: 'global', 'motion' (and 'local', where places are averaged).   places: where they are attended.
    """

    streams: Mapping[str, KeyedStream]
    places: KeyedPlaces | None

    @property
    def size(self) -> int:
        """B, the number of videos."""
        return len(self.places.spatial_keys if self.places else next(iter(self.streams.values())).values)

    def padding_of(self, name: str) -> Tensor | None:
        """The padding of the attention of this name: (B, F) or, of 'spatial', (B, F, R) bool; None: nowhere."""
        if name in self.streams:
            return self.streams[name].is_padding
        if self.places is None or self.places.is_missing is None:
            return None
        return self.places.is_missing if name == "spatial" else self.places.is_missing.all(dim=-1)

    def select(self, videos: Tensor) -> STATKeys:
        """The given videos, in that order."""
        streams = {name: stream.select(videos) for name, stream in self.streams.items()}
        return STATKeys(streams, None if self.places is None else self.places.select(videos))


def _rows(tensor: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if tensor is None else tensor[rows]
