"""STAT's global, motion and local sequences: read from a batch's streams, and cut or padded to a fixed number of positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from stap.errors import ConfigError, ShapeError
from stap.models.batch import VideoBatch
from stap.models.caption_model import Positions
from stap.recipes.settings import STATSettings

__all__ = ["STATStreams", "Selected", "select_positions"]


@dataclass(frozen=True)
class Selected:
    """F positions of a stream, and their values (B, F, ...), 0 on padding."""

    values: Tensor
    positions: Positions


def select_positions(stream: str, values: Tensor, is_padding: Tensor, count: int | None) -> Selected:
    """Cut each video's sequence to `count` positions, or pad it with zeros; None keeps all.

    A sequence of n >= count is cut into `count` chunks as equal as possible, the longer ones first, of which the first position
    is taken; a shorter one is kept whole. (The rule of STAT's released code.)

    stream: its name.   values: (B, T, ...), 0 on padding.   is_padding: (B, T) bool; padding comes last.
    """
    videos, length = is_padding.shape
    if count is None:
        return Selected(values, Positions.all_of(stream, is_padding))
    lengths = (~is_padding).sum(dim=1, keepdim=True)  # (B, 1)
    places = torch.arange(count, device=values.device)  # (F,)
    indices = places * (lengths // count) + torch.minimum(places, lengths % count)  # (B, F)
    is_beyond = places >= lengths
    positions = Positions(stream, indices, is_beyond)
    if length <= count:  # nothing to leave out
        filled = pad(values, (0, 0) * (values.dim() - 2) + (0, count - length)) if length < count else values
        return Selected(filled, positions)
    rows = torch.arange(videos, device=values.device)[:, None]
    chosen = values[rows, indices.clamp_max(length - 1)]
    return Selected(chosen.masked_fill(is_beyond.view(*is_beyond.shape, *[1] * (values.dim() - 2)), 0), positions)


@dataclass(frozen=True)
class STATStreams:
    """Which streams of a batch STAT's three sequences come from, and how large they are.

    feature_sizes: D of each stream by its name.   locations: R of the grid, needed for `differences`.
    """

    settings: STATSettings
    feature_sizes: Mapping[str, int]
    locations: int | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """The size of a vector of 'global', 'motion' and 'local'; only of the sequences that the settings name. Raises ConfigError."""
        chosen, sizes = self.settings, {}
        if chosen.global_from:
            sizes["global"] = self._size(chosen.global_from, "global_from")
        if chosen.motion_from == "differences":
            if self.locations is None:
                raise ConfigError("model.stat.motion_from is 'differences': expected features with a grid of known size.")
            sizes["motion"] = self.locations * self._size("grid", "motion_from")
        elif chosen.motion_from:
            sizes["motion"] = self._size(chosen.motion_from, "motion_from")
        if chosen.local_from:
            sizes["local"] = self._size(chosen.local_from, "local_from")
        return sizes

    def read(self, batch: VideoBatch) -> dict[str, Selected]:
        """'global' (B, F, D), 'motion' (B, F, D), 'local' (B, F, R, D), each cut to its positions; only those that the settings name.

        Raises ShapeError if a stream is missing or has another size.
        """
        chosen, count = self.settings, self.settings.positions
        grid = None
        if "grid" in (chosen.global_from, chosen.local_from):
            grid = select_positions("grid", *self._stream(batch, "grid", places=True), count)
        selected = {}
        if chosen.global_from == "frames":
            selected["global"] = select_positions("frames", *self._stream(batch, "frames"), count)
        elif chosen.global_from:
            selected["global"] = _mean(grid)
        if chosen.motion_from == "differences":
            selected["motion"] = select_positions("grid", *_differences(*self._stream(batch, "grid", places=True)), count)
        elif chosen.motion_from:
            selected["motion"] = select_positions("motion", *self._stream(batch, "motion"), count)
        if chosen.local_from == "grid" and grid is not None:
            selected["local"] = grid
        elif chosen.local_from:
            selected["local"] = select_positions("regions", *self._stream(batch, "regions", places=True), count)
        return selected

    def _size(self, stream: str, setting: str) -> int:
        if stream not in self.feature_sizes:
            raise ConfigError(
                f"model.stat.{setting} needs the stream '{stream}', but the features have {_listed(self.feature_sizes)}. "
                "Extract that stream too, or take another one."
            )
        return self.feature_sizes[stream]

    def _stream(self, batch: VideoBatch, name: str, *, places: bool = False) -> tuple[Tensor, Tensor]:
        if name not in batch.streams:
            raise ShapeError(f"the batch has the streams {_listed(batch.streams)}; expected '{name}'.")
        given, size = batch.streams[name], self.feature_sizes[name]
        axes = ["B", "T", "R", str(size)] if places else ["B", "T", str(size)]
        if given.dim() != len(axes) or given.shape[-1] != size or name not in batch.is_padding:
            raise ShapeError(f"{name} {tuple(given.shape)}: expected a sequence ({', '.join(axes)}).")
        if name == "grid" and self.locations is not None and given.shape[2] != self.locations:
            raise ShapeError(f"grid {tuple(given.shape)}: expected {self.locations} locations.")
        return given, batch.is_padding[name]


def _mean(grid: Selected | None) -> Selected:
    """The mean of the cells of each frame: (B, F, R, D) -> (B, F, D)."""
    assert grid is not None
    return Selected(grid.values.mean(dim=2), grid.positions)


def _differences(grid: Tensor, is_padding: Tensor) -> tuple[Tensor, Tensor]:
    """The difference of each frame to the next, cell by cell: (B, T, R, D) -> (B, T - 1, R * D).

    A video of one frame has one position of zeros.
    """
    if grid.shape[1] == 1:
        return torch.zeros_like(grid).flatten(2), is_padding
    no_next = is_padding[:, 1:]
    changes = (grid[:, 1:] - grid[:, :-1]).flatten(2).masked_fill(no_next.unsqueeze(-1), 0)
    return changes, torch.cat([torch.zeros_like(no_next[:, :1]), no_next[:, 1:]], dim=1)


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "none"
