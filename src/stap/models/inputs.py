"""The input stage of models over a grid: place and time embeddings, frame differences and shifts. Not in the papers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from stap.errors import ConfigError, ShapeError
from stap.recipes.settings import InputSettings

__all__ = ["InputStage", "shifted", "smooth_courses", "smooth_maps", "with_differences"]

LARGEST_WAVE_NUMBER = 1.5  # radians from the middle of the grid to its border: at most half a wave across it
LARGEST_FREQUENCY = 6.0  # radians from the middle of a video to its end: at most two waves in it


class InputStage(nn.Module):
    """From a grid of features to what an encoder reads. The default settings pass the grid on, as in the papers.

    In this order: in training the grid is shifted; the differences to the previous frame are appended; a learned
    vector is added to each place, and one to each frame. Without these two the equations treat all places alike, and only the backbone's features can reveal a place
    (zero padding does, a little).

    size: the values of a place that come out.
    """

    def __init__(
        self, settings: InputSettings, feature_size: int, grid_size: tuple[int, ...] | None = None, frames: int | None = None
    ) -> None:
        """feature_size: D.   grid_size: (rows, columns), or (R,) if no more is known.   frames: of the longest video.

        Raises ConfigError if the settings need the rows and columns, or the number of frames, and they are unknown.
        """
        super().__init__()
        self.settings = settings
        self.size = feature_size * (2 if settings.differences else 1)
        for name in ("place_embedding", "shift"):
            if getattr(settings, name):
                _check_rows_and_columns(name, grid_size)
        self.grid_size = grid_size
        self.place_embedding: nn.Parameter | None = None
        self.time_embedding: nn.Parameter | None = None
        if settings.place_embedding:
            assert grid_size is not None
            self.place_embedding = nn.Parameter(smooth_maps(grid_size, self.size, settings.place_embedding))
        if settings.time_embedding:
            self.time_embedding = nn.Parameter(smooth_courses(_known(frames), self.size, settings.time_embedding))

    def forward(self, grid: Tensor, is_padding: Tensor) -> Tensor:
        """(B, T, R, D), (B, T) bool -> (B, T, R, size), which is 0 on padding where the grid is.

        Raises ShapeError if there are more frames, or other places, than the settings' embeddings or shift are for.
        """
        grid, marks = self.apart(grid, is_padding)
        return sum(marks, grid).masked_fill(is_padding[:, :, None, None], 0) if marks else grid

    def apart(self, grid: Tensor, is_padding: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The same in parts: (B, T, R, size), and the embeddings to be added to every video: (1, R, size) of places, (T, 1, size) of frames."""
        if self.training and self.settings.shift:
            grid = self._shifted(grid)
        if self.settings.differences:
            grid = with_differences(grid, is_padding)
        return grid, self._marks(grid)

    def next_frame(self, frame: Tensor, before: Tensor | None, index: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What `apart` gives for one frame, outside training.

        frame: (B, 1, R, D).   before: the frame before it, None of the first.   index: from 0.
        """
        if self.settings.differences:
            frame = torch.cat([frame, frame - (frame if before is None else before)], dim=-1)
        return frame, self._marks(frame, index)

    def _shifted(self, grid: Tensor) -> Tensor:
        """Each video's frames moved alike by up to `shift` rows and columns, drawn from torch's generator of the grid's device."""
        assert self.grid_size is not None
        limit = self.settings.shift
        down, right = torch.randint(-limit, limit + 1, (2, len(grid)), device=grid.device)
        return shifted(grid, self.grid_size, down, right)

    def _marks(self, grid: Tensor, first: int = 0) -> tuple[Tensor, ...]:
        """first: the number of the grid's first frame."""
        T, R = first + grid.shape[1], grid.shape[2]
        marks = []
        if self.place_embedding is not None:
            if len(self.place_embedding) != R:
                raise ShapeError(f"grid {tuple(grid.shape)}: expected {len(self.place_embedding)} locations.")
            marks.append(self.place_embedding.unsqueeze(0))
        if self.time_embedding is not None:
            if len(self.time_embedding) < T:
                number = "" if first == 0 else f" after {first} frames"
                raise ShapeError(f"grid {tuple(grid.shape)}{number}: expected at most {len(self.time_embedding)} frames.")
            marks.append(self.time_embedding[first:T].unsqueeze(1))
        return tuple(marks)


def with_differences(grid: Tensor, is_padding: Tensor) -> Tensor:
    """(B, T, R, D) -> (B, T, R, 2D): each place's features, then their difference to the previous frame's, 0 in the first.

    is_padding: (B, T) bool; the differences there are 0.
    """
    before = torch.cat([grid[:, :1], grid[:, :-1]], dim=1)
    return torch.cat([grid, (grid - before).masked_fill(is_padding[:, :, None, None], 0)], dim=-1)


def shifted(grid: Tensor, grid_size: tuple[int, ...], down: Tensor, right: Tensor) -> Tensor:
    """Each video's grid moved down and to the right by so many rows and columns; the border is repeated.

    grid: (B, T, R, D), places row by row.   down, right: (B,) int64, negative for up and left.
    Raises ShapeError if R is not that of grid_size.
    """
    rows, columns = grid_size
    if grid.shape[2] != rows * columns:
        raise ShapeError(f"grid {tuple(grid.shape)}: expected {rows * columns} locations.")
    row = (torch.arange(rows, device=grid.device) - down[:, None]).clamp(0, rows - 1)  # (B, rows)
    column = (torch.arange(columns, device=grid.device) - right[:, None]).clamp(0, columns - 1)  # (B, columns)
    source = (row[:, :, None] * columns + column[:, None, :]).flatten(1)  # (B, R)
    return grid.gather(2, source[:, None, :, None].expand_as(grid))


@torch.no_grad()
def smooth_maps(grid_size: tuple[int, ...], count: int, deviation: float) -> Tensor:
    """Random plane waves over a grid: neighbouring places start with similar values, so what is learned at one transfers to the next.

    Map n is sin(k (y cos a + x sin a)) with x and y from -1 to 1 over the columns and rows, a direction a in [0, 2 pi) and a wave
    number k in [0, 1.5) drawn from torch's global generator, then brought to mean 0 and the standard deviation over the places.

    grid_size: rows and columns.

    Returns (R, count), the places row by row from the top left; 0 for a grid of one place.
    """
    rows, columns = grid_size
    angle = 2 * math.pi * torch.rand(count, dtype=torch.double)
    wave_number = LARGEST_WAVE_NUMBER * torch.rand(count, dtype=torch.double)
    y = torch.linspace(-1, 1, rows, dtype=torch.double, device=angle.device)[:, None, None]
    x = torch.linspace(-1, 1, columns, dtype=torch.double, device=angle.device)[:, None]
    waves = torch.sin(wave_number * (angle.cos() * y + angle.sin() * x)).flatten(0, 1)  # (R, count)
    return _standardised(waves, deviation)


@torch.no_grad()
def smooth_courses(frames: int, count: int, deviation: float) -> Tensor:
    """Random waves over a video: neighbouring frames begin alike.

    Course n is sin(w t + p) with t from -1 to 1 over the frames, a frequency w in [0, 6) and a phase p in [0, 2 pi) drawn from torch's
    global generator, then brought to mean 0 and the standard deviation over the frames.

    Returns (T, count); 0 for a single frame.
    """
    frequency = LARGEST_FREQUENCY * torch.rand(count, dtype=torch.double)
    phase = 2 * math.pi * torch.rand(count, dtype=torch.double)
    time = torch.linspace(-1, 1, frames, dtype=torch.double, device=phase.device)[:, None]
    waves = torch.sin(frequency * time + phase)  # (T, count)
    return _standardised(waves, deviation)


def _standardised(waves: Tensor, deviation: float) -> Tensor:
    """(N, count) -> (N, count) with mean 0 and that deviation over N."""
    waves = waves - waves.mean(dim=0)
    # A wave may hardly rise, as along a grid of one row: then only rounding would be brought to size.
    return (deviation * waves / waves.std(dim=0, correction=0).clamp_min(1e-9)).float()


def _check_rows_and_columns(name: str, grid_size: tuple[int, ...] | None) -> None:
    if grid_size is None or len(grid_size) != 2:
        known = "have no grid size" if grid_size is None else f"have only the number of its places, {grid_size[0]}"
        raise ConfigError(
            f"model.inputs.{name} needs the rows and columns of the grid, but the features {known}. "
            f"Extract the grid with `stap extract`, or set model.inputs.{name} to 0."
        )


def _known(frames: int | None) -> int:
    if frames is None:
        raise ConfigError(
            "model.inputs.time_embedding needs the number of frames, which the features do not state. "
            "Extract the grid with `stap extract`, or set model.inputs.time_embedding to 0."
        )
    return frames
