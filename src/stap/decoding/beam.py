"""Beam search over whole batches of videos, with STAT's shrinking rule as a choice; `best_captions` decodes as a recipe says.

Four roles: `step` asks the model for the next word's log-probabilities, `forbid` rules words out, `choose` picks the best
continuations, and `rank` orders captions. Ties: of equally probable continuations the one of the lower row comes first, then
the one with the lower word id.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.profiler import record_function

from stap.decoding.greedy import greedy
from stap.decoding.steps import (
    IMPOSSIBLE,
    Hypothesis,
    NextWord,
    Rows,
    check_numbers,
    check_positive,
    forbid,
    hypotheses,
    positions_by_video,
    step,
)
from stap.models.caption_model import CaptionModel, Memory
from stap.recipes.settings import DecodingSettings
from stap.text.special_ids import EOS

__all__ = ["beam_search", "best_captions", "choose", "rank", "ranked_captions"]


def best_captions(model: CaptionModel, memory: Memory, settings: DecodingSettings) -> list[Hypothesis]:
    """The best caption of each video as a recipe says; a beam width of 1 is greedy. The model should be in eval mode."""
    return [best for best, *_ in ranked_captions(model, memory, settings)]


@record_function("captions")
def ranked_captions(model: CaptionModel, memory: Memory, settings: DecodingSettings) -> list[list[Hypothesis]]:
    """The captions of each video that such a search ends with, the best first: as many as the beam is wide, or fewer."""
    limits: dict[str, Any] = {name: getattr(settings, name) for name in ("max_words", "no_repeat_ngram", "forbid_unknown")}
    if settings.beam_width == 1:
        return [[one] for one in greedy(model, memory, **limits)]
    return beam_search(
        model,
        memory,
        width=settings.beam_width,
        length_normalisation=settings.length_normalisation,
        shrinking=settings.shrinking_beam,
        **limits,
    )


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
    check_positive(width=width, max_words=max_words)
    beam = _Beam(Rows.start(model, memory), torch.arange(memory.size, device=memory.start.h.device), memory)
    of_video = positions_by_video(memory.positions)
    finished: list[list[Hypothesis]] = [[] for _ in of_video]

    def keep(ended: Rows, videos: Tensor) -> None:
        numbers = videos.tolist()
        for video, found in zip(numbers, hypotheses(ended, [of_video[number] for number in numbers]), strict=True):
            ranked = rank([*finished[video], found], length_normalisation, unfinished_last=not shrinking)
            finished[video] = ranked[:width]

    for _ in range(max_words):
        following = step(model, beam.memory, beam.rows)
        forbid(following.log_probabilities, beam.rows.words, no_repeat_ngram, unknown=forbid_unknown)
        lists = [finished[video] for video in beam.videos.tolist()]
        free = [width - len(found) if shrinking else 2 * width for found in lists]
        rows, ended, places = choose(beam.rows, following, width, torch.tensor(free, device=beam.videos.device))
        keep(ended, beam.videos[places])
        if not shrinking:
            lists = [finished[video] for video in beam.videos.tolist()]
            rows = _without_hopeless(rows, lists, width, max_words, length_normalisation)
        if not bool((rows.scores > IMPOSSIBLE).any()):
            return finished
        beam = beam.of_live_rows(rows)
    going_on = (beam.rows.scores > IMPOSSIBLE).nonzero()[:, 0]
    keep(beam.rows.select(going_on), beam.videos[going_on // beam.width])
    return finished


@dataclass(frozen=True)
class _Beam:
    """The videos that are still searched: their numbers (B,), their memory, and equally many rows of each, best first."""

    rows: Rows
    videos: Tensor
    memory: Memory

    @property
    def width(self) -> int:
        """Rows a video."""
        return len(self.rows.scores) // len(self.videos)

    def of_live_rows(self, rows: Rows) -> _Beam:
        """The beam of these rows, without the videos and columns in which all have the score -inf; at least one has another.

        Videos leave an eighth at a time, because what the others attend to is copied then.
        """
        is_live = (rows.scores > IMPOSSIBLE).view(len(self.videos), -1)
        columns, live = int(is_live.sum(dim=1).max()), is_live.any(dim=1).nonzero()[:, 0]
        leave = 8 * len(live) <= 7 * len(self.videos)
        numbers = torch.arange(is_live.numel(), device=live.device).view_as(is_live)
        places = (numbers[live] if leave else numbers)[:, :columns].flatten()
        if len(places) < len(rows.scores):
            rows = rows.select(places)
        return _Beam(rows, self.videos[live], self.memory.select(live)) if leave else replace(self, rows=rows)


def choose(rows: Rows, following: NextWord, width: int, free: Tensor) -> tuple[Rows, Rows, Tensor]:
    """The best continuations of each video: at most `width` that go on; and those that end, with the place of their video (M,).

    free: (B,), how many of a video's best continuations may be taken, at most 2 * width: each row can end once, so among these
    `width` go on. An end counts if it is also among the `width` best. Rows that are left over have the score -inf and come last.
    """
    gains = following.log_probabilities  # (N, V)
    words = _highest(gains, min(width + 1, gains.shape[1]))  # (N, C), enough of a row: its end and `width` others
    totals = (rows.scores[:, None] + gains.gather(1, words)).view(len(free), -1)  # (B, K * C)
    scores, best = (found[:, : 2 * width] for found in totals.sort(dim=1, descending=True, stable=True))
    scores = scores.masked_fill(torch.arange(best.shape[1], device=best.device) >= free[:, None], IMPOSSIBLE)
    first_rows = torch.arange(0, len(gains), len(gains) // len(free), device=best.device)
    sources = first_rows[:, None] + best // words.shape[1]
    words = words.view(len(free), -1).gather(1, best)
    is_end = words == EOS
    is_ended = is_end & (scores > IMPOSSIBLE)
    is_ended[:, width:] = False
    ended = rows.extended(following, sources[is_ended], words[is_ended], scores[is_ended])
    order = is_end.byte().sort(dim=1, stable=True).indices[:, :width]
    scores = scores.masked_fill(is_end, IMPOSSIBLE)
    going_on = rows.extended(following, *(found.gather(1, order).flatten() for found in (sources, words, scores)))
    return going_on, ended, is_ended.nonzero()[:, 0]


def rank(found: list[Hypothesis], length_normalisation: float = 0.0, *, unfinished_last: bool = True) -> list[Hypothesis]:
    """Captions by score (normalised), best first; equal ones stay in their order.   unfinished_last: whatever their scores."""
    return sorted(found, key=lambda one: (unfinished_last and not one.is_finished, -_value(one, length_normalisation)))


def _value(hypothesis: Hypothesis, length_normalisation: float) -> float:
    length = len(hypothesis.words) + hypothesis.is_finished
    return hypothesis.score / math.pow(length, length_normalisation)


def _without_hopeless(
    rows: Rows, finished: list[list[Hypothesis]], width: int, max_words: int, length_normalisation: float
) -> Rows:
    """Rows that cannot enter the list of their video any more get the score -inf.

    The best value that a continuation can reach has no further loss, and the largest length to divide by.
    """
    least = [
        _value(found[-1], length_normalisation) if len(found) == width and found[-1].is_finished else IMPOSSIBLE
        for found in finished
    ]
    reachable = (rows.scores / math.pow(max_words, length_normalisation)).view(len(finished), -1)
    hopeless = reachable <= rows.scores.new_tensor(least)[:, None]
    return replace(rows, scores=rows.scores.masked_fill(hopeless.flatten(), IMPOSSIBLE))


def _highest(values: Tensor, count: int) -> Tensor:
    """Columns of the `count` highest values of each row, in the order of their numbers; of equal values the lower column counts as higher.

    torch.topk leaves open which of equal values it takes.
    """
    highest, columns = values.topk(min(count + 1, values.shape[1]), dim=1)
    check_numbers(highest)
    if bool((highest[:, count:] == highest[:, count - 1 : count]).any()):  # torch.topk may have left out a lower column
        return _lowest_columns(values, highest[:, count - 1 : count], count)
    return columns[:, :count].sort(dim=1).values


def _lowest_columns(values: Tensor, least: Tensor, count: int) -> Tensor:
    """Columns of all values above `least` (N, 1), and of the first ones equal to it, `count` a row."""
    above = values > least
    tied = values == least
    tied &= tied.cumsum(dim=1) <= count - above.sum(dim=1, keepdim=True)
    return (above | tied).nonzero()[:, 1].view(-1, count)
