"""An output layer that begins with what each word's frequency says, so that training need not find it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["start_at_frequencies", "word_counts"]

UNSEEN = 0.5  # how often a word counts as seen that no training caption holds, like PAD and BOS


def word_counts(captions: Iterable[Iterable[int]], vocabulary_size: int) -> Tensor:
    """(V,) float64: how often each word is in these captions, which are word ids with EOS at the end."""
    words = torch.tensor([word for caption in captions for word in caption])
    return torch.bincount(words, minlength=vocabulary_size).double()


@torch.no_grad()
def start_at_frequencies(bias: Tensor, counts: Tensor) -> None:
    """Set each word's bias to the logarithm of its share of all words, so that a layer whose inputs tell nothing predicts frequencies.

    Karpathy (2019, A recipe for training neural networks: "init well"). A layer at 0 must first drift that far; STAT's saturates on the
    way and learns nothing more with Adam at 0.001.

    bias: (rows,), of the last words of the vocabulary.   counts: (V,).   A word never seen counts as seen half a time.
    """
    shares = counts.double().clamp_min(UNSEEN) / counts.sum()
    bias.copy_(shares.log()[-len(bias) :])
