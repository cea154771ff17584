"""L-STAP's recurrence on a processor, with a backward pass written by hand.

R locations need R times the elementwise work of an LSTM.

- The products W x of all locations of all frames are one matrix product outside the recurrence.
- Their result is one buffer: overwritten by the gates on the way forward and by their gradients on the way back. c_j and h_j are
  never stored; automatic differentiation would keep them and their parts for all frames.
- What is elementwise in a frame is one compiled pass (`cpu_kernels.py`).
- The gradients of all weights are one matrix product each, after the recurrence.

`benchmarks/encode.py` compares the time with that of the matrix products and of automatic differentiation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from stap.models.cpu_kernels import Frames, arrays, pooled_lstm, pooled_lstm_backward

if TYPE_CHECKING:
    from stap.models.lstap import RecurrenceWeights

__all__ = ["fused_recurrence"]


def fused_recurrence(
    grid: Tensor, weights: RecurrenceWeights, h: Tensor, c: Tensor, is_padding: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same as `stap.models.lstap.pooled_recurrence`, to rounding, of tensors on the processor in float32 or float64."""
    states: tuple[Tensor, Tensor, Tensor] = _FusedRecurrence.apply(grid, h, c, is_padding, *weights)
    return states


def _forward_pass(grid: Tensor, h: Tensor, c: Tensor, is_padding: Tensor, *weights: Any) -> list[Tensor]:
    """The tensors of `cpu_kernels.Frames`."""
    W, b, U, score = weights
    (B, T, R, _), H = grid.shape, h.shape[1]
    gates = linear(grid, W).to(h.dtype)
    all_h, all_c = h.new_empty(T + 1, B, H), c.new_empty(T + 1, B, H)
    all_h[0], all_c[0] = h, c
    bias = b.expand(1, 1, -1) if b.dim() == 1 else b
    score = h.new_empty(0) if score is None else score  # A = 0: mean pooling
    tensors = [gates, h.new_empty(T, B, len(W)), bias, is_padding, score, all_h, all_c, h.new_empty(B, T, R)]
    frames = Frames(*arrays(*tensors))
    for t in range(T):
        tensors[1][t] = linear(all_h[t], U)
        pooled_lstm(t, frames)
    return tensors


class _FusedRecurrence(torch.autograd.Function):
    """`_forward_pass` and its gradients. The weights are those of `RecurrenceWeights`, in its order."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
        tensors = _forward_pass(*given)
        ctx.save_for_backward(*given)
        ctx.tensors = tensors if any(ctx.needs_input_grad) else None
        *_, all_h, all_c, local_weights = tensors
        ctx.mark_non_differentiable(local_weights)
        return all_h[1:].transpose(0, 1), all_c[1:].transpose(0, 1), local_weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_h: Tensor, grad_c: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        given = ctx.saved_tensors
        # A second pass through the same graph (retain_graph) finds gradients in place of the gates and computes the gates again.
        tensors = ctx.tensors or _forward_pass(*given)
        ctx.tensors = None
        grid, _, _, _, W, b, U, score = given
        gates, from_h, bias, is_padding, scores, all_h, _, local_weights = tensors
        none = all_h.new_zeros(1, *all_h.shape[1:])
        dh, dc = (torch.cat([none, of_states.transpose(0, 1)]) for of_states in (grad_h, grad_c))
        of_from_h, of_bias, of_scores = torch.empty_like(from_h), torch.zeros_like(bias), torch.zeros_like(scores)
        frames = Frames(*arrays(*tensors))
        gradients = Frames(*arrays(gates, of_from_h, of_bias, is_padding, of_scores, dh, dc, local_weights))
        for t in reversed(range(len(of_from_h))):
            pooled_lstm_backward(t, frames, gradients)
            dh[t].addmm_(of_from_h[t], U)
        flat = gates.flatten(0, 2)
        of_grid = linear(gates, W.T.to(gates.dtype)).to(grid.dtype) if ctx.needs_input_grad[0] else None
        return (
            *(of_grid, dh[0], dc[0], None),
            (flat.T @ grid.flatten(0, 2).to(flat.dtype)).to(W.dtype),
            of_bias.view(b.shape),
            of_from_h.flatten(0, 1).T @ all_h[:-1].flatten(0, 1),
            None if score is None else of_scores,
        )
