"""L-STAP's recurrence with a backward pass written by hand, for the memory that it moves.

R locations need R times the elementwise work of an LSTM.

- The products W x of all locations of all frames are one matrix product outside the recurrence.
- Their result is one buffer: overwritten by the gates on the way forward and by their gradients on the way back. c_j and h_j live
  for one frame; automatic differentiation would keep them and their parts for all frames.
- The gradients of all weights are one matrix product each, after the recurrence.

`benchmarks/encode.py` compares the time with that of the matrix products and of automatic differentiation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

if TYPE_CHECKING:
    from stap.models.lstap import RecurrenceWeights

__all__ = ["fused_recurrence"]


def fused_recurrence(
    grid: Tensor, weights: RecurrenceWeights, h: Tensor, c: Tensor, is_padding: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same as `stap.models.lstap.pooled_recurrence`, to rounding."""
    states: tuple[Tensor, Tensor, Tensor] = _FusedRecurrence.apply(grid, h, c, is_padding, *weights)
    return states


def _forward_pass(
    grid: Tensor, h: Tensor, c: Tensor, is_padding: Tensor, W: Tensor, b: Tensor, U: Tensor, score: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gates (B, T, R, 4H [+ A]), h and c from the start (T + 1, B, H), and the local weights (B, T, R)."""
    B, T, R, _ = grid.shape
    H = h.shape[1]
    buffer = linear(grid, W, b)
    all_h, all_c = h.new_empty(T + 1, B, H), c.new_empty(T + 1, B, H)
    local_weights = h.new_full((B, T, R), 1 / R)  # (8)
    all_h[0], all_c[0] = h, c
    for t in range(T):
        frame = buffer[:, t]  # (B, R, 4H [+ A])
        frame += linear(h, U).unsqueeze(1)
        frame[..., : 3 * H].sigmoid_()  # (1)-(3)
        frame[..., 3 * H :].tanh_()
        if score is not None:
            scores = frame[..., 4 * H :] @ score.to(frame.dtype)  # (9): (B, R)
            local_weights[:, t] = torch.softmax(scores.to(h.dtype), dim=1)  # (10)
        gates = _Gates.of(frame, H)
        c_j = gates.cell(c)  # (4)
        h_j = gates.output * torch.tanh(c_j)  # (5)
        padding = is_padding[:, t, None]
        c = torch.where(padding, c, _pool(c_j, local_weights[:, t]))  # (6)
        h = torch.where(padding, h, _pool(h_j, local_weights[:, t]))  # (7)
        all_h[t + 1], all_c[t + 1] = h, c
    return buffer, all_h, all_c, local_weights


class _FusedRecurrence(torch.autograd.Function):
    """`_forward_pass` and its gradients. The weights are those of `RecurrenceWeights`, in its order."""

    @staticmethod
    def forward(
        ctx: Any, grid: Tensor, h: Tensor, c: Tensor, is_padding: Tensor, *weights: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        buffer, all_h, all_c, local_weights = _forward_pass(grid, h, c, is_padding, *weights)
        ctx.save_for_backward(grid, h, c, is_padding, *weights, all_h, all_c, local_weights)
        ctx.buffer = buffer if any(ctx.needs_input_grad) else None
        ctx.mark_non_differentiable(local_weights)
        return all_h[1:].transpose(0, 1), all_c[1:].transpose(0, 1), local_weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_h: Tensor, grad_c: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        grid, h, c, is_padding, W, b, U, score, all_h, all_c, local_weights = ctx.saved_tensors
        # A second pass through the same graph (retain_graph) finds gradients in place of the gates and computes the gates again.
        buffer = ctx.buffer if ctx.buffer is not None else _forward_pass(grid, h, c, is_padding, W, b, U, score)[0]
        ctx.buffer = None
        T = buffer.shape[1]
        sums = all_h.new_empty(T, len(grid), buffer.shape[-1])  # gradient of U h, one per frame: summed over locations
        grad_score = None if score is None else torch.zeros_like(score, dtype=all_h.dtype)
        dh, dc = torch.zeros_like(h), torch.zeros_like(c)
        for t in reversed(range(T)):
            dh, dc = dh + grad_h[:, t], dc + grad_c[:, t]
            padding, frame = is_padding[:, t, None], buffer[:, t]
            dh_pooled, dc_pooled = dh.masked_fill(padding, 0), dc.masked_fill(padding, 0)
            carried, d_score = _become_gradients(frame, all_c[t], local_weights[:, t], dh_pooled, dc_pooled, score)
            grad_score = None if grad_score is None else grad_score + d_score
            sums[t] = frame.sum(1)
            dh = torch.where(padding, dh, linear(sums[t], U.T.to(sums.dtype)))
            dc = torch.where(padding, dc, carried)
        flat = buffer.flatten(0, 2)
        grad_input = flat.T @ grid.flatten(0, 2).to(flat.dtype)
        grad_recurrent = sums.flatten(0, 1).T @ all_h[:-1].flatten(0, 1)
        grad_grid = linear(buffer, W.T.to(buffer.dtype)).to(grid.dtype) if ctx.needs_input_grad[0] else None
        return (
            *(grad_grid, dh, dc, None),
            grad_input.to(W.dtype),
            sums.sum((0, 1)).to(b.dtype),
            grad_recurrent.to(U.dtype),
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
