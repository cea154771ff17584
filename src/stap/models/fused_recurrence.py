"""L-STAP's recurrence with a backward pass written by hand, for the memory that it moves.

R locations need R times the elementwise work of an LSTM.

- The products W x of all locations of all frames are one matrix product outside the recurrence.
- Their result is one buffer: overwritten by the gates on the way forward and by their gradients on the way back. c_j and h_j live
  for one frame; automatic differentiation would keep them and their parts for all frames.
- The gradients of all weights are one matrix product each, after the recurrence.
- On a processor PyTorch's tanh takes four times as long as its sigmoid. So tanh(x) is 2 s - 1 with s = sigmoid(2 x): one call makes all gates
  of a frame, and one call turns their gradients into those of the pre-activations.

`benchmarks/encode.py` compares the time with that of the matrix products and of automatic differentiation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

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
    """The sigmoids (B, T, R, 4H [+ A]), h and c from the start (T + 1, B, H), and the local weights (B, T, R).

    The sigmoids are i, f and o, and s = (1 + tanh) / 2 of the candidate and of the attention.
    """
    B, T, R, _ = grid.shape
    H = h.shape[1]
    factor = W.new_ones(len(W))
    factor[3 * H :] = 2
    W, b, U = W * factor[:, None], b * factor, U * factor[:, None]
    buffer = linear(grid, W).to(h.dtype)
    if b.dim() > 1:
        buffer += b
    all_h, all_c = h.new_empty(T + 1, B, H), c.new_empty(T + 1, B, H)
    local_weights = h.new_full((B, T, R), 1 / R)  # (8)
    all_h[0], all_c[0] = h, c
    for t in range(T):
        frame = buffer[:, t]  # (B, R, 4H [+ A])
        frame += linear(h, U, b if b.dim() == 1 else None).unsqueeze(1)
        frame.sigmoid_()  # (1)-(3)
        if score is not None:  # (9) and (10); the softmax of w . (2 s - 1) is that of 2 w . s
            local_weights[:, t] = torch.softmax(frame[..., 4 * H :] @ (2 * score), dim=1)
        cell = _Cell.of(frame, c)
        half_h = torch.sigmoid(cell.doubled).sub_(0.5).mul_(frame[..., 2 * H : 3 * H])  # (5)
        padding = is_padding[:, t, None]
        c = torch.where(padding, c, _pool(cell.doubled, local_weights[:, t]) / 2)  # (6)
        h = torch.where(padding, h, _pool(half_h, local_weights[:, t]) * 2)  # (7)
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
            dh = torch.where(padding, dh, linear(sums[t], U.T))
            dc = torch.where(padding, dc, carried)
        flat = buffer.flatten(0, 2)
        grad_input = flat.T @ grid.flatten(0, 2).to(flat.dtype)
        grad_bias = sums.sum((0, 1)) if b.dim() == 1 else buffer.sum(0).sum_to_size(b.shape)
        grad_recurrent = sums.flatten(0, 1).T @ all_h[:-1].flatten(0, 1)
        grad_grid = linear(buffer, W.T.to(buffer.dtype)).to(grid.dtype) if ctx.needs_input_grad[0] else None
        return (
            *(grad_grid, dh, dc, None),
            grad_input.to(W.dtype),
            grad_bias.to(b.dtype),
            grad_recurrent.to(U.dtype),
            grad_score,
        )


def _become_gradients(
    frame: Tensor, c: Tensor, local_weights: Tensor, dh: Tensor, dc: Tensor, score: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Overwrite a frame's sigmoids (B, R, 4H [+ A]) by the gradients of the pre-activations.

    c: (B, H), before the frame.   local_weights: (B, R).   dh, dc: (B, H), gradients of the frame's pooled h and c.

    Returns the gradient of c along the forget gates (B, H), and that of the score (A,), 0 for mean pooling.
    """
    H = c.shape[1]
    i, f, o, _, hidden = frame.tensor_split((H, 2 * H, 3 * H, 4 * H), dim=-1)
    gradients, grad_score = torch.empty_like(frame, memory_format=torch.contiguous_format), c.new_zeros(())
    of_i, of_f, of_o, of_s, of_hidden = gradients.tensor_split((H, 2 * H, 3 * H, 4 * H), dim=-1)
    cell = _Cell.of(frame, c)
    s = torch.sigmoid(cell.doubled)
    slope = torch.addcmul(s, s, s, value=-1).mul_(o)  # a quarter of dh_j / dc_j
    half_tanh = s.sub_(0.5)
    if score is not None:
        d_weights = _dot(half_tanh * o, 2 * dh) + _dot(cell.doubled, dc / 2)
        d_scores = local_weights * (d_weights - (local_weights * d_weights).sum(1, keepdim=True))  # (B, R), their sum is 0
        grad_score = 2 * (d_scores.flatten() @ hidden.flatten(0, 1))
        torch.mul(d_scores.unsqueeze(-1), 4 * score, out=of_hidden)
    weights, dh, dc = local_weights.unsqueeze(-1), dh.unsqueeze(1), dc.unsqueeze(1)
    four_dc_j = torch.addcmul(4 * dc, 16 * dh, slope).mul_(weights)
    torch.mul(four_dc_j, cell.quarter_candidate, out=of_i)
    torch.mul(four_dc_j, c.unsqueeze(1) / 4, out=of_f)
    torch.mul(half_tanh.mul_(weights), 2 * dh, out=of_o)
    torch.mul(four_dc_j, i, out=of_s)
    carried = four_dc_j.mul_(f).sum(1) / 4
    torch.ops.aten.sigmoid_backward.grad_input(gradients, frame, grad_input=frame)
    return carried, grad_score


class _Cell(NamedTuple):
    """2 c_j, equation (4), and a quarter of the candidate: (B, R, H) each."""

    doubled: Tensor
    quarter_candidate: Tensor

    @classmethod
    def of(cls, frame: Tensor, c: Tensor) -> _Cell:
        """frame: a frame's sigmoids.   c: (B, H), before it."""
        H = c.shape[1]
        i, f, s = frame[..., :H], frame[..., H : 2 * H], frame[..., 3 * H : 4 * H]
        quarter = torch.add(s.new_tensor(-0.25), s, alpha=0.5)
        return cls(torch.addcmul(f * (2 * c).unsqueeze(1), i, quarter, value=8), quarter)


def _pool(values: Tensor, weights: Tensor) -> Tensor:
    """(B, R, H), (B, R) -> (B, H): equations (6) and (7)."""
    return torch.bmm(weights.unsqueeze(1), values).squeeze(1)


def _dot(values: Tensor, vector: Tensor) -> Tensor:
    """(B, R, H), (B, H) -> (B, R): each location's product with its video's vector."""
    return torch.bmm(values, vector.unsqueeze(2)).squeeze(2)
