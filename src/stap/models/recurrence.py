"""The L-STAP recurrence over frames and locations, forward and backward, written for the memory it moves.

Francis & Huet 2019, equations (1)-(10). For every location the gates need R times the work of an ordinary LSTM, nearly
all of it elementwise, so what costs time is passing over memory. Therefore:

- the projection of all locations of all frames is one matrix product outside the recurrence;
- its result is one buffer: overwritten by the gates on the way forward and by their gradients on the way back. c_j and h_j
  live for one frame, where automatic differentiation would keep them and their parts for all frames;
- the gradients of all weights are one matrix product each, after the recurrence.

`benchmarks/encode.py` compares the time with that of the matrix products and of automatic differentiation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

__all__ = ["pooled_recurrence"]


def pooled_recurrence(
    grid: Tensor,
    input_weight: Tensor,
    input_bias: Tensor,
    recurrent_weight: Tensor,
    score_weight: Tensor | None,
    h: Tensor,
    c: Tensor,
    is_padding: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """States of an LSTM that reads every location of a frame and pools what it reads: h(t), c(t) and the local weights.

    grid: (B, T, R, D).   h, c: (B, H) at the start.   is_padding: (B, T) bool; such a frame leaves h and c as they are.
    input_weight: (4H, D) and input_bias: (4H,), gates in the order input, forget, output, candidate; with attention
    pooling A more rows: W_ax and b_a of equation (9).   recurrent_weight: (4H, H), likewise with W_ah below.
    score_weight: (A,), w of equation (9); None for mean pooling, equation (8).

    Returns h (B, T, H), c (B, T, H) and the local weights (B, T, R), which sum to 1 over R and are not differentiable.
    """
    states: tuple[Tensor, Tensor, Tensor] = _PooledRecurrence.apply(
        grid, input_weight, input_bias, recurrent_weight, score_weight, h, c, is_padding
    )
    return states


class _PooledRecurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        grid: Tensor,
        input_weight: Tensor,
        input_bias: Tensor,
        recurrent_weight: Tensor,
        score_weight: Tensor | None,
        h: Tensor,
        c: Tensor,
        is_padding: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        arguments = (
            grid,
            input_weight,
            input_bias,
            recurrent_weight,
            score_weight,
            h,
            c,
            is_padding,
        )
        buffer, all_h, all_c, local_weights = _watch(*arguments)
        ctx.save_for_backward(*arguments, all_h, all_c, local_weights)
        ctx.buffer = buffer if any(ctx.needs_input_grad) else None
        ctx.mark_non_differentiable(local_weights)
        return all_h[1:].transpose(0, 1), all_c[1:].transpose(0, 1), local_weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_h: Tensor, grad_c: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        *arguments, all_h, all_c, local_weights = ctx.saved_tensors
        grid, input_weight, input_bias, recurrent_weight, score_weight, _, _, is_padding = arguments
        # A second pass through the same graph (retain_graph) finds the gates overwritten by gradients and watches again.
        buffer = ctx.buffer if ctx.buffer is not None else _watch(*arguments)[0]
        ctx.buffer = None
        T, H = buffer.shape[1], all_h.shape[2]
        sums = all_h.new_empty(T, len(grid), buffer.shape[-1])  # gradient of h W_h, one a frame: summed over locations
        grad_score = None if score_weight is None else torch.zeros_like(score_weight, dtype=all_h.dtype)
        dh, dc = torch.zeros_like(all_h[0]), torch.zeros_like(all_c[0])
        for t in reversed(range(T)):
            dh, dc = dh + grad_h[:, t], dc + grad_c[:, t]
            padding = is_padding[:, t, None]
            dh_pooled, dc_pooled = dh.masked_fill(padding, 0), dc.masked_fill(padding, 0)
            frame, weights, c = buffer[:, t], local_weights[:, t], all_c[t]
            gates = _Gates.of(frame, H)
            c_j = gates.cell(c)
            tanh_c_j = torch.tanh(c_j)
            if score_weight is not None:
                d_weights = _dot(gates.output * tanh_c_j, dh_pooled) + _dot(c_j, dc_pooled)
                d_scores = weights * (d_weights - (weights * d_weights).sum(1, keepdim=True))  # (B, R)
                hidden = frame[..., 4 * H :]
                grad_score = grad_score + d_scores.flatten() @ hidden.flatten(0, 1).to(d_scores.dtype)
                hidden.square_().neg_().add_(1).mul_(score_weight).mul_(d_scores.unsqueeze(-1))
            dh_j = weights.unsqueeze(-1) * dh_pooled.unsqueeze(1)  # (B, R, H)
            dc_j = torch.addcmul(weights.unsqueeze(-1) * dc_pooled.unsqueeze(1), dh_j * gates.output, 1 - tanh_c_j.square())
            carried = (dc_j * gates.forget).sum(1)
            gates.become_gradients(dh_j * tanh_c_j, dc_j, c)
            sums[t] = frame.sum(1)
            dh = torch.where(padding, dh, linear(sums[t], recurrent_weight.T.to(sums.dtype)))
            dc = torch.where(padding, dc, carried)
        flat = buffer.flatten(0, 2)
        grad_input_weight = flat.T @ grid.flatten(0, 2).to(flat.dtype)
        grad_recurrent = sums.flatten(0, 1).T @ all_h[:-1].flatten(0, 1)
        grad_grid = linear(buffer, input_weight.T.to(buffer.dtype)).to(grid.dtype) if ctx.needs_input_grad[0] else None
        return (
            grad_grid,
            grad_input_weight.to(input_weight.dtype),
            sums.sum((0, 1)).to(input_bias.dtype),
            grad_recurrent.to(recurrent_weight.dtype),
            grad_score,
            dh,
            dc,
            None,
        )


def _watch(
    grid: Tensor,
    input_weight: Tensor,
    input_bias: Tensor,
    recurrent_weight: Tensor,
    score_weight: Tensor | None,
    h: Tensor,
    c: Tensor,
    is_padding: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The forward pass: the gates (B, T, R, 4H [+ A]), h and c from the start (T + 1, B, H), and the local weights."""
    B, T, R, _ = grid.shape
    H = h.shape[1]
    buffer = linear(grid, input_weight, input_bias)
    all_h, all_c = h.new_empty(T + 1, B, H), c.new_empty(T + 1, B, H)
    local_weights = h.new_full((B, T, R), 1 / R)
    all_h[0], all_c[0] = h, c
    for t in range(T):
        frame = buffer[:, t]  # (B, R, 4H [+ A])
        frame += linear(h, recurrent_weight).unsqueeze(1)
        frame[..., : 3 * H].sigmoid_()
        frame[..., 3 * H :].tanh_()
        if score_weight is not None:
            scores = frame[..., 4 * H :] @ score_weight.to(frame.dtype)  # (B, R)
            local_weights[:, t] = torch.softmax(scores.to(h.dtype), dim=1)
        gates = _Gates.of(frame, H)
        c_j = gates.cell(c)
        h_j = gates.output * torch.tanh(c_j)
        padding = is_padding[:, t, None]
        h = torch.where(padding, h, _pool(h_j, local_weights[:, t]))
        c = torch.where(padding, c, _pool(c_j, local_weights[:, t]))
        all_h[t + 1], all_c[t + 1] = h, c
    return buffer, all_h, all_c, local_weights


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
