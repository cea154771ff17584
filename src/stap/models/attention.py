"""Additive attention, once, for everybody."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stap.errors import ShapeError

__all__ = ["AdditiveAttention", "Attended"]


@dataclass(frozen=True)
class Attended:
    """What attention returns: the context (N, D) and the weights (N, T), which are 0 on padding and sum to 1."""

    context: Tensor
    weights: Tensor


class AdditiveAttention(nn.Module):
    """Weigh positions by their relevance to a query and sum them: score = w . tanh(x W_x + q W_q + b).

    Bahdanau et al. 2015, section 3.1 and appendix A.1.2; L-STAP paper, equations (15)-(17).
    The keys x W_x + b do not depend on the query: project them once a video with `keys`, then call for each word.
    """

    def __init__(self, value_size: int, query_size: int, attention_size: int) -> None:
        super().__init__()
        self.key = nn.Linear(value_size, attention_size)
        self.query = nn.Linear(query_size, attention_size, bias=False)
        self.score = nn.Linear(attention_size, 1, bias=False)

    def keys(self, values: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, A): what the queries are compared with."""
        projected: Tensor = self.key(values)
        return projected

    def forward(self, query: Tensor, keys: Tensor, values: Tensor, is_padding: Tensor) -> Attended:
        """One look of N queries at B videos; query n looks at video n // (N / B).

        query: (N, Q).   keys: (B, T, A).   values: (B, T, D).   is_padding: (B, T) bool, True where there is no position.

        Raises ShapeError if N is not a multiple of B. A video of padding only gives NaN; `VideoBatch` refuses it.
        """
        videos, rows = len(values), len(query)
        if rows % videos:
            raise ShapeError(f"{rows} queries for {videos} videos: expected the same number for each video.")
        per_video = self.query(query).view(videos, rows // videos, 1, -1)  # (B, K, 1, A)
        scores = self.score(torch.tanh(keys.unsqueeze(1) + per_video)).squeeze(-1)  # (B, K, T)
        weights = torch.softmax(scores.masked_fill(is_padding.unsqueeze(1), float("-inf")), dim=-1)
        context = torch.bmm(weights, values.to(weights.dtype))  # (B, K, D)
        return Attended(context.view(rows, -1), weights.view(rows, -1))
