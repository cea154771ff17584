"""The attentive decoder over whole captions, with a backward pass written by hand.

`AttentiveDecoder.step` is the text of the equations, word by word. Here

- captions that have ended are not computed: rows are ordered so that at every word those that go on are a block, the first videos with
  their first captions;
- what does not depend on the recurrence is one product over all words: the words' share of the gates before it, and the gradients of all
  weights after it;
- tanh(x) is 2 sigmoid(2 x) - 1, which PyTorch computes faster on a processor.

In training on a processor `teacher_forcing_cpu.py` computes the same in fewer passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stap.models.attention import attention_weights
from stap.models.implementation import trains_with_cpu_kernels
from stap.models.tanh import tanh_

__all__ = ["Blocks", "DecoderWeights", "read_captions"]


class DecoderWeights(NamedTuple):
    """Of the recurrence; gates in the order input, forget, output, candidate.

    context: (4H, H).   recurrent: (4H, H).   query: (A, H) and score: (A,), of the attention, equation (15).
    """

    context: Tensor
    recurrent: Tensor
    query: Tensor
    score: Tensor


@dataclass(frozen=True)
class Blocks:
    """The order in which the words of B videos with K captions each are computed.

    lengths: (B, K) int64, the words of each caption, at least one caption with a word.

    Word l is computed for a block: the first b of the videos, with k of their captions each. A few captions in it may have ended.
    """

    lengths: Tensor

    @cached_property
    def videos(self) -> Tensor:
        """(B,), the video at each place: longest caption first."""
        return self.lengths.amax(dim=1).argsort(descending=True, stable=True)

    @cached_property
    def rows(self) -> Tensor:
        """(B, K), the row of the batch at each place: the captions of a video by length."""
        captions = self.lengths[self.videos].argsort(dim=1, descending=True, stable=True)
        return self.videos.unsqueeze(1) * self.lengths.shape[1] + captions

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """b and k of each word."""
        ordered = self.lengths.flatten()[self.rows]
        goes_on = ordered.unsqueeze(2) > torch.arange(int(ordered.max()), device=ordered.device)  # (B, K, L)
        videos, captions = goes_on.any(dim=1).sum(dim=0), goes_on.any(dim=0).sum(dim=0)
        return list(zip(videos.tolist(), captions.tolist(), strict=True))

    def places(self, longest: int) -> Tensor:
        """(S,), where in (B * K * longest) the words are, in the order in which they are computed."""
        return torch.cat([self.rows[:b, :k].flatten() * longest + word for word, (b, k) in enumerate(self.sizes)])


def read_captions(
    sizes: list[tuple[int, int]],
    word_gates: Tensor,
    start: tuple[Tensor, Tensor],
    memory: tuple[Tensor, Tensor, Tensor],
    weights: DecoderWeights,
) -> tuple[Tensor, Tensor]:
    """The state after each of S words, (S, H), and its attention, (S, T), in the order of `Blocks`, whose sizes are given.

    word_gates: (S, 4H), the words' share of the gates, with the bias.   start: h and c, (B, K, H) each.
    memory: the states (B, T, H), their keys (B, T, A) and padding (B, T) bool.
    """
    given = sizes, word_gates, *start, *memory, *weights
    if trains_with_cpu_kernels(word_gates):
        from stap.models import teacher_forcing_cpu  # imports numba

        return teacher_forcing_cpu.read_captions(*given)
    read: tuple[Tensor, Tensor] = _ReadCaptions.apply(*given)
    return read


def _blocks_of(sizes: list[tuple[int, int]]) -> list[tuple[int, int, slice]]:
    """b, k and the rows among all S words, of each word."""
    ends = accumulate(b * k for b, k in sizes)
    return [(b, k, slice(end - b * k, end)) for (b, k), end in zip(sizes, ends, strict=True)]


class _ReadCaptions(torch.autograd.Function):
    """`read_captions`. The weights are those of `DecoderWeights`, in its order."""

    @staticmethod
    def forward(
        ctx: Any, sizes: list[tuple[int, int]], word_gates: Tensor, h: Tensor, c: Tensor, *given: Tensor
    ) -> tuple[Tensor, Tensor]:
        states, keys, is_padding, of_context, recurrent, query, score = given
        (S, _), (_, T, H), start_shape = word_gates.shape, states.shape, h.shape
        before_h, before_c, contexts, after_h, after_c = word_gates.new_empty(5, S, H).unbind()
        gates, attention = torch.empty_like(word_gates), word_gates.new_empty(S, T)
        doubled_keys, of_h, bends = 2 * keys, torch.cat([recurrent, 2 * query]), []
        for b, k, rows in _blocks_of(sizes):
            before_h[rows], before_c[rows] = h[:b, :k].reshape(b * k, H), c[:b, :k].reshape(b * k, H)
            from_h = before_h[rows] @ of_h.T  # (b k, 4H + A)
            bend = torch.add(doubled_keys[:b].unsqueeze(1), from_h[:, 4 * H :].view(b, k, 1, -1)).sigmoid_()  # (b, k, T, A)
            # (15), (16): the softmax of w . tanh, with tanh = 2 bend - 1, is that of 2 w . bend.
            weighed = attention_weights(bend @ (2 * score), is_padding[:b].unsqueeze(1))
            torch.bmm(weighed, states[:b], out=contexts[rows].view(b, k, H))  # (17)
            torch.addmm(word_gates[rows], contexts[rows], of_context.T, out=gates[rows])
            gates[rows] += from_h[:, : 4 * H]
            gates[rows, : 3 * H].sigmoid_()  # (18)-(20)
            i, f, o, candidate = gates[rows].chunk(4, dim=1)
            tanh_(candidate)
            torch.addcmul(i * candidate, f, before_c[rows], out=after_c[rows])
            torch.mul(tanh_(after_c[rows].clone()), o, out=after_h[rows])
            h, c, attention[rows] = after_h[rows].view(b, k, H), after_c[rows].view(b, k, H), weighed.flatten(0, 1)
            bends.append(bend)
        ctx.sizes, ctx.bends, ctx.start_shape = sizes, bends, start_shape
        ctx.save_for_backward(*given, before_h, before_c, after_c, contexts, gates, attention)
        return after_h, attention

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_h: Tensor, grad_attention: Tensor) -> tuple[Tensor | None, ...]:
        states, keys, _, of_context, recurrent, query, score, before_h, before_c, after_c, contexts, gates, attention = (
            ctx.saved_tensors
        )
        H, of_h = states.shape[2], torch.cat([recurrent, query])
        of_inputs = gates.new_empty(len(gates), len(of_h))  # gradients of the gates' pre-activations, and of the query
        of_gates, of_query = of_inputs[:, : 4 * H], of_inputs[:, 4 * H :]
        of_states, of_keys, of_score = torch.zeros_like(states), torch.zeros_like(keys), torch.zeros_like(score)
        dh = dc = states.new_zeros(0, 0, H)
        for (b, k, rows), bend in zip(reversed(_blocks_of(ctx.sizes)), reversed(ctx.bends), strict=True):
            dh, dc = _padded(dh, b, k).add_(grad_h[rows].view(b, k, H)), _padded(dc, b, k)
            dc = _gradients_of_gates(
                of_gates[rows], gates[rows], before_c[rows], after_c[rows], dh.flatten(0, 1), dc.flatten(0, 1)
            )
            of_seen = (of_gates[rows] @ of_context).view(b, k, H)
            weighed = attention[rows].view(b, k, -1)
            of_states[:b].baddbmm_(weighed.transpose(1, 2), of_seen)
            of_weights = torch.baddbmm(grad_attention[rows].view(b, k, -1), of_seen, states[:b].transpose(1, 2))
            of_scores = weighed * (
                of_weights - (weighed * of_weights).sum(dim=2, keepdim=True)
            )  # (b, k, T), their sum over T is 0
            of_score += 2 * (of_scores.flatten() @ bend.flatten(0, 2))
            slopes = torch.ops.aten.sigmoid_backward(
                of_scores.unsqueeze(3), bend
            )  # a quarter of (1 - tanh^2) times the gradient
            of_keys[:b] += slopes.sum(dim=1)
            torch.mul(slopes.sum(dim=2).flatten(0, 1), 4 * score, out=of_query[rows])
            dh, dc = (of_inputs[rows] @ of_h).view(b, k, H), dc.view(b, k, H)
        of_recurrent = of_inputs.T @ before_h
        B, K, _ = ctx.start_shape
        return (
            *(None, of_gates, _padded(dh, B, K), _padded(dc, B, K), of_states, of_keys.mul_(4 * score), None),
            *(of_gates.T @ contexts, of_recurrent[: 4 * H], of_recurrent[4 * H :], of_score),
        )


def _gradients_of_gates(of_gates: Tensor, gates: Tensor, before_c: Tensor, after_c: Tensor, dh: Tensor, dc: Tensor) -> Tensor:
    """Write the gradients of the gates' pre-activations, (N, 4H); the gradient of c before the word, (N, H).   dh, dc: of h and c after it."""
    i, f, o, candidate = gates.chunk(4, dim=1)
    of_i, of_f, of_o, of_candidate = of_gates.chunk(4, dim=1)
    tanh_c = tanh_(after_c.clone())
    torch.mul(dh, tanh_c, out=of_o)
    dc = dc + torch.ops.aten.tanh_backward(dh * o, tanh_c)
    torch.mul(dc, candidate, out=of_i)
    torch.mul(dc, before_c, out=of_f)
    torch.mul(dc, i, out=of_candidate)
    H = dh.shape[1]
    torch.ops.aten.sigmoid_backward.grad_input(of_gates[:, : 3 * H], gates[:, : 3 * H], grad_input=of_gates[:, : 3 * H])
    torch.ops.aten.tanh_backward.grad_input(of_candidate, candidate, grad_input=of_candidate)
    return dc * f


def _padded(values: Tensor, b: int, k: int) -> Tensor:
    """(b', k', H) -> (b, k, H), with zeros for the captions that had ended."""
    padded = values.new_zeros(b, k, values.shape[2])
    padded[: values.shape[0], : values.shape[1]] = values
    return padded
