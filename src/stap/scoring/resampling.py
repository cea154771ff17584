"""Confidence intervals of scores and comparisons of two systems, by resampling the videos.

Intervals are the percentile bootstrap over videos (Efron & Tibshirani 1993, chapter 13; for BLEU, Koehn 2004): a test set of the
same size is drawn with replacement many times, and the middle 95 % of its scores is the interval. Two systems are compared on
the same videos: the interval of their difference is the paired bootstrap, and the p-value comes from approximate randomisation
(Noreen 1989, chapter 2; recommended for scores of text by Riezler & Maxwell 2005): for every video a coin decides whether the
two systems exchange their captions, and p is how often a difference at least as large comes of that, (count + 1) / (draws + 1).

Means over videos are means of what is drawn. BLEU and METEOR add up the counts of the videos drawn and score the sums. CIDEr
keeps the document frequencies of all videos in every draw: they belong to the references, which are not what is uncertain.

An interval says how much the choice of test videos matters. It says nothing about another training run of the same system, nor
about other people's references.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from stap.errors import ScoringError
from stap.scoring.metrics import Scores
from stap.scoring.sums import Floats, Sums

__all__ = ["DRAWS", "EQUAL", "Comparison", "Interval", "compare", "intervals"]

DRAWS = 2_000
EQUAL = 5e-4
"""Captions of a video whose scores differ by less than this, half of what papers print last, count as equally good."""

_AT_ONCE = 250  # draws computed together: a few MB for the largest test sets


@dataclass(frozen=True)
class Interval:
    """A score, or a difference of scores, with its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """One metric of two systems on the same videos, as first minus second."""

    difference: Interval
    p_value: float  # of a difference as large, up or down, if the systems were equally good
    better: int  # videos on which the first has the higher score
    equal: int
    worse: int


def intervals(scores: Scores, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0) -> dict[str, Interval]:
    """The interval of each score. The same seed gives the same numbers.

    Raises ScoringError for fewer than two videos, ValueError for a level outside (0, 1) or draws below 1.
    """
    _check(len(scores.per_video), level, draws)
    drawn = _drawn(_all_sums(scores), _multiplicities(len(scores.per_video), draws, seed))
    return {name: _interval(scores.corpus[name], values, level) for name, values in drawn.items()}


def compare(first: Scores, second: Scores, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0) -> dict[str, Comparison]:
    """Compare two systems that were scored on the same videos with the same metrics, by one scorer.

    With several metrics and several comparisons some small p-values come by chance; nothing is corrected for that.
    Raises ScoringError for other videos or metrics or fewer than two videos, ValueError as `intervals` does.
    """
    if list(first.per_video) != list(second.per_video) or first.corpus.keys() != second.corpus.keys():
        raise ScoringError(
            "two systems can be compared only where both were scored on the same videos with the same metrics. "
            "Score both with one Scorer."
        )
    number = len(first.per_video)
    _check(number, level, draws)
    drawn = [_drawn(_all_sums(scores), _multiplicities(number, draws, seed)) for scores in (first, second)]
    return {
        name: _comparison(name, first, second, drawn[0][name] - drawn[1][name], level, _coins(number, draws, seed))
        for name in drawn[0]
    }


def _comparison(
    name: str, first: Scores, second: Scores, differences: Floats, level: float, coins: Iterator[Floats]
) -> Comparison:
    value = first.corpus[name] - second.corpus[name]
    a, b = first.sums[name], second.sums[name]
    exchanged = np.concatenate([_exchanged(a, b, coin) for coin in coins])
    at_least = int((np.abs(exchanged) >= abs(value) - 1e-12).sum())
    each = np.array([first.per_video[video][name] - second.per_video[video][name] for video in first.per_video])
    return Comparison(
        _interval(value, differences, level),
        (at_least + 1) / (len(exchanged) + 1),
        better=int((each >= EQUAL).sum()),
        equal=int((np.abs(each) < EQUAL).sum()),
        worse=int((each <= -EQUAL).sum()),
    )


def _exchanged(a: Sums, b: Sums, coins: Floats) -> Floats:
    """Differences of the two corpus scores after the videos whose coin is 1 have changed sides."""
    moved = coins @ (b.counts - a.counts)  # (draws, S)
    return a.score_of(a.counts.sum(axis=0) + moved) - b.score_of(b.counts.sum(axis=0) - moved)


def _drawn(sums: Mapping[str, Sums], multiplicities: Iterator[Floats]) -> dict[str, Floats]:
    """Each score of every draw; all scores see the same draws."""
    parts = [{name: one.score_of(times @ one.counts) for name, one in sums.items()} for times in multiplicities]
    return {name: np.concatenate([part[name] for part in parts]) for name in sums}


def _multiplicities(videos: int, draws: int, seed: int) -> Iterator[Floats]:
    """How often each video is drawn: (some draws, videos) at a time."""
    return _in_parts(draws, seed, lambda random, count: random.multinomial(videos, [1 / videos] * videos, size=count))


def _coins(videos: int, draws: int, seed: int) -> Iterator[Floats]:
    """0 or 1 for each video: (some draws, videos) at a time."""
    return _in_parts(draws, seed + 1, lambda random, count: random.integers(0, 2, size=(count, videos)))


def _in_parts(draws: int, seed: int, draw: Callable[[np.random.Generator, int], np.ndarray]) -> Iterator[Floats]:
    random = np.random.default_rng(seed)
    for start in range(0, draws, _AT_ONCE):
        yield draw(random, min(_AT_ONCE, draws - start)).astype(np.float64)


def _interval(value: float, drawn: Floats, level: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def _all_sums(scores: Scores) -> Mapping[str, Sums]:
    if scores.sums.keys() != scores.corpus.keys():
        raise ScoringError(
            "these scores do not hold what each video adds to them. Take them from Scorer.score, not from a file."
        )
    return scores.sums


def _check(videos: int, level: float, draws: int) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95; not {level!r}")
    if draws < 1:
        raise ValueError(f"draws must be 1 or more; not {draws!r}")
    if videos < 2:
        raise ScoringError(f"a confidence interval needs at least 2 videos to resample; got {videos}. Score more videos.")
