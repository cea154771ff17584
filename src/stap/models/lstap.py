"""L-STAP: an LSTM that reads every location of a frame and pools them depending on what it remembers.

Francis & Huet 2019, sections 3.1 and 3.2. At frame t, for every location j of the grid x, from the state h, c of frame t - 1:

    i_j, f_j, o_j = sigmoid(W x_j + U h + b)                                (1)-(3)
    c_j = f_j * c + i_j * tanh(W x_j + U h + b)                             (4)
    h_j = o_j * tanh(c_j)                                                   (5)
    c(t) = sum_j a_j c_j,   h(t) = sum_j a_j h_j                            (6), (7)
    a_j = 1 / R,   or   a = softmax_j(w . tanh(W_ax x_j + W_ah h + b_a))    (8), or (9) and (10)

h(0) and c(0) are made from the clip's motion vector, (11) and (12). `pooled_recurrence` is the text of these equations.
`fused_recurrence.py` computes the same in less time and memory on a processor, `fused_recurrence_gpu.py` on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from stap.errors import ShapeError
from stap.models.implementation import Implementation, compiles_gpu_kernels, fits_cpu_kernels, trains_with_cpu_kernels

__all__ = [
    "LSTAP",
    "Marks",
    "Pooled",
    "RecurrenceWeights",
    "choose_recurrence",
    "chrono_biases",
    "each_mark",
    "pooled_recurrence",
]

Marks = Tensor | Sequence[Tensor] | None
MANY_CELLS = 2**22  # places of all frames times units: about three videos of the paper's sizes

Recurrence = Callable[[Tensor, "RecurrenceWeights", Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Pooled:
    """Videos as L-STAP encodes them.

    states: (B, T, H), h(1..T).   h, c: (B, H), the last.
    weights: (B, T, R), the learned local weights, which sum to 1 over R; None where all locations weigh alike.
    """

    states: Tensor
    h: Tensor
    c: Tensor
    weights: Tensor | None


class RecurrenceWeights(NamedTuple):
    """The weights of equations (1)-(10).

    input: (4H, D), W: the gates in the order input, forget, output, candidate. With attention pooling A more rows, W_ax.
    bias: (4H,), b, likewise with b_a; or (T, R, 4H), one for each frame and location, with 1 for T or R where they share it.
    recurrent: (4H, H), U, likewise with W_ah.
    score: (A,), w of equation (9); None for mean pooling.
    """

    input: Tensor
    bias: Tensor
    recurrent: Tensor
    score: Tensor | None


class LSTAP(nn.Module):
    """Learned spatio-temporal adaptive pooling: (B, T, R, D) -> (B, T, H).

    An ordinary module for any network that has a grid of features a frame. Input weights start Xavier-uniform, recurrent weights
    orthogonal, biases 0, the forget gate's at `forget_bias`; the paper states none of them. With memory_frames the biases are those
    of `chrono_biases` instead.

    pooling: 'mean' weighs all locations alike, equation (8); 'attention' chooses, equations (9) and (10).
    motion_size: size of the clip's motion vector, from which the start state is made; None: the start state is learned.
    implementation: 'reference' computes the equations as they are written, 'fused' in less time and memory, equal to rounding; 'auto' is
    'fused' where that pays, see `choose_recurrence`.
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
        implementation: Implementation = "auto",
    ) -> None:
        super().__init__()
        if pooling not in ("mean", "attention"):
            raise ValueError(f"pooling {pooling!r}: expected 'mean' or 'attention'.")
        rows = 4 * hidden_size + (attention_size if pooling == "attention" else 0)
        self.hidden_size = hidden_size
        self.implementation = implementation
        self.input_weight = nn.Parameter(torch.empty(rows, feature_size))
        self.input_bias = nn.Parameter(torch.zeros(rows))
        self.recurrent_weight = nn.Parameter(torch.empty(rows, hidden_size))
        self.score_weight = nn.Parameter(torch.empty(attention_size)) if pooling == "attention" else None
        self.start_from_motion = nn.Linear(motion_size, 2 * hidden_size) if motion_size else None
        self.learned_start = None if motion_size else nn.Parameter(torch.zeros(2 * hidden_size))
        self._initialise(forget_bias, memory_frames)

    def forward(
        self, grid: Tensor, is_padding: Tensor | None = None, motion: Tensor | None = None, marks: Marks = None
    ) -> Pooled:
        """Encode B videos.

        grid: (B, T, R, D).   is_padding: (B, T) bool, True where the video has no frame; None: no padding.
        motion: (B, M) where the module was made with motion_size=M.
        marks: one or several of (T or 1, R or 1, D), to be added to the grid of every video. Their share of W x is computed once for all videos.

        Raises ShapeError if a size does not fit, ValueError if motion is missing or not wanted.
        """
        if grid.dim() != 4 or grid.shape[-1] != self.input_weight.shape[1]:
            raise ShapeError(f"grid {tuple(grid.shape)}: expected (B, T, R, {self.input_weight.shape[1]}).")
        return self.continued(grid, *self.start(len(grid), motion), is_padding, marks)

    def continued(self, grid: Tensor, h: Tensor, c: Tensor, is_padding: Tensor | None = None, marks: Marks = None) -> Pooled:
        """Encode the next frames of videos of which h and c, (B, H) each, are known: the start, or what the frames before have left."""
        if is_padding is None:
            is_padding = torch.zeros(grid.shape[:2], dtype=torch.bool, device=grid.device)
        if is_padding.shape != grid.shape[:2]:
            raise ShapeError(f"is_padding {tuple(is_padding.shape)}: expected {tuple(grid.shape[:2])}, a flag for each frame.")
        weights = RecurrenceWeights(self.input_weight, self._bias(grid, marks), self.recurrent_weight, self.score_weight)
        recurrence = choose_recurrence(self.implementation, grid, h)
        all_h, all_c, local_weights = recurrence(grid, weights, h, c, is_padding)
        return Pooled(all_h, all_h[:, -1], all_c[:, -1], None if weights.score is None else local_weights)

    def _bias(self, grid: Tensor, marks: Marks) -> Tensor:
        """b, and the marks' share of W x: (4H [+ A],) or (T or 1, R or 1, 4H [+ A])."""
        bias: Tensor = self.input_bias
        for mark in each_mark(marks):
            _, T, R, D = grid.shape
            if mark.dim() != 3 or mark.shape[0] not in (1, T) or mark.shape[1] not in (1, R) or mark.shape[2] != D:
                raise ShapeError(
                    f"mark {tuple(mark.shape)}: expected ({T} or 1, {R} or 1, {D}) for a grid {tuple(grid.shape)}."
                )
            bias = bias + linear(mark, self.input_weight)
        return bias

    def start(self, videos: int, motion: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """h(0) and c(0), equations (11) and (12): (B, H) each. Raises ShapeError or ValueError as `forward` does."""
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
        sizes = [H] * 4 if self.score_weight is None else [H] * 4 + [len(self.score_weight)]  # the gates, and the attention
        for of_input, recurrent in zip(
            torch.split(self.input_weight, sizes), torch.split(self.recurrent_weight, sizes), strict=True
        ):
            nn.init.xavier_uniform_(of_input)
            nn.init.orthogonal_(recurrent)
        self.input_bias[H : 2 * H] = forget_bias
        if memory_frames is not None:
            self.input_bias[:H], self.input_bias[H : 2 * H] = chrono_biases(H, memory_frames)
        if self.score_weight is not None:
            nn.init.xavier_uniform_(self.score_weight[None])


def each_mark(marks: Marks) -> Sequence[Tensor]:
    """None, one mark or several as a sequence."""
    return (marks,) if isinstance(marks, Tensor) else marks or ()


def chrono_biases(hidden_size: int, memory_frames: int) -> tuple[Tensor, Tensor]:
    """Biases of the input and the forget gates, (H,) each, with which units remember for different times, up to memory_frames.

    Chrono initialisation (Tallec & Ollivier 2018, section 2): log U(1, memory_frames - 1) for the forget gates, drawn from
    torch's global generator, and its negative for the input gates. Raises ValueError for fewer than 3 frames.
    """
    if memory_frames < 3:
        raise ValueError(f"memory_frames {memory_frames}: expected at least 3.")
    forget = torch.empty(hidden_size).uniform_(1, memory_frames - 1).log()
    return -forget, forget


def choose_recurrence(implementation: Implementation, grid: Tensor, h: Tensor) -> Recurrence:
    """`pooled_recurrence`, or the function that computes the same faster for such tensors, grid (B, T, R, D) and h (B, H).

    On a GPU 'auto' is 'fused' where Triton can compile; on a processor where gradients are recorded and for much work, because importing
    numba takes half a second, longer than encoding a clip. The kernels of a processor take float32 and float64; other types are computed by
    the reference.
    """
    if implementation == "reference":
        return pooled_recurrence
    if compiles_gpu_kernels(grid):
        from stap.models import fused_recurrence_gpu  # imports Triton, which only builds of PyTorch for GPUs have

        return fused_recurrence_gpu.fused_recurrence
    is_large = implementation == "fused" or grid[..., 0].numel() * h.shape[1] >= MANY_CELLS
    if trains_with_cpu_kernels(h) or (is_large and fits_cpu_kernels(h)):
        from stap.models import fused_recurrence  # imports numba

        return fused_recurrence.fused_recurrence
    return pooled_recurrence


def pooled_recurrence(
    grid: Tensor, weights: RecurrenceWeights, h: Tensor, c: Tensor, is_padding: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Equations (1)-(10) for all frames: h(t), c(t) and the local weights.

    grid: (B, T, R, D).   h, c: (B, H) at the start.   is_padding: (B, T) bool; such a frame leaves h and c as they are.

    Returns h (B, T, H), c (B, T, H) and the local weights (B, T, R), which sum to 1 over R and are not differentiable.
    """
    B, T, R, _ = grid.shape
    H = h.shape[1]
    projected = linear(grid, weights.input) + weights.bias  # (B, T, R, 4H [+ A]): W x + b of all frames, before the recurrence
    states, cells, local = [], [], []
    for t in range(T):
        gates = projected[:, t] + linear(h, weights.recurrent).unsqueeze(1)
        i, f, o = torch.sigmoid(gates[..., : 3 * H]).chunk(3, dim=-1)  # (1)-(3), each (B, R, H)
        c_j = f * c.unsqueeze(1) + i * torch.tanh(gates[..., 3 * H : 4 * H])  # (4)
        h_j = o * torch.tanh(c_j)  # (5)
        if weights.score is None:
            a = h.new_full((B, R), 1 / R)  # (8)
        else:
            a = torch.softmax((torch.tanh(gates[..., 4 * H :]) @ weights.score.to(gates.dtype)).to(h.dtype), dim=1)  # (9), (10)
        padding = is_padding[:, t, None]
        c = torch.where(padding, c, (a.unsqueeze(2) * c_j).sum(1))  # (6)
        h = torch.where(padding, h, (a.unsqueeze(2) * h_j).sum(1))  # (7)
        states.append(h)
        cells.append(c)
        local.append(a.detach())
    return torch.stack(states, dim=1), torch.stack(cells, dim=1), torch.stack(local, dim=1)
