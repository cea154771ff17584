"""The baseline: average-pooled frames into an LSTM."""

from __future__ import annotations

from torch import Tensor, nn

from stap.models.implementation import Implementation
from stap.models.lstap import LSTAP, Marks, Pooled, each_mark

__all__ = ["LRCN"]


class LRCN(nn.Module):
    """The encoder that L-STAP is compared with: each frame's locations are averaged, then an LSTM reads the frames.

    Donahue et al. 2015 as the L-STAP paper uses it (section 4.4): the same start state, decoder and losses. An LSTM over
    one averaged location is L-STAP over a grid of one, so the recurrence is shared and only the average differs.
    """

    def __init__(
        self,
        feature_size: int,
        hidden_size: int,
        *,
        motion_size: int | None = None,
        forget_bias: float = 0.0,
        memory_frames: int | None = None,
        implementation: Implementation = "auto",
    ) -> None:
        super().__init__()
        self.lstm = LSTAP(
            feature_size,
            hidden_size,
            pooling="mean",
            motion_size=motion_size,
            forget_bias=forget_bias,
            memory_frames=memory_frames,
            implementation=implementation,
        )

    def forward(
        self, grid: Tensor, is_padding: Tensor | None = None, motion: Tensor | None = None, marks: Marks = None
    ) -> Pooled:
        """Encode B videos: grid (B, T, R, D) and the rest as in `LSTAP.forward`; there are no local weights."""
        of_frame = [mark.mean(dim=1, keepdim=True) for mark in each_mark(marks)]
        pooled: Pooled = self.lstm(grid.mean(dim=2, keepdim=True), is_padding, motion, of_frame)
        return pooled
