"""L-STAP's recurrence on a GPU: each frame's elementwise work in one or two Triton kernels, forward and backward.

The products W x of all locations of all frames are one matrix product, as in `fused_recurrence.py`, and their result is one buffer. The
kernels read a frame of it once: no gate, c_j or h_j of a location is ever written. The backward pass computes them again from the buffer and
U h, and overwrites the buffer by the gradients of the pre-activations, from which the weights' gradients are one product each.

A program of a kernel has one video: all its locations, and a block of the H units or all A units of the attention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

if TYPE_CHECKING:
    from stap.models.lstap import RecurrenceWeights

__all__ = ["fused_recurrence"]

ELEMENTS = 4096  # of a program's tile of locations and units


def fused_recurrence(
    grid: Tensor, weights: RecurrenceWeights, h: Tensor, c: Tensor, is_padding: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same as `stap.models.lstap.pooled_recurrence`, to rounding."""
    states: tuple[Tensor, Tensor, Tensor] = _FusedRecurrence.apply(grid, h, c, is_padding, *weights)
    return states


class _Forward(NamedTuple):
    """What the forward pass leaves.

    buffer: (B, T, R, G), W x + b, with G = 4H [+ A].   recurrent: (T, B, G), U h.   h, c: (T + 1, B, H), from the start.
    h_stored: h in the buffer's type.   local: (T, B, R), the local weights.
    """

    buffer: Tensor
    recurrent: Tensor
    h: Tensor
    c: Tensor
    h_stored: Tensor
    local: Tensor


def _forward_pass(
    grid: Tensor, h: Tensor, c: Tensor, is_padding: Tensor, W: Tensor, b: Tensor, U: Tensor, score: Tensor | None
) -> _Forward:
    B, T, R, _ = grid.shape
    H, G = h.shape[1], len(W)
    buffer = linear(grid, W, b) if b.dim() == 1 else linear(grid, W).add_(b)
    U_T = U.to(buffer.dtype).T
    recurrent = buffer.new_empty(T, B, G)
    all_h, all_c, h_stored = (like.new_empty(T + 1, B, H) for like in (h, c, buffer))
    all_h[0], all_c[0], h_stored[0] = h, c, h
    local = h.new_full((T, B, R), 1 / R)
    padding = is_padding.T.contiguous()
    block_r, block_h = _blocks(R, H)
    for t in range(T):
        torch.mm(h_stored[t], U_T, out=recurrent[t])
        if score is not None:
            _attend[(B,)](
                buffer, recurrent, score, local, t, B, T, R, H, G, BLOCK_R=block_r, BLOCK_A=triton.next_power_of_2(G - 4 * H)
            )
        _pool_states[(B, triton.cdiv(H, block_h))](
            buffer, recurrent, all_h, all_c, h_stored, local, padding, t, B, T, R, H, G, BLOCK_R=block_r, BLOCK_H=block_h
        )
    return _Forward(buffer, recurrent, all_h, all_c, h_stored, local)


def _blocks(R: int, H: int) -> tuple[int, int]:
    """Locations (all of them) and units of a program."""
    block_r = triton.next_power_of_2(R)
    return block_r, min(triton.next_power_of_2(H), max(16, ELEMENTS // block_r))


class _FusedRecurrence(torch.autograd.Function):
    """`_forward_pass` and its gradients. The weights are those of `RecurrenceWeights`, in its order."""

    @staticmethod
    def forward(
        ctx: Any, grid: Tensor, h: Tensor, c: Tensor, is_padding: Tensor, *weights: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        done = _forward_pass(grid, h, c, is_padding, *weights)
        local = done.local.transpose(0, 1)
        ctx.save_for_backward(grid, h, c, is_padding, *weights)
        ctx.done = done if any(ctx.needs_input_grad) else None
        ctx.mark_non_differentiable(local)
        return done.h[1:].transpose(0, 1), done.c[1:].transpose(0, 1), local

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_h: Tensor, grad_c: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        grid, h, c, is_padding, W, b, U, score = ctx.saved_tensors
        # A second pass through the same graph (retain_graph) finds gradients in the buffer and computes it again.
        done = ctx.done if ctx.done is not None else _forward_pass(grid, h, c, is_padding, W, b, U, score)
        ctx.done = None
        sums, dh, dc, grad_score = _backward_pass(done, grad_h, grad_c, is_padding, U, score)
        flat, rows = done.buffer.flatten(0, 2), sums.flatten(0, 1)
        grad_bias = (
            rows.sum(0, dtype=torch.float32) if b.dim() == 1 else done.buffer.sum(0, dtype=torch.float32).sum_to_size(b.shape)
        )
        grad_grid = linear(done.buffer, W.T.to(flat.dtype)).to(grid.dtype) if ctx.needs_input_grad[0] else None
        return (
            *(grad_grid, dh, dc, None),
            (flat.T @ grid.flatten(0, 2).to(flat.dtype)).to(W.dtype),
            grad_bias.to(b.dtype),
            (rows.T @ done.h_stored[:-1].flatten(0, 1)).to(U.dtype),
            grad_score,
        )


def _backward_pass(
    done: _Forward, grad_h: Tensor, grad_c: Tensor, is_padding: Tensor, U: Tensor, score: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Overwrite the buffer by the gradients of the pre-activations.

    Returns their sums over the locations (T, B, G), the gradients of the start's h and c (B, H), and that of the score (A,).
    """
    buffer, recurrent, all_h, all_c, _, local = done
    B, T, R, G = buffer.shape
    H = all_h.shape[2]
    padding, U = is_padding.T.contiguous(), U.to(buffer.dtype)
    grad_h, grad_c = grad_h.transpose(0, 1).contiguous(), grad_c.transpose(0, 1).contiguous()
    sums = buffer.new_empty(T, B, G)
    # Gradients of h(t) and c(t) from what follows frame t: dh through U h, dc along the forget gates, or past a padded frame as they were.
    dh, dc = torch.zeros_like(all_h), torch.zeros_like(all_c)
    through = buffer.new_zeros(B, H)
    block_r, block_h = _blocks(R, H)
    units = triton.cdiv(H, block_h)
    of_weights = None if score is None else all_h.new_empty(B, units, R)
    of_score = None if score is None else all_h.new_empty(T, B, len(score))
    frame = (buffer, recurrent, all_c, local, padding)
    sizes = (B, T, R, H, G)
    for t in reversed(range(T)):
        _receive[(triton.cdiv(B * H, 1024),)](dh, dc, through, grad_h, grad_c, padding, t, B, T, H, BLOCK=1024)
        if score is not None:
            _gradients_of_local_weights[(B, units)](*frame, dh, dc, of_weights, t, *sizes, BLOCK_R=block_r, BLOCK_H=block_h)
            _gradients_of_attention[(B,)](
                *(buffer, recurrent, local, padding, score, of_weights, of_score, sums, t, units, *sizes),
                BLOCK_R=block_r,
                BLOCK_A=triton.next_power_of_2(len(score)),
            )
        _gradients_of_gates[(B, units)](*frame, dh, dc, sums, t, *sizes, BLOCK_R=block_r, BLOCK_H=block_h)
        torch.mm(sums[t], U, out=through)
    first = padding[0].unsqueeze(1)
    grad_score = None if of_score is None or score is None else of_score.sum((0, 1)).to(score.dtype)
    return sums, torch.where(first, dh[1], through.to(dh.dtype)), dc[0], grad_score


@triton.jit
def _tanh(x):  # type: ignore[no-untyped-def]
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def _tile(of_frame, of_video, columns, r, R, limit):  # type: ignore[no-untyped-def]
    """Pre-activations of a video: W x + b of its locations (rows) plus U h, in float32; 0 outside."""
    inside = (r[:, None] < R) & (columns[None, :] < limit)
    values = tl.load(of_frame + columns[None, :], mask=inside, other=0.0).to(tl.float32)
    return values + tl.load(of_video + columns, mask=columns < limit, other=0.0).to(tl.float32)[None, :]


@triton.jit
def _gates(of_frame, of_video, unit, r, R, H):  # type: ignore[no-untyped-def]
    """Input, forget and output gate and candidate of a video's locations (rows) and of a block of units."""
    i = tl.sigmoid(_tile(of_frame, of_video, unit, r, R, H))
    f = tl.sigmoid(_tile(of_frame + H, of_video + H, unit, r, R, H))
    o = tl.sigmoid(_tile(of_frame + 2 * H, of_video + 2 * H, unit, r, R, H))
    n = _tanh(_tile(of_frame + 3 * H, of_video + 3 * H, unit, r, R, H))
    return i, f, o, n


@triton.jit
def _attend(buffer, recurrent, score, local, t, B, T, R, H, G, BLOCK_R: tl.constexpr, BLOCK_A: tl.constexpr):  # type: ignore[no-untyped-def]
    """Equations (9) and (10)."""
    b = tl.program_id(0).to(tl.int64)
    r, columns = tl.arange(0, BLOCK_R), 4 * H + tl.arange(0, BLOCK_A)
    hidden = _tanh(_tile(buffer + ((b * T + t) * R + r[:, None]) * G, recurrent + (t * B + b) * G, columns, r, R, G))
    w = tl.load(score + columns - 4 * H, mask=columns < G, other=0.0).to(tl.float32)
    scores = tl.where(r < R, tl.sum(hidden * w[None, :], 1), -float("inf"))
    exponentials = tl.exp(scores - tl.max(scores, 0))
    tl.store(local + (t * B + b) * R + r, exponentials / tl.sum(exponentials, 0), mask=r < R)


@triton.jit
def _pool_states(  # type: ignore[no-untyped-def]
    buffer, recurrent, all_h, all_c, h_stored, local, padding, t, B, T, R, H, G, BLOCK_R: tl.constexpr, BLOCK_H: tl.constexpr
):
    """Equations (1)-(7)."""
    b, unit = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    r = tl.arange(0, BLOCK_R)
    of_frame, of_video = buffer + ((b * T + t) * R + r[:, None]) * G, recurrent + (t * B + b) * G
    state = (t * B + b) * H + unit
    inside = unit < H
    c = tl.load(all_c + state, mask=inside, other=0.0).to(tl.float32)
    a = tl.load(local + (t * B + b) * R + r, mask=r < R, other=0.0).to(tl.float32)[:, None]
    i, f, o, n = _gates(of_frame, of_video, unit, r, R, H)
    c_j = f * c[None, :] + i * n
    h_new, c_new = tl.sum(a * o * _tanh(c_j), 0), tl.sum(a * c_j, 0)
    if tl.load(padding + t * B + b):
        h_new, c_new = tl.load(all_h + state, mask=inside, other=0.0).to(tl.float32), c
    after = state + B * H
    tl.store(all_h + after, h_new, mask=inside)
    tl.store(h_stored + after, h_new, mask=inside)
    tl.store(all_c + after, c_new, mask=inside)


@triton.jit
def _receive(dh, dc, through, grad_h, grad_c, padding, t, B, T, H, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """dh and dc of h(t + 1) and c(t + 1), as the outputs of frame t: what the frame after it gives back, and the loss."""
    k = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = k < B * H
    at, after = (t + 1) * B * H + k, (t + 2) * B * H + k
    is_last = t == T - 1
    passed = tl.load(padding + (t + 1) * B + k // H, mask=inside & (not is_last), other=0)
    following = tl.load(through + k, mask=inside, other=0.0).to(tl.float32)
    kept = tl.load(dh + after, mask=inside & (not is_last), other=0.0).to(tl.float32)
    tl.store(
        dh + at, tl.where(passed != 0, kept, following) + tl.load(grad_h + t * B * H + k, mask=inside, other=0.0), mask=inside
    )
    tl.store(
        dc + at, tl.load(dc + at, mask=inside, other=0.0) + tl.load(grad_c + t * B * H + k, mask=inside, other=0.0), mask=inside
    )


@triton.jit
def _gradients_of_local_weights(  # type: ignore[no-untyped-def]
    buffer, recurrent, all_c, local, padding, dh, dc, of_weights, t, B, T, R, H, G, BLOCK_R: tl.constexpr, BLOCK_H: tl.constexpr
):
    """This block's part of sum_h (h_j dh + c_j dc) for each location j."""
    b, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    unit, r = block * BLOCK_H + tl.arange(0, BLOCK_H), tl.arange(0, BLOCK_R)
    of_frame, of_video = buffer + ((b * T + t) * R + r[:, None]) * G, recurrent + (t * B + b) * G
    state, inside = (t * B + b) * H + unit, unit < H
    c = tl.load(all_c + state, mask=inside, other=0.0).to(tl.float32)
    i, f, o, n = _gates(of_frame, of_video, unit, r, R, H)
    c_j = f * c[None, :] + i * n
    after = state + B * H
    of_h = tl.load(dh + after, mask=inside, other=0.0).to(tl.float32)[None, :]
    of_c = tl.load(dc + after, mask=inside, other=0.0).to(tl.float32)[None, :]
    part = tl.sum(o * _tanh(c_j) * of_h + c_j * of_c, 1)
    tl.store(of_weights + (b * tl.num_programs(1) + block) * R + r, part, mask=r < R)


@triton.jit
def _gradients_of_attention(  # type: ignore[no-untyped-def]
    buffer, recurrent, local, padding, score, of_weights, of_score, sums, t, units, B, T, R, H, G,
    BLOCK_R: tl.constexpr, BLOCK_A: tl.constexpr,
):  # fmt: skip
    """Overwrite W_ax x + b_a by its gradients."""
    b = tl.program_id(0).to(tl.int64)
    r, columns = tl.arange(0, BLOCK_R), 4 * H + tl.arange(0, BLOCK_A)
    of_frame = buffer + ((b * T + t) * R + r[:, None]) * G
    hidden = _tanh(_tile(of_frame, recurrent + (t * B + b) * G, columns, r, R, G))
    a = tl.load(local + (t * B + b) * R + r, mask=r < R, other=0.0).to(tl.float32)
    d_weights = tl.zeros((BLOCK_R,), tl.float32)
    for block in range(units):
        d_weights += tl.load(of_weights + (b * units + block) * R + r, mask=r < R, other=0.0)
    d_scores = a * (d_weights - tl.sum(a * d_weights, 0))
    d_scores = tl.where(tl.load(padding + t * B + b) != 0, 0.0, d_scores)
    w = tl.load(score + columns - 4 * H, mask=columns < G, other=0.0).to(tl.float32)
    d_hidden = (1 - hidden * hidden) * w[None, :] * d_scores[:, None]
    tl.store(of_frame + columns[None, :], d_hidden, mask=(r[:, None] < R) & (columns[None, :] < G))
    of_video = (t * B + b) * G + columns
    tl.store(sums + of_video, tl.sum(d_hidden, 0), mask=columns < G)
    A = G - 4 * H
    tl.store(of_score + (t * B + b) * A + columns - 4 * H, tl.sum(d_scores[:, None] * hidden, 0), mask=columns < G)


@triton.jit
def _gradients_of_gates(  # type: ignore[no-untyped-def]
    buffer, recurrent, all_c, local, padding, dh, dc, sums, t, B, T, R, H, G, BLOCK_R: tl.constexpr, BLOCK_H: tl.constexpr
):
    """Overwrite the gates' pre-activations by their gradients; dc of the frame before, along the forget gates."""
    b, unit = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    r = tl.arange(0, BLOCK_R)
    of_frame, of_video = buffer + ((b * T + t) * R + r[:, None]) * G, recurrent + (t * B + b) * G
    state, inside = (t * B + b) * H + unit, unit < H
    after = state + B * H
    c = tl.load(all_c + state, mask=inside, other=0.0).to(tl.float32)[None, :]
    of_h = tl.load(dh + after, mask=inside, other=0.0).to(tl.float32)
    of_c = tl.load(dc + after, mask=inside, other=0.0).to(tl.float32)
    passed = tl.load(padding + t * B + b) != 0
    a = tl.where(passed, 0.0, tl.load(local + (t * B + b) * R + r, mask=r < R, other=0.0).to(tl.float32))[:, None]
    i, f, o, n = _gates(of_frame, of_video, unit, r, R, H)
    tanh_c_j = _tanh(f * c + i * n)
    d_h = a * of_h[None, :]
    d_cell = a * of_c[None, :] + d_h * o * (1 - tanh_c_j * tanh_c_j)
    tl.store(dc + state, tl.where(passed, of_c, tl.sum(d_cell * f, 0)), mask=inside)
    d_i, d_f = d_cell * n * i * (1 - i), d_cell * c * f * (1 - f)
    d_o, d_n = d_h * tanh_c_j * o * (1 - o), d_cell * i * (1 - n * n)
    inside_both = (r[:, None] < R) & inside[None, :]
    at, total = of_frame + unit[None, :], sums + (t * B + b) * G + unit
    tl.store(at, d_i, mask=inside_both)
    tl.store(at + H, d_f, mask=inside_both)
    tl.store(at + 2 * H, d_o, mask=inside_both)
    tl.store(at + 3 * H, d_n, mask=inside_both)
    tl.store(total, tl.sum(d_i, 0), mask=inside)
    tl.store(total + H, tl.sum(d_f, 0), mask=inside)
    tl.store(total + 2 * H, tl.sum(d_o, 0), mask=inside)
    tl.store(total + 3 * H, tl.sum(d_n, 0), mask=inside)
