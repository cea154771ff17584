"""What changes in a video from frame to frame, beside what is there."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["with_differences"]


def with_differences(grid: Tensor) -> Tensor:
    """(B, T, R, D) -> (B, T, R, 2D): each location's features, then how they differ from those of the frame before.

    In the first frame nothing has changed.
    """
    before = torch.cat([grid[:, :1], grid[:, :-1]], dim=1)
    return torch.cat([grid, grid - before], dim=-1)
