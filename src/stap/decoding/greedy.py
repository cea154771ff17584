"""Greedy decoding: the most probable word at each step."""

from __future__ import annotations

import torch

from stap.decoding.steps import Hypothesis, Rows, check_numbers, check_positive, forbid, hypotheses, positions_by_video, step
from stap.models.caption_model import CaptionModel, Memory
from stap.text.special_ids import EOS, PAD

__all__ = ["greedy"]


@torch.inference_mode()
def greedy(
    model: CaptionModel, memory: Memory, *, max_words: int = 30, no_repeat_ngram: int = 0, forbid_unknown: bool = False
) -> list[Hypothesis]:
    """One caption per video. Of equally probable words the one with the lowest id. The model should be in eval mode (dropout off).

    no_repeat_ngram: no sequence of this many words comes twice; 0 is off.   forbid_unknown: no <unk>.
    """
    check_positive(max_words=max_words)
    rows = Rows.start(model, memory)
    videos = torch.arange(memory.size, device=rows.words.device)
    is_finished = torch.zeros_like(videos, dtype=torch.bool)
    for _ in range(max_words):
        following = step(model, memory, rows)
        forbid(following.log_probabilities, rows.words, no_repeat_ngram, unknown=forbid_unknown)
        gained, words = following.log_probabilities.max(dim=1)  # of equal ones the first
        check_numbers(gained)
        scores = rows.scores + gained.masked_fill(is_finished, 0)
        rows = rows.extended(following, videos, words.masked_fill(is_finished, PAD), scores)
        is_finished |= words == EOS
        if is_finished.all():
            break
    return hypotheses(rows, positions_by_video(memory.positions))
