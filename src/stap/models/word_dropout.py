"""Words that the decoder does not see in training, so that it looks at the video instead of at what is usually said."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["WordDropout"]


class WordDropout(nn.Module):
    """In training each word that the decoder reads is a zero vector with this probability (Bowman et al. 2016, section 3.1).

    Otherwise the words that it has said tell it much of the next one: a colour and an event, which shapes had them in training.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, embedded: Tensor) -> Tensor:
        """(N, L, E) -> (N, L, E). What is kept is not scaled."""
        if not self.training or not self.probability:
            return embedded
        is_hidden = torch.rand(embedded.shape[:2], device=embedded.device) < self.probability
        return embedded.masked_fill(is_hidden[..., None], 0)
