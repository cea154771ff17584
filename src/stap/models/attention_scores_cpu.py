"""The scores of additive attention in training on a processor: one compiled pass each way, which stores nothing of a position but its score."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stap.models.cpu_kernels import arrays, scores, scores_backward

__all__ = ["attention_scores"]


def attention_scores(keys: Tensor, queries: Tensor, score: Tensor) -> Tensor:
    """w . tanh(keys + queries): (B, K or 1, ..., A), (B, K, A), (A,) -> (B, K, ...), in float32 or float64."""
    places = keys.shape[2:-1]
    fits: Tensor = _Scores.apply(keys.reshape(*keys.shape[:2], math.prod(places), keys.shape[-1]), queries, score)
    return fits.view(*fits.shape[:2], *places)


class _Scores(torch.autograd.Function):
    """`attention_scores` of keys (B, K or 1, P, A)."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        keys, queries, _ = given = tuple(one.contiguous() for one in given)
        fits = queries.new_empty(*queries.shape[:2], keys.shape[2])
        scores(*arrays(*given, fits))
        ctx.save_for_backward(*given)
        return fits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_fits: Tensor) -> tuple[Tensor, ...]:
        given = ctx.saved_tensors
        gradients = tuple(torch.zeros_like(one) for one in given)
        keys, queries, score = arrays(*given)
        scores_backward((keys, queries, score), *arrays(of_fits.contiguous(), *gradients))
        return gradients
