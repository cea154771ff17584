"""Word dropout: in training some words are hidden from the decoder, so that it relies on the video."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["WordDropout"]


class WordDropout(nn.Module):
    """In training each word that the decoder reads is replaced by a zero vector with this probability; the others are not scaled.

    Bowman et al. 2016, section 3.1, put UNK in its place. UNK has an embedding that rare words train; the zero vector stands for a hidden
    word alone.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, embedded: Tensor) -> Tensor:
        """(N, L, E) -> (N, L, E)."""
        if not self.training or not self.probability:
            return embedded
        is_hidden = torch.rand(embedded.shape[:2], device=embedded.device) < self.probability
        return embedded.masked_fill(is_hidden[..., None], 0)
