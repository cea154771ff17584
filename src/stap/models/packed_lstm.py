"""An LSTM over sentences of different lengths, in training on a processor: no padding is computed, and elementwise work is compiled.

PyTorch's LSTM packs sentences too; its backward pass fills the gradient of all words with zeros once for each step.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear
from torch.nn.utils.rnn import pack_padded_sequence

from stap.models.cpu_kernels import Steps, arrays, lstm, lstm_backward

__all__ = ["last_states"]


def last_states(embedded: Tensor, words: Tensor, h: Tensor, c: Tensor, W: Tensor, b: Tensor, U: Tensor) -> Tensor:
    """(N, H): h after each sentence's last word.

    embedded: (N, L, E), float32 or float64 on the processor.   words: (N,), of each sentence, at least 1.   h, c: (N, H), before the first.
    W: (4H, E), b: (4H,), U: (4H, H), gates in the order input, forget, output, candidate.
    """
    packed = pack_padded_sequence(embedded, words, batch_first=True, enforce_sorted=False)
    counts: list[int] = packed.batch_sizes.tolist()
    from_words = linear(packed.data, W, b)
    ordered = packed.sorted_indices
    states: Tensor = _Recurrence.apply(counts, from_words, h[ordered], c[ordered], U)
    # Word l of the sentence at place n is in the row n of those of word l.
    starts = torch.tensor([0, *accumulate(counts)])
    rows = starts[words[ordered] - 1] + torch.arange(len(words))
    return states[rows[packed.unsorted_indices]]


class _Recurrence(torch.autograd.Function):
    """h after each of S words, (S, H), of which word l of the sentences that have one is a block of counts[l]."""

    @staticmethod
    def forward(ctx: Any, counts: list[int], from_words: Tensor, h: Tensor, c: Tensor, U: Tensor) -> Tensor:
        (N, H), S = h.shape, len(from_words)
        all_h, all_c = (torch.cat([start, start.new_empty(S, H)]) for start in (h, c))
        # The state before a sentence's word is as far before it as there were sentences that had the word before.
        before = torch.cat([first + torch.arange(n) for first, n in zip(accumulate([0, N, *counts]), counts, strict=False)])
        gates, from_h = from_words.clone(), torch.empty_like(from_words)
        steps = Steps(*arrays(gates, from_h, all_h, all_c, before))
        first, rows_before = 0, 0
        for n, from_h_rows in zip(counts, torch.split(from_h, counts), strict=True):
            torch.mm(all_h[rows_before : rows_before + n], U.T, out=from_h_rows)
            lstm(first, first + n, steps)
            rows_before, first = N + first, first + n
        ctx.counts = counts
        ctx.save_for_backward(before, gates, all_h, all_c, U)
        return all_h[N:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_h: Tensor) -> tuple[Tensor | None, ...]:
        before, gates, all_h, all_c, U = ctx.saved_tensors
        N, H, last = len(all_h) - len(gates), all_h.shape[1], len(gates)
        dh, dc = torch.cat([grad_h.new_zeros(N, H), grad_h]), torch.zeros_like(all_c)
        of_gates = torch.empty_like(gates)
        steps = Steps(*arrays(gates, gates, all_h, all_c, before))  # the gates in place of from_h, which is not read again
        gradients = Steps(*arrays(gates, of_gates, dh, dc, before))
        for n, gate_rows, rows in zip(
            reversed(ctx.counts),
            reversed(torch.split(of_gates, ctx.counts)),
            reversed(torch.split(before, ctx.counts)),
            strict=True,
        ):
            lstm_backward(last - n, last, steps, gradients)
            dh[rows[0] : rows[0] + n].addmm_(gate_rows, U)
            last -= n
        return None, of_gates, dh[:N], dc[:N], of_gates.T @ all_h[before]
