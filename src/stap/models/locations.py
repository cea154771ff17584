"""A bias for each location of a grid, with which a model can tell places apart, as smooth maps to begin with."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["learned_location_bias", "smooth_maps"]

LARGEST_WAVE_NUMBER = 1.5  # radians from the middle of the grid to its border: at most half a wave across it


def learned_location_bias(deviation: float, grid_size: tuple[int, ...] | None, count: int) -> nn.Parameter | None:
    """(R, count) weights that begin as smooth maps of that standard deviation; None where it is 0.

    Raises ValueError if grid_size is not (rows, columns).
    """
    if not deviation:
        return None
    if grid_size is None or len(grid_size) != 2:
        raise ValueError(f"location_bias {deviation} with grid_size {grid_size}: expected (rows, columns).")
    return nn.Parameter(smooth_maps(grid_size, count, deviation))


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
    waves = waves - waves.mean(dim=0)
    # Along a grid of one row a wave may hardly rise: then only rounding would be brought to size.
    return (deviation * waves / waves.std(dim=0, correction=0).clamp_min(1e-9)).float()
