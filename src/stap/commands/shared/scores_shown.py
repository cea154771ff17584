"""Scores, confidence intervals and the variety of captions as tables on stdout, times 100 as in papers; explanations on stderr."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from stap.commands.shared.console import say
from stap.files import printable

if TYPE_CHECKING:
    from stap.scoring.diagnosis import Difference, Variety
    from stap.scoring.metrics import Scores
    from stap.scoring.resampling import Comparison, Interval
    from stap.scoring.retrieval import Retrieval

__all__ = [
    "Drawing",
    "note_wordless",
    "plain",
    "print_comparison",
    "print_differences",
    "print_facts",
    "print_retrieval",
    "print_scores",
    "print_variety",
]

MOST_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Bootstrap resamples of the videos, for confidence intervals."""

    draws: int
    level: float = 0.95
    seed: int = 0

    def intervals(self, scores: Scores) -> dict[str, Interval] | None:
        """The interval of each score; None for 0 draws and for a single video, whose scores have none."""
        from stap.scoring.resampling import intervals

        if self.draws == 0 or len(scores.per_video) < 2:
            return None
        return intervals(scores, level=self.level, draws=self.draws, seed=self.seed)


def plain(name: str, found: Mapping[str, Interval] | Mapping[str, Comparison] | None) -> dict[str, Any]:
    """The results under this name as JSON writes them; empty without results."""
    return {name: {key: dataclasses.asdict(one) for key, one in found.items()}} if found else {}


def print_scores(scores: Mapping[str, float], intervals: Mapping[str, Interval] | None = None) -> None:
    """A line per score; with intervals, the confidence interval too."""
    _print_table(
        (name, f"{100 * value:.2f}", *((_between(intervals[name], "6.2f"),) if intervals else ()))
        for name, value in scores.items()
    )


def print_comparison(found: Mapping[str, Comparison], videos: int) -> None:
    """A line per score: the difference, its confidence interval, the p-value, and the number of videos on which each system is better."""
    _print_table(
        (
            name,
            f"{100 * one.difference.value:+.2f}",
            _between(one.difference, "+6.2f"),
            f"p {one.p_value:.4f}",
            f"better on {one.better}, equal on {one.equal}, worse on {one.worse} of {videos} videos",
        )
        for name, one in found.items()
    )


def print_variety(found: Variety) -> None:
    """The variety of captions, a line per property."""
    lines = [
        ("words per caption", f"{found.mean_words:.2f} ({found.shortest} to {found.longest})"),
        ("distinct captions", _part(found.distinct_captions, found.captions)),
        ("bad endings", _part(found.bad_endings, found.captions)),
        ("distinct words", str(found.distinct_words)),
        ("distinct-1, distinct-2", f"{found.distinct_1:.4f}, {found.distinct_2:.4f}"),
    ]
    if found.novel is not None and found.vocabulary is not None and found.vocabulary_used is not None:
        lines.append(("novel captions", _part(found.novel, found.captions)))
        lines.append(("vocabulary used", _part(found.vocabulary_used, found.vocabulary)))
    lines += [(f"{count} times", _on_a_line(caption) or "(no words)") for caption, count in found.most_frequent]
    _print_table(lines, "left")


def print_differences(
    found: Iterable[Difference],
    metric: str,
    captions: tuple[Mapping[str, str], Mapping[str, str]],
    references: Mapping[str, Sequence[str]],
) -> None:
    """The videos with the largest difference between two systems, with both captions and a reference."""
    for one in found:
        first, second = (given[one.video_id] for given in captions)
        print(f"{printable(one.video_id)}: {metric} {100 * one.first:.1f} against {100 * one.second:.1f}")
        print(
            f"  first   {_on_a_line(first)}\n  second  {_on_a_line(second)}\n  human   {_on_a_line(references[one.video_id][0])}"
        )


def print_facts(facts: Mapping[str, tuple[int, int]]) -> None:
    """A line a kind of fact, and one for all: how many of them the captions state."""
    recalled = sum(found for found, _ in facts.values())
    total = sum(present for _, present in facts.values())
    _print_table(
        (f"facts, {kind}", f"{100 * found / max(present, 1):.2f}", f"({found} of {present})")
        for kind, (found, present) in [*facts.items(), ("all", (recalled, total))]
    )


def print_retrieval(found: Retrieval) -> None:
    """A line a direction: recall at 1, 5 and 10, and the median rank, which is no percentage."""
    directions = {"sentence to video": found.sentence_to_video, "video to sentence": found.video_to_sentence}
    _print_table(
        (
            f"retrieval, {name}",
            *(f"{score} {value if score == 'median rank' else 100 * value:.1f}" for score, value in ranks.scores.items()),
            f"({len(ranks.ranks)} among {ranks.candidates})",
        )
        for name, ranks in directions.items()
    )


def note_wordless(words: Mapping[str, str], file: str) -> None:
    """Print which captions have no words, and how they count."""
    empty = [video_id for video_id, caption in words.items() if not caption]
    if not empty:
        return
    names = ", ".join(empty[:MOST_NAMED]) + (f" and {len(empty) - MOST_NAMED} more" if len(empty) > MOST_NAMED else "")
    verb = "has no words; it counts, and scores" if len(empty) == 1 else "have no words; they count, and score"
    say(f"{file}: {len(empty)} of {len(words)} captions {verb} 0 ({names}).")


def _part(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / max(whole, 1):.1f} %)"


def _on_a_line(caption: str) -> str:
    return printable(" ".join(caption.split()))


def _between(interval: Interval, form: str) -> str:
    return f"{100 * interval.low:{form}} to {100 * interval.high:{form}}"


def _print_table(lines: Iterable[Sequence[str]], justify: Literal["left", "right"] = "right") -> None:
    from stap.reports.text_table import text_table

    print(text_table(lines, justify))
