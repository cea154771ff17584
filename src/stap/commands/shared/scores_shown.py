"""Scores and what captions are like as lines of text: numbers on stdout, times 100 as in papers; explanations on stderr."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stap.commands.shared.console import say

if TYPE_CHECKING:
    from stap.scoring.diagnosis import Difference, Variety
    from stap.scoring.metrics import Scores
    from stap.scoring.resampling import Comparison, Interval

__all__ = [
    "Drawing",
    "note_wordless",
    "plain",
    "print_comparison",
    "print_differences",
    "print_facts",
    "print_scores",
    "print_variety",
]

MOST_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Drawing:
    """How videos are drawn again, for the range of a score."""

    draws: int
    level: float = 0.95
    seed: int = 0

    def intervals(self, scores: Scores) -> dict[str, Interval] | None:
        """The range of each score; None where none is wanted, or none can be told, of a single video."""
        from stap.scoring.resampling import intervals

        if self.draws == 0 or len(scores.per_video) < 2:
            return None
        return intervals(scores, level=self.level, draws=self.draws, seed=self.seed)


def plain(name: str, found: Mapping[str, Interval] | Mapping[str, Comparison] | None) -> dict[str, Any]:
    """What was found, for JSON under this name; nothing where there is nothing."""
    return {name: {key: dataclasses.asdict(one) for key, one in found.items()}} if found else {}


def print_scores(scores: Mapping[str, float], intervals: Mapping[str, Interval] | None = None) -> None:
    """A line a score; with intervals, the range too."""
    for name, value in scores.items():
        shown = f"   {100 * intervals[name].low:6.2f} to {100 * intervals[name].high:6.2f}" if intervals else ""
        print(f"{name:8} {100 * value:6.2f}{shown}")


def print_comparison(found: Mapping[str, Comparison], videos: int) -> None:
    """A line a score: the difference, its range, the p-value, and on how many videos each system is better."""
    for name, one in found.items():
        difference = one.difference
        print(
            f"{name:8} {100 * difference.value:+6.2f}   {100 * difference.low:+6.2f} to {100 * difference.high:+6.2f}   "
            f"p {one.p_value:.4f}   better on {one.better}, equal on {one.equal}, worse on {one.worse} of {videos} videos"
        )


def print_variety(found: Variety) -> None:
    """What the captions are like, a line a property."""
    captions = found.captions
    print(f"words a caption      {found.mean_words:.2f} ({found.shortest} to {found.longest})")
    print(f"distinct captions    {_part(found.distinct_captions, captions)}")
    print(f"distinct words       {found.distinct_words}")
    print(f"distinct-1, -2       {found.distinct_1:.4f}, {found.distinct_2:.4f}")
    if found.novel is not None and found.vocabulary is not None and found.vocabulary_used is not None:
        print(f"novel captions       {_part(found.novel, captions)}")
        print(f"vocabulary used      {_part(found.vocabulary_used, found.vocabulary)}")
    for caption, count in found.most_frequent:
        print(f"said {count:4} times      {caption or '(no words)'}")


def print_differences(
    found: Iterable[Difference],
    metric: str,
    captions: tuple[Mapping[str, str], Mapping[str, str]],
    references: Mapping[str, Sequence[str]],
) -> None:
    """The videos on which two systems differ most, with what both say and what a person said."""
    for one in found:
        first, second = (given[one.video_id] for given in captions)
        print(f"{one.video_id}: {metric} {100 * one.first:.1f} against {100 * one.second:.1f}")
        print(
            f"  first   {_on_a_line(first)}\n  second  {_on_a_line(second)}\n  human   {_on_a_line(references[one.video_id][0])}"
        )


def print_facts(facts: Mapping[str, tuple[int, int]]) -> None:
    """A line a kind of fact, and one for all: how many of them the captions state."""
    recalled = sum(found for found, _ in facts.values())
    total = sum(present for _, present in facts.values())
    for kind, (found, present) in [*facts.items(), ("all", (recalled, total))]:
        print(f"facts, {kind:8} {100 * found / max(present, 1):6.2f}  ({found} of {present})")


def note_wordless(words: Mapping[str, str], file: str) -> None:
    """Say which captions have no words, and what is done about it."""
    empty = [video_id for video_id, caption in words.items() if not caption]
    if not empty:
        return
    names = ", ".join(empty[:MOST_NAMED]) + (f" and {len(empty) - MOST_NAMED} more" if len(empty) > MOST_NAMED else "")
    verb = "has no words; it counts, and scores" if len(empty) == 1 else "have no words; they count, and score"
    say(f"{file}: {len(empty)} of {len(words)} captions {verb} 0 ({names}).")


def _part(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / max(whole, 1):.1f} %)"


def _on_a_line(caption: str) -> str:
    return " ".join(caption.split())
