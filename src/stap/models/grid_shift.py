"""Translation augmentation: in training, whatever is seen is seen a little beside its place."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stap.errors import ShapeError

__all__ = ["GridShift", "shifted"]


class GridShift(nn.Module):
    """Moves each video's grid by up to `limit` rows and columns, drawn anew for every batch from torch's generator of its device.

    All frames of a video move alike. Evaluation moves nothing, nor does a limit of 0.   grid_size: (rows, columns).
    """

    def __init__(self, limit: int, grid_size: tuple[int, ...] | None) -> None:
        super().__init__()
        if limit and (grid_size is None or len(grid_size) != 2):
            raise ValueError(f"grid_shift {limit} with grid_size {grid_size}: expected (rows, columns).")
        self.limit = limit
        self.grid_size = grid_size

    def forward(self, grid: Tensor) -> Tensor:
        """(B, T, R, D) -> (B, T, R, D). Raises ShapeError if R is not that of grid_size."""
        if not self.training or not self.limit:
            return grid
        assert self.grid_size is not None
        down, right = torch.randint(-self.limit, self.limit + 1, (2, len(grid)), device=grid.device)
        return shifted(grid, self.grid_size, down, right)


def shifted(grid: Tensor, grid_size: tuple[int, ...], down: Tensor, right: Tensor) -> Tensor:
    """Each video's grid moved down and to the right by so many rows and columns; what comes in repeats the border.

    grid: (B, T, R, D), locations row by row.   down, right: (B,) int64, negative for up and left.
    """
    rows, columns = grid_size
    if grid.shape[2] != rows * columns:
        raise ShapeError(f"grid {tuple(grid.shape)}: expected {rows * columns} locations.")
    row = (torch.arange(rows, device=grid.device) - down[:, None]).clamp(0, rows - 1)  # (B, rows)
    column = (torch.arange(columns, device=grid.device) - right[:, None]).clamp(0, columns - 1)  # (B, columns)
    source = (row[:, :, None] * columns + column[:, None, :]).flatten(1)  # (B, R)
    return grid.gather(2, source[:, None, :, None].expand_as(grid))
