"""Which captions of a teacher a student learns from; the first reason against a caption counts."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from stap.errors import ConfigError
from stap.experiments.distil.clips import Said
from stap.scoring.cider import FIXED, Cider, DocumentFrequencies
from stap.scoring.measures import pycocoevalcap
from stap.text.words import tokenize

__all__ = ["REASONS", "Dropped", "FilterSettings", "Filtered", "filter_captions"]

REASONS = {
    "length": "fewer words than {shortest}, or more than {longest}",
    "repetition": "a word three times in a row, three words twice, or less than half of the words distinct",
    "script": "letters of another script than that of most captions, markup, or characters that could not be read",
    "duplicate": "said before about the same video",
    "log-probability": "among the {improbable:.0%} that the teacher was least sure of (mean over tokens)",
    "consensus": "among the {disagreeing:.0%} that agree least with the teacher's other captions of the video (CIDEr)",
}
# Scripts that are written together.
SAME_SCRIPT = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "KATAKANA-HIRAGANA": "CJK"}
MARKUP = re.compile(r"</?\w+[^>]*>|<\||\|>|https?://|\ufffd")


@dataclass(frozen=True)
class FilterSettings:
    """shortest, longest: words.   improbable, disagreeing: the shares that are dropped, 0 to below 1."""

    shortest: int = 3
    longest: int = 30
    improbable: float = 0.05
    disagreeing: float = 0.10

    def __post_init__(self) -> None:
        for name, value in (("--drop-improbable", self.improbable), ("--drop-disagreeing", self.disagreeing)):
            if not 0 <= value < 1:
                raise ConfigError(f"{name} {value:g}: expected a share from 0 to below 1, such as 0.05.")


@dataclass(frozen=True)
class Dropped:
    """A caption that was dropped, and why."""

    video: str
    said: Said
    reason: str


@dataclass(frozen=True)
class Filtered:
    """kept: by video; videos without any are left out."""

    kept: Mapping[str, Sequence[Said]]
    dropped: tuple[Dropped, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many captions fell to each reason."""
        found = Counter(one.reason for one in self.dropped)
        return {reason: found[reason] for reason in REASONS}

    def examples(self, count: int) -> list[Dropped]:
        """At most `count` dropped captions, in turn of each reason."""
        queues = [[one for one in self.dropped if one.reason == reason] for reason in REASONS]
        longest = max(map(len, queues), default=0)
        return [queue[place] for place in range(longest) for queue in queues if place < len(queue)][:count]


def filter_captions(said: Mapping[str, Sequence[Said]], settings: FilterSettings) -> Filtered:
    """Drop what a student should not learn.   said: by video, the beam's caption first."""
    script = _main_script(one.caption for captions in said.values() for one in captions)
    reasons: dict[tuple[str, int], str] = {}
    for video, captions in said.items():
        before: set[tuple[str, ...]] = set()
        for number, one in enumerate(captions):
            words = tokenize(one.caption)
            if reason := _about_text(one.caption, words, script, settings):
                reasons[video, number] = reason
            elif tuple(words) in before:
                reasons[video, number] = "duplicate"
            before.add(tuple(words))
    left = [
        (video, number) for video, captions in said.items() for number in range(len(captions)) if (video, number) not in reasons
    ]
    for key in _lowest(left, lambda key: said[key[0]][key[1]].score, settings.improbable):
        reasons[key] = "log-probability"
    agreement = _consensus(said)
    left = [key for key in left if key not in reasons and key in agreement]
    for key in _lowest(left, agreement.__getitem__, settings.disagreeing):
        reasons[key] = "consensus"
    kept = {
        video: [one for number, one in enumerate(captions) if (video, number) not in reasons]
        for video, captions in said.items()
    }
    dropped = tuple(
        Dropped(video, one, reasons[video, number])
        for video, captions in said.items()
        for number, one in enumerate(captions)
        if (video, number) in reasons
    )
    return Filtered({video: captions for video, captions in kept.items() if captions}, dropped)


def _about_text(caption: str, words: Sequence[str], script: str | None, settings: FilterSettings) -> str | None:
    if MARKUP.search(caption) or any(_script(letter) != script for letter in caption if letter.isalpha()):
        return "script"
    if not settings.shortest <= len(words) <= settings.longest:
        return "length"
    return "repetition" if _repeats(words) else None


def _repeats(words: Sequence[str]) -> bool:
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return (
        len(set(triples)) < len(triples) or any(len(set(triple)) == 1 for triple in triples) or 2 * len(set(words)) < len(words)
    )


def _script(letter: str) -> str:
    name = unicodedata.name(letter, "UNKNOWN").split()[0]
    return SAME_SCRIPT.get(name, name)


def _main_script(captions: Iterable[str]) -> str | None:
    counts = Counter(_script(letter) for caption in captions for letter in caption if letter.isalpha())
    return counts.most_common(1)[0][0] if counts else None


def _lowest(keys: Sequence[tuple[str, int]], value: Callable[[tuple[str, int]], float], share: float) -> list[tuple[str, int]]:
    """The share of the keys with the lowest values, rounded down."""
    return sorted(keys, key=value)[: int(share * len(keys))]


def _consensus(said: Mapping[str, Sequence[Said]]) -> dict[tuple[str, int], float]:
    """CIDEr-D of each caption against the video's other ones, with document frequencies of all captions; of videos with several."""
    words = {video: [" ".join(tokenize(one.caption)) for one in captions] for video, captions in said.items()}
    if len(words) < 2:
        return {}
    ngrams = pycocoevalcap("cider.cider_scorer").precook
    counts = Counter(ngram for captions in words.values() for ngram in {each for one in captions for each in ngrams(one, 4)})
    keys = [(video, number) for video, captions in words.items() if len(captions) > 1 for number in range(len(captions))]
    if not keys:
        return {}
    others = [[one for place, one in enumerate(words[video]) if place != number] for video, number in keys]
    scorer = Cider(others, DocumentFrequencies(len(words), dict(counts), "the teacher's captions"))
    scores = scorer.score([words[video][number] for video, number in keys])[FIXED].per_video
    return dict(zip(keys, scores, strict=True))
