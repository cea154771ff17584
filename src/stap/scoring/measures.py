"""The four measures over tokenized captions: pycocoevalcap's own scorers, keeping what does not change between calls.

A measure is made from the references of all videos, in a fixed order, and then scores one caption a video as often as one
likes. The numbers are pycocoevalcap's to the last bit: what is kept are the n-grams of the references, their document
frequencies, and the part of a video that gets a caption it has had before.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from stap.errors import MissingDependencyError
from stap.scoring.meteor import MeteorProcess

__all__ = ["MEASURES", "Measure", "Table"]

Table = dict[str, tuple[float, list[float]]]
"""Name of a score -> its value for the corpus and for each video."""

Part = TypeVar("Part")


class Measure(Protocol):
    """What the scorer asks of a measure. One is made from the tokenized references of each video."""

    def score(self, captions: Sequence[str]) -> Table:
        """Scores of one tokenized caption a video, in the order of the references."""

    def close(self) -> None:
        """End what is kept running, if anything."""


class Kept(Generic[Part]):
    """What each video contributes, computed once for each caption that the video has had."""

    def __init__(self, compute: Callable[[list[int], list[str]], list[Part]]) -> None:
        """`compute` takes the numbers of some videos and a caption for each."""
        self._compute = compute
        self._parts: dict[tuple[int, str], Part] = {}

    def __call__(self, captions: Sequence[str]) -> list[Part]:
        """The parts of all videos, in order."""
        keys = list(enumerate(captions))
        new = [key for key in keys if key not in self._parts]
        if new:
            parts = self._compute([video for video, _ in new], [caption for _, caption in new])
            self._parts.update(zip(new, parts, strict=True))
        return [self._parts[key] for key in keys]


class Bleu:
    """BLEU-1 to BLEU-4 (Papineni et al. 2002) with the reference closest in length; of the corpus, not a mean over videos."""

    def __init__(self, references: Sequence[list[str]]) -> None:
        """Count the n-grams of the references."""
        self._scorer = _pycocoevalcap("bleu.bleu_scorer").BleuScorer(n=4)
        for group in references:
            self._scorer.cook_append(None, group)

    def score(self, captions: Sequence[str]) -> Table:
        """Four scores: BLEU-1, BLEU-2, BLEU-3, BLEU-4."""
        corpus, videos = self._scorer.retest(list(captions)).compute_score(option="closest", verbose=0)
        return {f"BLEU-{n}": (corpus[n - 1], videos[n - 1]) for n in (1, 2, 3, 4)}

    def close(self) -> None:
        """Nothing to end."""


class Meteor:
    """METEOR 1.5 (Denkowski & Lavie 2014). Its process starts here, loads meanwhile, and starts again after `close`."""

    def __init__(self, references: Sequence[list[str]]) -> None:
        """Start the process."""
        self._references = references
        self._process: MeteorProcess | None = MeteorProcess()
        self._kept = Kept(self._statistics)

    def score(self, captions: Sequence[str]) -> Table:
        """The corpus is scored from the summed statistics of its captions."""
        statistics = self._kept(captions)
        return {"METEOR": self._running().evaluate(statistics)}

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _statistics(self, videos: list[int], captions: list[str]) -> list[str]:
        process = self._running()
        return [process.statistics(caption, self._references[video]) for video, caption in zip(videos, captions, strict=True)]

    def _running(self) -> MeteorProcess:
        if self._process is None or not self._process.close.alive:
            self._process = MeteorProcess()
        return self._process


class Rouge:
    """ROUGE-L (Lin 2004) with beta 1.2, from the best precision and the best recall among the references."""

    def __init__(self, references: Sequence[list[str]]) -> None:
        """Keep the references."""
        self._scorer = _pycocoevalcap("rouge.rouge").Rouge()
        self._references = references
        self._kept = Kept(self._each)

    def score(self, captions: Sequence[str]) -> Table:
        """The corpus has the mean of its videos."""
        return {"ROUGE-L": _with_mean(self._kept(captions))}

    def close(self) -> None:
        """Nothing to end."""

    def _each(self, videos: list[int], captions: list[str]) -> list[float]:
        pairs = zip(videos, captions, strict=True)
        return [self._scorer.calc_score([caption], self._references[video]) for video, caption in pairs]


class Cider:
    """CIDEr (Vedantam et al. 2015) as the COCO scorer has it: clipped, with a length penalty, sigma 6, n-grams to 4."""

    def __init__(self, references: Sequence[list[str]]) -> None:
        """Count the n-grams of the references, and for each in how many videos it occurs."""
        module = _pycocoevalcap("cider.cider_scorer")
        self._ngrams = module.cook_test
        self._scorer = module.CiderScorer(n=4, sigma=6.0)
        for group in references:
            self._scorer.cook_append(None, group)
        self._scorer.compute_doc_freq()
        self._references = self._scorer.crefs
        self._kept = Kept(self._each)

    def score(self, captions: Sequence[str]) -> Table:
        """The corpus has the mean of its videos."""
        return {"CIDEr": _with_mean(self._kept(captions))}

    def close(self) -> None:
        """Nothing to end."""

    def _each(self, videos: list[int], captions: list[str]) -> list[float]:
        """Scores of some videos, with the document frequencies of all.

        The scorer pairs captions and groups of references from the front, and takes the number of groups for the number
        of documents: so the groups of these videos go to the front, and all others stay behind them.
        """
        wanted = set(videos)
        others = (group for video, group in enumerate(self._references) if video not in wanted)
        self._scorer.crefs = [*(self._references[video] for video in videos), *others]
        self._scorer.ctest = [self._ngrams(caption) for caption in captions]
        return [float(score) for score in self._scorer.compute_cider()]


MEASURES: dict[str, Callable[[Sequence[list[str]]], Measure]] = {
    "bleu": Bleu,
    "meteor": Meteor,
    "rouge": Rouge,
    "cider": Cider,
}


def _with_mean(scores: list[float]) -> tuple[float, list[float]]:
    return float(np.mean(scores)), scores


def _pycocoevalcap(module: str) -> Any:
    try:
        return importlib.import_module(f"pycocoevalcap.{module}")
    except ImportError as error:
        raise MissingDependencyError(
            "scoring needs the package pycocoevalcap, which is not installed. Install it with: pip install pycocoevalcap"
        ) from error
