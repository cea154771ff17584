"""Length, variety and repetition of captions; scores of people; and the videos on which two systems differ most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stap.errors import ScoringError
from stap.scoring.metrics import Scorer, Scores

__all__ = ["BAD_ENDINGS", "Difference", "Variety", "human_captions", "largest_differences", "score_humans", "variety"]


DETERMINERS = "a an the this these some his their its my your"
PREPOSITIONS = "of in on at to for with by from into onto upon near before after between"
BAD_ENDINGS = frozenset(f"{DETERMINERS} {PREPOSITIONS} and or as while is are am was were".split())
"""English words that something should follow: a sentence that ends with one broke off, mostly ("a man tries a hat on" did not)."""


@dataclass(frozen=True)
class Variety:
    """Counts over a set of captions; words are the scorer's tokens, lowercase and without punctuation."""

    captions: int
    without_words: int
    mean_words: float
    shortest: int
    longest: int
    distinct_captions: int
    distinct_words: int
    distinct_1: float  # distinct words over all words (Li et al. 2016, section 5.2)
    distinct_2: float  # distinct pairs of neighbouring words over all pairs (there: over all words)
    most_frequent: tuple[tuple[str, int], ...]  # captions with how often they occur, the most frequent first
    novel: int | None  # captions that are not among the training captions
    vocabulary: int | None  # distinct words of the training captions
    vocabulary_used: int | None  # of these, how many occur
    bad_endings: int = 0  # captions whose last word is one of BAD_ENDINGS


def variety(captions: Iterable[str], training: Iterable[str] | None = None, *, most: int = 5) -> Variety:
    """Count in tokenized captions, as Scorer.words gives them, one per video.

    training: the captions of the training split, tokenized alike; without them nothing is known about novelty.
    most: how many of the most frequent captions to list.   Raises ScoringError if there is no caption.
    """
    sentences = [caption.split() for caption in captions]
    if not sentences:
        raise ScoringError("there is no caption to count in. Give at least one.")
    lengths = [len(words) for words in sentences]
    counts = Counter(" ".join(words) for words in sentences)
    words = [word for sentence in sentences for word in sentence]
    pairs = [pair for sentence in sentences for pair in pairwise(sentence)]
    known = None if training is None else {" ".join(caption.split()) for caption in training}
    vocabulary = None if known is None else {word for caption in known for word in caption.split()}
    return Variety(
        captions=len(sentences),
        without_words=lengths.count(0),
        mean_words=float(np.mean(lengths)),
        shortest=min(lengths),
        longest=max(lengths),
        distinct_captions=len(counts),
        distinct_words=len(set(words)),
        distinct_1=_share(len(set(words)), len(words)),
        distinct_2=_share(len(set(pairs)), len(pairs)),
        most_frequent=tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]),
        novel=None if known is None else sum(" ".join(sentence) not in known for sentence in sentences),
        vocabulary=None if vocabulary is None else len(vocabulary),
        vocabulary_used=None if vocabulary is None else len(vocabulary & set(words)),
        bad_endings=sum(bool(sentence) and sentence[-1] in BAD_ENDINGS for sentence in sentences),
    )


def human_captions(references: Mapping[str, Sequence[str]], seed: int = 0) -> tuple[dict[str, str], dict[str, list[str]]]:
    """One reference of each video drawn as if it were a prediction, and the others, to score it against.

    Their score is that of a person who describes each video once. It is no strict ceiling: a system may learn what most people say,
    and a person has one reference fewer to agree with. Videos with a single reference are left out.
    Raises ScoringError if no video has two.
    """
    random = np.random.default_rng(seed)
    drawn, rest = {}, {}
    for video_id, group in references.items():
        index = int(random.integers(len(group))) if group else 0
        if len(group) > 1:
            drawn[video_id] = group[index]
            rest[video_id] = [caption for k, caption in enumerate(group) if k != index]
    if not drawn:
        raise ScoringError("no video has two references, so people cannot be scored against each other. Leave that row out.")
    return drawn, rest


def score_humans(scorer: Scorer, seed: int = 0) -> Scores:
    """Scores of one drawn reference of each video against the others, with a scorer's metrics; see human_captions."""
    drawn, rest = human_captions(scorer.references, seed)
    return Scorer(rest, scorer.metrics, frequencies=scorer.frequencies, sharing=scorer).score(drawn)


@dataclass(frozen=True)
class Difference:
    """A video on which two systems differ."""

    video_id: str
    first: float
    second: float


def largest_differences(first: Scores, second: Scores, metric: str = "CIDEr", *, most: int = 5) -> list[Difference]:
    """The videos where two systems differ most in a metric: those where the first is ahead, then those where it is behind.

    At most `most` of each, the largest first; equals in the order of the videos. Raises ScoringError for an unknown metric.
    """
    if metric not in first.corpus or metric not in second.corpus:
        raise ScoringError(
            f"there is no score {metric!r} of both systems; there are {', '.join(first.corpus)}. Choose one of these."
        )
    pairs = [Difference(video, first.per_video[video][metric], second.per_video[video][metric]) for video in first.per_video]
    ahead = sorted((pair for pair in pairs if pair.first > pair.second), key=lambda pair: pair.second - pair.first)
    behind = sorted((pair for pair in pairs if pair.first < pair.second), key=lambda pair: pair.first - pair.second)
    return [*ahead[:most], *behind[:most]]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
