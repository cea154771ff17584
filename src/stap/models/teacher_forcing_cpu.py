"""The attentive decoder over whole captions on a processor: what is elementwise in a word is one compiled pass (`cpu_kernels.py`).

The order of the words and the products outside the recurrence are those of `teacher_forcing.py`. The states before the first word, (B * K), and
after each word are rows of one table, so that a word finds the state before it by its row, whichever captions have ended.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stap.models.cpu_kernels import AttentionSteps, Steps, arrays, attend, attend_backward, lstm, lstm_backward

__all__ = ["read_captions"]


def read_captions(*given: Any) -> tuple[Tensor, Tensor]:
    """`teacher_forcing.read_captions` of tensors on the processor in float32 or float64.   given: its arguments, one by one."""
    read: tuple[Tensor, Tensor] = _ReadCaptions.apply(*given)
    return read


def _rows_before(sizes: list[tuple[int, int]], videos: int, captions: int) -> Tensor:
    """(S,) int64: the row of the state before each word.   videos, captions: B and K."""
    rows, first, width, start = [], 0, captions, videos * captions
    for b, k in sizes:
        rows.append((first + width * torch.arange(b).unsqueeze(1) + torch.arange(k)).flatten())
        first, start, width = start, start + b * k, k
    return torch.cat(rows)


class _ReadCaptions(torch.autograd.Function):
    """`teacher_forcing.read_captions`. The weights are those of `DecoderWeights`, in its order."""

    @staticmethod
    def forward(
        ctx: Any, sizes: list[tuple[int, int]], word_gates: Tensor, h: Tensor, c: Tensor, *given: Tensor
    ) -> tuple[Tensor, Tensor]:
        states, keys, is_padding, of_context, recurrent, query, score = (one.contiguous() for one in given)
        B, K, H = h.shape
        S, T = len(word_gates), states.shape[1]
        all_h, all_c = (torch.cat([start.flatten(0, 1), start.new_empty(S, H)]) for start in (h, c))
        before, of_h = _rows_before(sizes, B, K), torch.cat([recurrent, query])
        gates, from_h = torch.empty_like(word_gates), word_gates.new_empty(S, len(of_h))
        before_h, contexts, attention = all_h.new_empty(S, H), all_h.new_empty(S, H), all_h.new_empty(S, T)
        attended = AttentionSteps(*arrays(from_h, keys, is_padding, score, states, attention, contexts))
        steps = Steps(*arrays(gates, from_h, all_h, all_c, before))
        counts, first = [b * k for b, k in sizes], 0
        blocks = (torch.split(one, counts) for one in (before, before_h, from_h, contexts, word_gates, gates))
        for (_, k), rows, h_rows, from_h_rows, context_rows, word_rows, gate_rows in zip(sizes, *blocks, strict=True):
            torch.index_select(all_h, 0, rows, out=h_rows)
            torch.mm(h_rows, of_h.T, out=from_h_rows)
            attend(first, first + len(rows), k, attended)
            torch.addmm(word_rows, context_rows, of_context.T, out=gate_rows)
            lstm(first, first + len(rows), steps)
            first += len(rows)
        ctx.sizes, ctx.start_shape = sizes, h.shape
        of_attention = keys, is_padding, score, states, attention, contexts
        ctx.save_for_backward(from_h, *of_attention, gates, all_h, all_c, before, before_h, of_context, of_h)
        return all_h[B * K :], attention

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_h: Tensor, grad_attention: Tensor) -> tuple[Tensor | None, ...]:
        from_h, *of_attention, gates, all_h, all_c, before, before_h, of_context, of_h = ctx.saved_tensors
        keys, is_padding, score, states, _, contexts = of_attention
        attended, steps = AttentionSteps(*arrays(from_h, *of_attention)), Steps(*arrays(gates, from_h, all_h, all_c, before))
        B, K, H = ctx.start_shape
        of_from_h = torch.empty_like(from_h)  # gradients of the gates' pre-activations, and of the query
        of_gates = of_from_h[:, : 4 * H]
        of_states, of_keys, of_score = torch.zeros_like(states), torch.zeros_like(keys), torch.zeros_like(score)
        of_contexts, dc = torch.empty_like(contexts), grad_h.new_zeros(B * K + len(grad_h), H)
        dh = torch.cat([grad_h.new_zeros(B * K, H), grad_h])
        # The gradients of the gates are those of the pre-activations, in of_from_h.
        of_steps = Steps(*arrays(of_from_h, of_from_h, dh, dc, before))
        given = of_from_h, of_keys, is_padding, of_score, of_states, grad_attention.contiguous(), of_contexts
        of_attended = AttentionSteps(*arrays(*given))
        counts, last = [b * k for b, k in ctx.sizes], len(from_h)
        blocks = (reversed(torch.split(one, counts)) for one in (before, of_from_h, of_contexts))
        for (_, k), rows, from_h_rows, context_rows in zip(reversed(ctx.sizes), *blocks, strict=True):
            first = last - len(rows)
            lstm_backward(first, last, steps, of_steps)
            torch.mm(from_h_rows[:, : 4 * H], of_context, out=context_rows)
            attend_backward(first, last, k, attended, of_attended)
            dh.index_add_(0, rows, from_h_rows @ of_h)
            last = first
        of_recurrent = of_from_h.T @ before_h
        return (
            *(None, of_gates.contiguous(), dh[: B * K].view(B, K, H), dc[: B * K].view(B, K, H), of_states, of_keys, None),
            *(of_gates.T @ contexts, of_recurrent[: 4 * H], of_recurrent[4 * H :], of_score),
        )
