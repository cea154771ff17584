"""Sampling: captions drawn word by word from a model's own probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from stap.decoding.steps import check_positive
from stap.models.caption_model import CaptionModel, Memory, without_special_words
from stap.text.special_ids import BOS, EOS, PAD

__all__ = ["draw", "sample"]


@torch.no_grad()
def sample(model: CaptionModel, memory: Memory, count: int, *, max_words: int = 30) -> Tensor:
    """`count` captions of each video, drawn from torch's global generator: (B * count, L) word ids, PAD after EOS.

    A caption of `max_words` words ends without EOS. Every word but PAD and BOS may come, UNK too. The model should be in eval mode
    (dropout off): `CaptionModel.log_probabilities` of the captions are then those that they were drawn by.
    """
    check_positive(count=count, max_words=max_words)
    state = model.start(memory, count)
    words = torch.full((memory.size * count,), BOS, dtype=torch.int64, device=memory.start.h.device)
    is_finished = torch.zeros_like(words, dtype=torch.bool)
    columns: list[Tensor] = []
    while len(columns) < max_words and not is_finished.all():
        step = model.step(memory, state, words)
        drawn = draw(without_special_words(step.logits).softmax(dim=1))
        words, state = drawn.masked_fill(is_finished, PAD), step.state
        columns.append(words)
        is_finished |= words == EOS
    return torch.stack(columns, dim=1)


def draw(probabilities: Tensor) -> Tensor:
    """(N, V), each row summing to about 1 -> (N,): a column of each row, drawn by these probabilities; never one of probability 0.

    torch.multinomial draws a random number for each column; this needs one for each row.
    """
    cumulative = probabilities.cumsum(dim=1)
    place = torch.rand_like(cumulative[:, :1]) * cumulative[:, -1:]
    columns = torch.searchsorted(cumulative, place, right=True)[:, 0]
    # Rounding may lift the place to the last sum itself; the first column to reach that has a probability.
    last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())[:, 0]
    return columns.minimum(last)
