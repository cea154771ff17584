"""Captions drawn word by word from the model's probabilities, the same for the same seed whatever shares the batch.

A word is drawn by the Gumbel-max trick (Maddison et al. 2014, section 2): the argmax of log-probabilities plus Gumbel noise. Each row has a
generator of its own, so its noise depends on neither the batch nor the other rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stap.decoding.steps import Hypothesis, Rows, check_numbers, check_positive, forbid, hypotheses, positions_by_video, step
from stap.models.caption_model import CaptionModel, Memory
from stap.text.special_ids import EOS, PAD

__all__ = ["Draws", "Noise", "draw"]


@dataclass(frozen=True)
class Draws:
    """Captions drawn at random instead of searched for.

    count: of each video.   temperature: the log-probabilities are divided by it; below 1 keeps to probable words, above 1 varies more.
    Raises ValueError for a count below 1 or a temperature that is not above 0.
    """

    count: int = 1
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(count=self.count)
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}, expected more than 0.")

    def noise(self, names: Iterable[str]) -> Noise:
        """The noise of `count` rows for each name."""
        keys = (f"{self.seed}:{number}:{name}" for name in names for number in range(self.count))
        return Noise([int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()[:8]) >> 1 for key in keys])


class Noise:
    """Gumbel noise for rows of words; each call continues."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, like: Tensor) -> Tensor:
        """(N, V) noise, in the type and on the device of `like`."""
        drawn = torch.empty(len(self._generators), like.shape[1])
        for row, generator in zip(drawn, self._generators, strict=True):
            row.exponential_(generator=generator)
        return drawn.log_().neg_().to(like)


@torch.inference_mode()
def draw(
    model: CaptionModel,
    memory: Memory,
    draws: Draws,
    names: Sequence[str],
    *,
    max_words: int = 30,
    no_repeat_ngram: int = 0,
    forbid_unknown: bool = False,
) -> list[list[Hypothesis]]:
    """`draws.count` captions of each video, in the order of drawing. The model should be in eval mode (dropout off).

    names: of the videos; the same name and seed give the same caption.   score: by the model's own probabilities, not divided by the
    temperature.   The rest as in `greedy`.
    """
    check_positive(max_words=max_words)
    noise = draws.noise(names)
    rows = Rows.start(model, memory)
    rows = rows.select(torch.arange(memory.size, device=rows.words.device).repeat_interleave(draws.count))
    every = torch.arange(len(rows.scores), device=rows.words.device)
    is_finished = torch.zeros_like(every, dtype=torch.bool)
    for _ in range(max_words):
        following = step(model, memory, rows)
        forbid(following.log_probabilities, rows.words, no_repeat_ngram, unknown=forbid_unknown)
        check_numbers(following.log_probabilities)
        words = (following.log_probabilities / draws.temperature + noise(following.log_probabilities)).argmax(dim=1)
        gained = following.log_probabilities.gather(1, words[:, None])[:, 0]
        scores = rows.scores + gained.masked_fill(is_finished, 0)
        rows = rows.extended(following, every, words.masked_fill(is_finished, PAD), scores)
        is_finished |= words == EOS
        if is_finished.all():
            break
    positions = [one for one in positions_by_video(memory.positions) for _ in range(draws.count)]
    found = hypotheses(rows, positions)
    return [found[first : first + draws.count] for first in range(0, len(found), draws.count)]
