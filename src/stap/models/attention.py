"""Additive attention, for every model, and uniform attention for ablations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from stap.errors import ShapeError
from stap.models.implementation import trains_with_cpu_kernels
from stap.models.tanh import tanh_

__all__ = ["AdditiveAttention", "Attended", "AttentionLayer", "EvenAttention", "attention_weights", "rows_per_video"]


@dataclass(frozen=True)
class Attended:
    """The result of attention: the context (N, D) and the weights (N, T), which are 0 on padding and sum to 1."""

    context: Tensor
    weights: Tensor


class AttentionLayer(nn.Module, ABC):
    """Weigh positions by scores and sum them. Keys do not depend on the query: compute them once a video, then call for each word."""

    @abstractmethod
    def keys(self, values: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, A): what the queries are compared with."""

    @abstractmethod
    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """How well each position fits each of the K queries of its video: (N, Q), (B, K or 1, ..., A) -> (B, K, ...)."""

    def forward(self, query: Tensor, keys: Tensor, values: Tensor, is_padding: Tensor | None) -> Attended:
        """Attend once for N queries of B videos; query n is of video n // (N / B).

        query: (N, Q).   keys: (B, T, A).   values: (B, T, D).   is_padding: (B, T) bool, True on padding; None: no padding.

        Raises ShapeError if N is not a multiple of B. A video of padding only has weights and a context of 0.
        """
        rows = rows_per_video(len(query), len(values))
        weights = attention_weights(
            self.scores(query, keys.unsqueeze(1)), None if is_padding is None else is_padding.unsqueeze(1)
        )  # (B, K, T)
        context = torch.bmm(weights, values.to(weights.dtype))  # (B, K, D)
        return Attended(context.view(len(values) * rows, -1), weights.view(len(values) * rows, -1))


class EvenAttention(AttentionLayer):
    """The same weight for every position, whatever the query: an average instead of attention (ablations). It has no parameters."""

    def keys(self, values: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, 0): no keys."""
        return values.new_empty(*values.shape[:-1], 0)

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """Zeros: (N, Q), (B, K or 1, ..., 0) -> (B, K, ...)."""
        return query.new_zeros(len(keys), len(query) // len(keys), *keys.shape[2:-1])


class AdditiveAttention(AttentionLayer):
    """Weigh positions by their relevance to a query and sum them: score = w . tanh(x W_x + q W_q + b).

    Bahdanau et al. 2015, section 3.1 and appendix A.1.2; L-STAP paper, equations (15)-(17).
    The keys are x W_x + b.

    score_bias: add a learned constant to all scores. The weights do not depend on it; STAT's released code has it.
    """

    def __init__(self, value_size: int, query_size: int, attention_size: int, *, score_bias: bool = False) -> None:
        super().__init__()
        self.key = nn.Linear(value_size, attention_size)
        self.query = nn.Linear(query_size, attention_size, bias=False)
        self.score = nn.Linear(attention_size, 1, bias=score_bias)

    def keys(self, values: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, A): what the queries are compared with."""
        projected: Tensor = self.key(values)
        return projected

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """How well each position fits each of the K queries of its video: (N, Q), (B, K or 1, ..., A) -> (B, K, ...)."""
        compared, weight = self.query(query).view(len(keys), -1, self.score.in_features), self.score.weight[0]  # (B, K, A)
        if keys.shape[1] not in (1, compared.shape[1]) or keys.shape[-1] != compared.shape[2]:
            raise ShapeError(f"keys {tuple(keys.shape)}: expected (B, {compared.shape[1]} or 1, ..., {compared.shape[2]}).")
        if trains_with_cpu_kernels(keys) and keys.dtype == compared.dtype == weight.dtype:
            from stap.models.attention_scores_cpu import attention_scores  # imports numba

            fits = attention_scores(keys, compared, weight)
        else:
            fits = _Scores.apply(keys, compared.view(*compared.shape[:2], *[1] * (keys.dim() - 3), -1), weight)
        return fits if self.score.bias is None else fits + self.score.bias


class _Scores(torch.autograd.Function):
    """w . tanh(keys + query): (B, K or 1, ..., A), (B, K, 1..., A), (A,) -> (B, K, ...).

    The same command under automatic differentiation passes over all positions more often, forward and back. STAT does this for every
    place at every word, which is most of a step that is not a matrix product.
    """

    @staticmethod
    def forward(ctx: Any, keys: Tensor, query: Tensor, weight: Tensor) -> Tensor:
        bent = tanh_(torch.add(keys, query))
        ctx.save_for_backward(bent, weight)
        ctx.are_shared = keys.shape[1] < query.shape[1]
        return bent @ weight.to(bent.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        bent, weight = ctx.saved_tensors
        gradient = gradient.to(bent.dtype)
        of_weight = gradient.reshape(-1) @ bent.reshape(-1, bent.shape[-1])
        slopes: Tensor = torch.ops.aten.tanh_backward(gradient.unsqueeze(-1).expand_as(bent), bent)
        of_query = slopes.flatten(2, -2).sum(dim=2) * weight
        of_keys = slopes.sum(dim=1, keepdim=True) if ctx.are_shared else slopes
        return of_keys.mul_(weight), of_query.view(*of_query.shape[:2], *[1] * (bent.dim() - 3), -1), of_weight.to(weight.dtype)


def attention_weights(scores: Tensor, is_padding: Tensor | None) -> Tensor:
    """The softmax of the last axis over what is not padding; rows of padding only are 0.   is_padding: broadcast to the scores."""
    if is_padding is None:
        return torch.softmax(scores, dim=-1)
    # The lowest number instead of -inf, whose softmax would be no number in a row of padding only.
    weights = torch.softmax(scores.masked_fill(is_padding, torch.finfo(scores.dtype).min), dim=-1)
    return weights.masked_fill(is_padding, 0)


def rows_per_video(rows: int, videos: int) -> int:
    """K of N = B * K rows. Raises ShapeError if the rows are not as many for each video."""
    if rows % videos:
        raise ShapeError(f"{rows} queries for {videos} videos: expected the same number for each video.")
    return rows // videos
