"""L-STAP: an LSTM that pools each frame's locations depending on what happened in earlier frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from stap.errors import ShapeError
from stap.models.recurrence import pooled_recurrence

__all__ = ["LSTAP", "Pooled", "chrono_biases"]


@dataclass(frozen=True)
class Pooled:
    """What L-STAP makes of a video: states h(1..T) (B, T, H), the last h and c (B, H), and the local weights (B, T, R)."""

    states: Tensor
    h: Tensor
    c: Tensor
    weights: Tensor


class LSTAP(nn.Module):
    """Learned spatio-temporal adaptive pooling (Francis & Huet 2019, sections 3.1 and 3.2): (B, T, R, D) -> (B, T, H).

    An ordinary module for any network that has a grid of features a frame. Gates are stored in the order input, forget,
    output, candidate. Input weights start Xavier-uniform, recurrent weights orthogonal, biases 0, the forget gate's at
    `forget_bias`; the paper states none of them. With memory_frames the biases are those of `chrono_biases` instead.

    pooling: 'mean' weighs all locations alike, equation (8); 'attention' chooses, equations (9) and (10).
    motion_size: size of the clip's motion vector, from which the start state is made, equations (11) and (12); None: the
    start state is learned.
    """

    def __init__(
        self,
        feature_size: int,
        hidden_size: int,
        *,
        pooling: Literal["mean", "attention"] = "attention",
        attention_size: int = 256,
        motion_size: int | None = None,
        forget_bias: float = 0.0,
        memory_frames: int | None = None,
    ) -> None:
        super().__init__()
        if pooling not in ("mean", "attention"):
            raise ValueError(f"pooling {pooling!r}: expected 'mean' or 'attention'.")
        rows = 4 * hidden_size + (attention_size if pooling == "attention" else 0)
        self.hidden_size = hidden_size
        self.input_weight = nn.Parameter(torch.empty(rows, feature_size))
        self.input_bias = nn.Parameter(torch.zeros(rows))
        self.recurrent_weight = nn.Parameter(torch.empty(rows, hidden_size))
        self.score_weight = nn.Parameter(torch.empty(attention_size)) if pooling == "attention" else None
        self.start_from_motion = nn.Linear(motion_size, 2 * hidden_size) if motion_size else None
        self.learned_start = None if motion_size else nn.Parameter(torch.zeros(2 * hidden_size))
        self._initialise(forget_bias, memory_frames)

    def forward(self, grid: Tensor, is_padding: Tensor | None = None, motion: Tensor | None = None) -> Pooled:
        """Watch B videos.

        grid: (B, T, R, D).   is_padding: (B, T) bool, True where there is no frame; None: all frames are there.
        motion: (B, M) where the module was made with motion_size=M.

        Raises ShapeError if a size does not fit, ValueError if motion is missing or not wanted.
        """
        if grid.dim() != 4 or grid.shape[-1] != self.input_weight.shape[1]:
            raise ShapeError(f"grid {tuple(grid.shape)}: expected (B, T, R, {self.input_weight.shape[1]}).")
        if is_padding is None:
            is_padding = torch.zeros(grid.shape[:2], dtype=torch.bool, device=grid.device)
        h, c = self._start(len(grid), motion)
        all_h, all_c, weights = pooled_recurrence(
            grid,
            self.input_weight,
            self.input_bias,
            self.recurrent_weight,
            self.score_weight,
            h,
            c,
            is_padding,
        )
        return Pooled(all_h, all_h[:, -1], all_c[:, -1], weights)

    def _start(self, videos: int, motion: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.start_from_motion is None:
            if motion is not None:
                raise ValueError("a motion vector for a model without motion_size; make it with motion_size, or leave it out.")
            assert self.learned_start is not None
            h, c = torch.tanh(self.learned_start).expand(videos, -1).chunk(2, dim=1)
            return h, c
        if motion is None:
            raise ValueError(f"the motion stream is missing: expected (B, {self.start_from_motion.in_features}).")
        if motion.shape != (videos, self.start_from_motion.in_features):
            raise ShapeError(f"motion {tuple(motion.shape)}: expected ({videos}, {self.start_from_motion.in_features}).")
        h, c = torch.tanh(self.start_from_motion(motion)).chunk(2, dim=1)
        return h, c

    @torch.no_grad()
    def _initialise(self, forget_bias: float, memory_frames: int | None) -> None:
        H = self.hidden_size
        for first, last in self._blocks():
            nn.init.xavier_uniform_(self.input_weight[first:last])
            nn.init.orthogonal_(self.recurrent_weight[first:last])
        self.input_bias[H : 2 * H] = forget_bias
        if memory_frames is not None:
            self.input_bias[:H], self.input_bias[H : 2 * H] = chrono_biases(H, memory_frames)
        if self.score_weight is not None:
            nn.init.xavier_uniform_(self.score_weight[None])

    def _blocks(self) -> list[tuple[int, int]]:
        """First and last row of each gate, and of the attention's projection."""
        H = self.hidden_size
        gates = [(first, first + H) for first in range(0, 4 * H, H)]
        return gates if self.score_weight is None else [*gates, (4 * H, 4 * H + len(self.score_weight))]


def chrono_biases(hidden_size: int, memory_frames: int) -> tuple[Tensor, Tensor]:
    """Biases of the input and the forget gates, (H,) each, with which units remember for different times, up to memory_frames.

    Chrono initialisation (Tallec & Ollivier 2018, section 2): log U(1, memory_frames - 1) for the forget gates, drawn from
    torch's global generator, and its negative for the input gates. Raises ValueError for fewer than 3 frames.
    """
    if memory_frames < 3:
        raise ValueError(f"memory_frames {memory_frames}: expected at least 3.")
    forget = torch.empty(hidden_size).uniform_(1, memory_frames - 1).log()
    return -forget, forget
