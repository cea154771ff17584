"""A bias for each location of a grid, or for each frame, with which a model can tell places or times apart; smooth to begin with."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["learned_frame_bias", "learned_location_bias", "smooth_courses", "smooth_maps"]

LARGEST_WAVE_NUMBER = 1.5  # radians from the middle of the grid to its border: at most half a wave across it

LARGEST_FREQUENCY = 6.0  # radians from the middle of a video to its end: at most two waves in it


def learned_location_bias(deviation: float, grid_size: tuple[int, ...] | None, count: int) -> nn.Parameter | None:
    """(R, count) weights that begin as smooth maps of that standard deviation; None where it is 0.

    Raises ValueError if grid_size is not (rows, columns).
    """
    if not deviation:
        return None
    if grid_size is None or len(grid_size) != 2:
        raise ValueError(f"location_bias {deviation} with grid_size {grid_size}: expected (rows, columns).")
    return nn.Parameter(smooth_maps(grid_size, count, deviation))


def learned_frame_bias(deviation: float, frames: int | None, count: int) -> nn.Parameter | None:
    """(T, count) weights that begin as smooth courses of that standard deviation; None where it is 0.

    Raises ValueError without the number of frames.
    """
    if not deviation:
        return None
    if frames is None:
        raise ValueError(f"frame_bias {deviation} without frames: expected their number.")
    return nn.Parameter(smooth_courses(frames, count, deviation))


@torch.no_grad()
def smooth_maps(grid_size: tuple[int, ...], count: int, deviation: float) -> Tensor:
    """Random plane waves over a grid, so that neighbouring places begin alike: what is learned of one is known of the next.

    Map n is sin(k (y cos a + x sin a)) with x and y from -1 to 1 over the columns and rows, a direction a in [0, 2 pi) and a wave
    number k in [0, 1.5) drawn from torch's global generator, then brought to mean 0 and the standard deviation over the locations.

    grid_size: rows and columns.

    Returns (R, count), the locations row by row from the top left; 0 for a grid of one location, over which nothing can differ.
    """
    rows, columns = grid_size
    angle = 2 * math.pi * torch.rand(count, dtype=torch.double)
    wave_number = LARGEST_WAVE_NUMBER * torch.rand(count, dtype=torch.double)
    y = torch.linspace(-1, 1, rows, dtype=torch.double)[:, None, None]
    x = torch.linspace(-1, 1, columns, dtype=torch.double)[:, None]
    waves = torch.sin(wave_number * (angle.cos() * y + angle.sin() * x)).flatten(0, 1)  # (R, count)
    return _standardised(waves, deviation)


@torch.no_grad()
def smooth_courses(frames: int, count: int, deviation: float) -> Tensor:
    """Random waves over a video, so that some units begin by taking in its first frames, some its last, some those between.

    Course n is sin(w t + p) with t from -1 to 1 over the frames, a frequency w in [0, 6) and a phase p in [0, 2 pi) drawn from torch's
    global generator, then brought to mean 0 and the standard deviation over the frames.

    Returns (T, count); 0 for a single frame.
    """
    frequency = LARGEST_FREQUENCY * torch.rand(count, dtype=torch.double)
    phase = 2 * math.pi * torch.rand(count, dtype=torch.double)
    waves = torch.sin(frequency * torch.linspace(-1, 1, frames, dtype=torch.double)[:, None] + phase)  # (T, count)
    return _standardised(waves, deviation)


def _standardised(waves: Tensor, deviation: float) -> Tensor:
    """(N, count) -> (N, count) with mean 0 and that deviation over N."""
    waves = waves - waves.mean(dim=0)
    # A wave may hardly rise, as along a grid of one row: then only rounding would be brought to size.
    return (deviation * waves / waves.std(dim=0, correction=0).clamp_min(1e-9)).float()
