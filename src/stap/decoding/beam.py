"""Beam search over whole batches of videos, with STAT's shrinking rule as a choice; `best_captions` decodes as a recipe says.

Four roles: `step` asks the model for the next word's log-probabilities, `forbid` rules words out, `choose` picks the best
continuations, and `rank` orders captions. Ties: of equally probable continuations the one of the lower row comes first, then
the one with the lower word id.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stap.decoding.greedy import greedy
from stap.decoding.steps import IMPOSSIBLE, Hypothesis, NextWord, Rows, check_numbers, check_positive, forbid, hypotheses, step
from stap.models.caption_model import CaptionModel, Memory
from stap.recipes.settings import DecodingSettings
from stap.text.special_ids import EOS

__all__ = ["beam_search", "best_captions", "choose", "rank"]


def best_captions(model: CaptionModel, memory: Memory, settings: DecodingSettings) -> list[Hypothesis]:
    """The best caption of each video as a recipe says; a beam width of 1 is greedy. The model should be in eval mode."""
    limits: dict[str, Any] = {name: getattr(settings, name) for name in ("max_words", "no_repeat_ngram", "forbid_unknown")}
    if settings.beam_width == 1:
        return greedy(model, memory, **limits)
    found = beam_search(
        model,
        memory,
        width=settings.beam_width,
        length_normalisation=settings.length_normalisation,
        shrinking=settings.shrinking_beam,
        **limits,
    )
    return [best for best, *_ in found]


@torch.inference_mode()
def beam_search(
    model: CaptionModel,
    memory: Memory,
    *,
    width: int = 5,
    max_words: int = 30,
    length_normalisation: float = 0.0,
    no_repeat_ngram: int = 0,
    forbid_unknown: bool = False,
    shrinking: bool = False,
) -> list[list[Hypothesis]]:
    """The best `width` captions found for each video, best first. The model should be in eval mode (dropout off).

    A continuation by EOS counts if it is among the `width` best continuations of its video, so that width 1 is greedy;
    `width` unfinished hypotheses go on next to those that ended. A video is done when no unfinished hypothesis can still
    enter its list: scores only fall, so this loses nothing. A hypothesis of `max_words` words without EOS is kept,
    unfinished, and ranks after all finished ones; fewer than `width` come back where there are no more captions.

    length_normalisation: rank by score / length ** this, where length counts the EOS; 0 is off. `score` is never divided.
    no_repeat_ngram: no sequence of this many words comes twice; 0 is off.   forbid_unknown: no <unk>.
    shrinking: the rule of STAT's released code (and of Yao et al. 2015 before it). Each finished caption takes a place of the beam for
    good; a video is done when all `width` are taken, although what was pruned could have been better; and a caption that
    `max_words` cuts off is ranked among the finished ones, by its score alone. So it favours short captions even more.
    """
    check_positive(max_words=max_words)
    rows = Rows.start(model, memory, width)
    finished: list[list[Hypothesis]] = [[] for _ in range(memory.size)]

    def keep(ended: Rows, videos: Tensor) -> None:
        for video, found in zip(videos.tolist(), hypotheses(ended, videos, memory.positions), strict=True):
            ranked = rank([*finished[video], found], length_normalisation, unfinished_last=not shrinking)
            finished[video] = ranked[:width]

    for _ in range(max_words):
        following = step(model, memory, rows)
        forbid(following.log_probabilities, rows.words, no_repeat_ngram, unknown=forbid_unknown)
        free = [width - len(found) if shrinking else 2 * width for found in finished]
        rows, ended, videos = choose(rows, following, width, torch.tensor(free, device=rows.scores.device))
        keep(ended, videos)
        if not shrinking:
            rows = _without_hopeless(rows, finished, max_words, length_normalisation)
        if not bool((rows.scores > IMPOSSIBLE).any()):
            break
    going_on = (rows.scores > IMPOSSIBLE).nonzero()[:, 0]
    keep(rows.select(going_on), going_on // width)
    return finished


def choose(rows: Rows, following: NextWord, width: int, free: Tensor) -> tuple[Rows, Rows, Tensor]:
    """The best continuations of each video: `width` that go on; and those that end, with the number of their video (M,).

    free: (B,), how many of a video's best continuations may be taken, at most 2 * width: each row can end once, so among these
    at least `width` go on. An end counts if it is also among the `width` best. Rows that are left over have the score -inf.
    """
    totals = rows.scores[:, None] + following.log_probabilities  # (N, V)
    vocabulary_size = totals.shape[1]
    totals = totals.view(len(free), width * vocabulary_size)
    best = _highest(totals, 2 * width)  # (B, 2K)
    ranks = torch.arange(2 * width, device=best.device)
    scores = totals.gather(1, best).masked_fill(ranks >= free[:, None], IMPOSSIBLE)
    is_end = best % vocabulary_size == EOS
    sources = best // vocabulary_size + width * torch.arange(len(best), device=best.device)[:, None]

    def extended(places: Tensor) -> Rows:  # places: (M, 2), video and column
        chosen = tuple(places.unbind(dim=1))
        return rows.extended(following, sources[chosen], best[chosen] % vocabulary_size, scores[chosen])

    first_going_on = is_end.byte().sort(dim=1, stable=True).indices[:, :width]
    going_on = torch.zeros_like(is_end).scatter_(1, first_going_on, True).nonzero()
    ends = (is_end & (scores > IMPOSSIBLE))[:, :width].nonzero()
    return extended(going_on), extended(ends), ends[:, 0]


def rank(found: list[Hypothesis], length_normalisation: float = 0.0, *, unfinished_last: bool = True) -> list[Hypothesis]:
    """Captions by score (normalised), best first; equal ones stay in their order.   unfinished_last: whatever their scores."""
    return sorted(found, key=lambda one: (unfinished_last and not one.is_finished, -_value(one, length_normalisation)))


def _value(hypothesis: Hypothesis, length_normalisation: float) -> float:
    length = len(hypothesis.words) + hypothesis.is_finished
    return hypothesis.score / math.pow(length, length_normalisation)


def _without_hopeless(rows: Rows, finished: list[list[Hypothesis]], max_words: int, length_normalisation: float) -> Rows:
    """Rows that cannot enter the list of their video any more get the score -inf.

    The best value that a continuation can reach has no further loss, and the largest length to divide by.
    """
    width = len(rows.scores) // len(finished)
    least = [
        _value(found[-1], length_normalisation) if len(found) == width and found[-1].is_finished else IMPOSSIBLE
        for found in finished
    ]
    reachable = rows.scores / math.pow(max_words, length_normalisation)
    hopeless = reachable <= rows.scores.new_tensor(least).repeat_interleave(width)
    return replace(rows, scores=rows.scores.masked_fill(hopeless, IMPOSSIBLE))


def _highest(values: Tensor, count: int) -> Tensor:
    """Columns of the `count` highest values of each row, highest first; of equal values the lower column first.

    torch.topk leaves open which of equal values it takes, and in what order.
    """
    highest, columns = values.topk(count + 1, dim=1)
    check_numbers(highest)
    if bool((highest[:, -1] == highest[:, count - 1]).any()):  # torch.topk may have left out a lower column
        columns = _lowest_columns(values, highest[:, count - 1 : count], count)
    columns = columns[:, :count].sort(dim=1).values
    order = values.gather(1, columns).sort(dim=1, descending=True, stable=True).indices
    return columns.gather(1, order)


def _lowest_columns(values: Tensor, least: Tensor, count: int) -> Tensor:
    """Columns of all values above `least` (N, 1), and of the first ones equal to it, `count` a row."""
    above = values > least
    tied = values == least
    tied &= tied.cumsum(dim=1) <= count - above.sum(dim=1, keepdim=True)
    return (above | tied).nonzero()[:, 1].view(-1, count)
