"""The doubly stochastic penalty on positions that a caption attends to too little or too much."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from stap.recipes.settings import ModelSettings

__all__ = ["attention_penalty", "penalty_weight"]


def penalty_weight(settings: ModelSettings, captions: int) -> float:
    """The factor of the penalty of a batch of so many captions.

    STAT's released code sums the penalty over a batch while cross-entropy is averaged, so its weight has a meaning only with the size
    of its batch, `penalty_captions`.
    """
    return settings.attention_penalty * (settings.penalty_captions or captions)


def attention_penalty(sums: Mapping[str, Tensor], is_padding: Mapping[str, Tensor | None], videos: int) -> Tensor:
    """How far each position is from being attended once in a caption: (1 - sum over words)^2, the mean over positions, the sum
    over the attentions, the mean over captions (Xu et al. 2015, equation (14); STAT's released code sums over captions).

    sums: each attention's weights added up over the words, (B * K, ...).   is_padding: of the positions of each, (B, ...)
    bool, left out of the means; None: no padding.   videos: B.
    """
    return torch.stack([_missed(total, is_padding[name], videos) for name, total in sums.items()]).sum()


def _missed(total: Tensor, is_padding: Tensor | None, videos: int) -> Tensor:
    missed = ((1 - total) ** 2).view(videos, len(total) // videos, -1)  # (B, K, positions)
    if is_padding is None:
        return missed.mean()
    there = (~is_padding).flatten(1).unsqueeze(1)  # (B, 1, positions)
    return ((missed * there).sum(dim=2) / there.sum(dim=2).clamp_min(1)).mean()
