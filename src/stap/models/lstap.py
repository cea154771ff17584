"""L-STAP: an LSTM that reads every location of a frame and pools them depending on what it remembers.

Francis & Huet 2019, sections 3.1 and 3.2. At frame t, for every location j of the grid x, from the state h, c of frame t - 1:

    i_j, f_j, o_j = sigmoid(W x_j + U h + b)                                (1)-(3)
    c_j = f_j * c + i_j * tanh(W x_j + U h + b)                             (4)
    h_j = o_j * tanh(c_j)                                                   (5)
    c(t) = sum_j a_j c_j,   h(t) = sum_j a_j h_j                            (6), (7)
    a_j = 1 / R,   or   a = softmax_j(w . tanh(W_ax x_j + W_ah h + b_a))    (8), or (9) and (10)

h(0) and c(0) are made from the clip's motion vector, (11) and (12). `_forward_pass` computes these lines.

Its backward pass is written by hand, for the memory that it moves: R locations need R times the elementwise work of an LSTM.

- The products W x of all locations of all frames are one matrix product outside the recurrence.
- Their result is one buffer: overwritten by the gates on the way forward and by their gradients on the way back. c_j and h_j live
  for one frame; automatic differentiation would keep them and their parts for all frames.
- The gradients of all weights are one matrix product each, after the recurrence.

`benchmarks/encode.py` compares the time with that of the matrix products and of automatic differentiation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from stap.errors import ShapeError

__all__ = ["LSTAP", "Pooled", "RecurrenceWeights", "chrono_biases", "pooled_recurrence"]


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
    bias: (4H,), b, likewise with b_a.   recurrent: (4H, H), U, likewise with W_ah.
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
        """Encode B videos.

        grid: (B, T, R, D).   is_padding: (B, T) bool, True where the video has no frame; None: no padding.
        motion: (B, M) where the module was made with motion_size=M.

        Raises ShapeError if a size does not fit, ValueError if motion is missing or not wanted.
        """
        if grid.dim() != 4 or grid.shape[-1] != self.input_weight.shape[1]:
            raise ShapeError(f"grid {tuple(grid.shape)}: expected (B, T, R, {self.input_weight.shape[1]}).")
        if is_padding is None:
            is_padding = torch.zeros(grid.shape[:2], dtype=torch.bool, device=grid.device)
        h, c = self._start(len(grid), motion)
        weights = RecurrenceWeights(self.input_weight, self.input_bias, self.recurrent_weight, self.score_weight)
        all_h, all_c, local_weights = pooled_recurrence(grid, weights, h, c, is_padding)
        return Pooled(all_h, all_h[:, -1], all_c[:, -1], None if weights.score is None else local_weights)

    def _start(self, videos: int, motion: Tensor | None) -> tuple[Tensor, Tensor]:
        """h(0) and c(0), equations (11) and (12)."""
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


def chrono_biases(hidden_size: int, memory_frames: int) -> tuple[Tensor, Tensor]:
    """Biases of the input and the forget gates, (H,) each, with which units remember for different times, up to memory_frames.

    Chrono initialisation (Tallec & Ollivier 2018, section 2): log U(1, memory_frames - 1) for the forget gates, drawn from
    torch's global generator, and its negative for the input gates. Raises ValueError for fewer than 3 frames.
    """
    if memory_frames < 3:
        raise ValueError(f"memory_frames {memory_frames}: expected at least 3.")
    forget = torch.empty(hidden_size).uniform_(1, memory_frames - 1).log()
    return -forget, forget


def pooled_recurrence(
    grid: Tensor, weights: RecurrenceWeights, h: Tensor, c: Tensor, is_padding: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Equations (1)-(10) for all frames: h(t), c(t) and the local weights.

    grid: (B, T, R, D).   h, c: (B, H) at the start.   is_padding: (B, T) bool; such a frame leaves h and c as they are.

    Returns h (B, T, H), c (B, T, H) and the local weights (B, T, R), which sum to 1 over R and are not differentiable.
    """
    states: tuple[Tensor, Tensor, Tensor] = _PooledRecurrence.apply(grid, h, c, is_padding, *weights)
    return states


def _forward_pass(
    grid: Tensor, h: Tensor, c: Tensor, is_padding: Tensor, weights: RecurrenceWeights
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gates (B, T, R, 4H [+ A]), h and c from the start (T + 1, B, H), and the local weights (B, T, R)."""
    B, T, R, _ = grid.shape
    H = h.shape[1]
    buffer = linear(grid, weights.input, weights.bias)
    all_h, all_c = h.new_empty(T + 1, B, H), c.new_empty(T + 1, B, H)
    local_weights = h.new_full((B, T, R), 1 / R)  # (8)
    all_h[0], all_c[0] = h, c
    for t in range(T):
        frame = buffer[:, t]  # (B, R, 4H [+ A])
        frame += linear(h, weights.recurrent).unsqueeze(1)
        frame[..., : 3 * H].sigmoid_()  # (1)-(3)
        frame[..., 3 * H :].tanh_()
        if weights.score is not None:
            scores = frame[..., 4 * H :] @ weights.score.to(frame.dtype)  # (9): (B, R)
            local_weights[:, t] = torch.softmax(scores.to(h.dtype), dim=1)  # (10)
        gates = _Gates.of(frame, H)
        c_j = gates.cell(c)  # (4)
        h_j = gates.output * torch.tanh(c_j)  # (5)
        padding = is_padding[:, t, None]
        c = torch.where(padding, c, _pool(c_j, local_weights[:, t]))  # (6)
        h = torch.where(padding, h, _pool(h_j, local_weights[:, t]))  # (7)
        all_h[t + 1], all_c[t + 1] = h, c
    return buffer, all_h, all_c, local_weights


class _PooledRecurrence(torch.autograd.Function):
    """`_forward_pass` and its gradients. The weights are those of `RecurrenceWeights`, in its order."""

    @staticmethod
    def forward(
        ctx: Any, grid: Tensor, h: Tensor, c: Tensor, is_padding: Tensor, *weights: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        buffer, all_h, all_c, local_weights = _forward_pass(grid, h, c, is_padding, RecurrenceWeights(*weights))  # type: ignore[arg-type]
        ctx.save_for_backward(grid, h, c, is_padding, *weights, all_h, all_c, local_weights)
        ctx.buffer = buffer if any(ctx.needs_input_grad) else None
        ctx.mark_non_differentiable(local_weights)
        return all_h[1:].transpose(0, 1), all_c[1:].transpose(0, 1), local_weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_h: Tensor, grad_c: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        grid, h, c, is_padding, *saved, all_h, all_c, local_weights = ctx.saved_tensors
        weights = RecurrenceWeights(*saved)
        # A second pass through the same graph (retain_graph) finds the gates overwritten by gradients and computes them anew.
        buffer = ctx.buffer if ctx.buffer is not None else _forward_pass(grid, h, c, is_padding, weights)[0]
        ctx.buffer = None
        T = buffer.shape[1]
        sums = all_h.new_empty(T, len(grid), buffer.shape[-1])  # gradient of U h, one per frame: summed over locations
        grad_score = None if weights.score is None else torch.zeros_like(weights.score, dtype=all_h.dtype)
        dh, dc = torch.zeros_like(h), torch.zeros_like(c)
        for t in reversed(range(T)):
            dh, dc = dh + grad_h[:, t], dc + grad_c[:, t]
            padding, frame = is_padding[:, t, None], buffer[:, t]
            dh_pooled, dc_pooled = dh.masked_fill(padding, 0), dc.masked_fill(padding, 0)
            carried, d_score = _become_gradients(frame, all_c[t], local_weights[:, t], dh_pooled, dc_pooled, weights.score)
            grad_score = None if grad_score is None else grad_score + d_score
            sums[t] = frame.sum(1)
            dh = torch.where(padding, dh, linear(sums[t], weights.recurrent.T.to(sums.dtype)))
            dc = torch.where(padding, dc, carried)
        flat = buffer.flatten(0, 2)
        grad_input = flat.T @ grid.flatten(0, 2).to(flat.dtype)
        grad_recurrent = sums.flatten(0, 1).T @ all_h[:-1].flatten(0, 1)
        grad_grid = linear(buffer, weights.input.T.to(buffer.dtype)).to(grid.dtype) if ctx.needs_input_grad[0] else None
        return (
            *(grad_grid, dh, dc, None),
            grad_input.to(weights.input.dtype),
            sums.sum((0, 1)).to(weights.bias.dtype),
            grad_recurrent.to(weights.recurrent.dtype),
            grad_score,
        )


def _become_gradients(
    frame: Tensor, c: Tensor, local_weights: Tensor, dh: Tensor, dc: Tensor, score: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Overwrite a frame's gates (B, R, 4H [+ A]) by the gradients of their pre-activations.

    c: (B, H), before the frame.   local_weights: (B, R).   dh, dc: (B, H), gradients of the frame's pooled h and c.

    Returns the gradient of c along the forget gates (B, H), and that of the score (A,), 0 for mean pooling.
    """
    H = c.shape[1]
    gates, grad_score = _Gates.of(frame, H), c.new_zeros(())
    c_j = gates.cell(c)
    tanh_c_j = torch.tanh(c_j)
    if score is not None:
        d_weights = _dot(gates.output * tanh_c_j, dh) + _dot(c_j, dc)
        d_scores = local_weights * (d_weights - (local_weights * d_weights).sum(1, keepdim=True))  # (B, R)
        hidden = frame[..., 4 * H :]
        grad_score = d_scores.flatten() @ hidden.flatten(0, 1).to(d_scores.dtype)
        hidden.square_().neg_().add_(1).mul_(score).mul_(d_scores.unsqueeze(-1))
    dh_j = local_weights.unsqueeze(-1) * dh.unsqueeze(1)  # (B, R, H)
    dc_j = torch.addcmul(local_weights.unsqueeze(-1) * dc.unsqueeze(1), dh_j * gates.output, 1 - tanh_c_j.square())
    carried = (dc_j * gates.forget).sum(1)
    gates.become_gradients(dh_j * tanh_c_j, dc_j, c)
    return carried, grad_score


@dataclass(frozen=True)
class _Gates:
    """Views of one frame's buffer, each (B, R, H)."""

    input: Tensor
    forget: Tensor
    output: Tensor
    candidate: Tensor

    @classmethod
    def of(cls, frame: Tensor, H: int) -> _Gates:
        return cls(*frame[..., : 4 * H].chunk(4, dim=-1))

    def cell(self, c: Tensor) -> Tensor:
        """c_j, equation (4)."""
        return torch.addcmul(self.input * self.candidate, self.forget, c.unsqueeze(1).to(self.forget.dtype))

    def become_gradients(self, d_output: Tensor, d_cell: Tensor, c: Tensor) -> None:
        """Overwrite the gates by the gradients of their pre-activations."""
        i, f, o, n = self.input, self.forget, self.output, self.candidate
        d_input = d_cell * n * (i - i.square())
        d_candidate = d_cell * i * (1 - n.square())
        f.copy_(d_cell * c.unsqueeze(1) * (f - f.square()))
        o.copy_(d_output * (o - o.square()))
        i.copy_(d_input)
        n.copy_(d_candidate)


def _pool(values: Tensor, weights: Tensor) -> Tensor:
    """(B, R, H), (B, R) -> (B, H): equations (6) and (7)."""
    return torch.bmm(weights.unsqueeze(1), values.to(weights.dtype)).squeeze(1)


def _dot(values: Tensor, vector: Tensor) -> Tensor:
    """(B, R, H), (B, H) -> (B, R): each location's product with its video's vector."""
    return torch.bmm(values.to(vector.dtype), vector.unsqueeze(2)).squeeze(2)
