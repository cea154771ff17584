"""What each system says about the test clips and what that is worth: facts recalled, in all and by kind, and scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stap.corpora.corpus import Clip
from stap.experiments.evaluate import recall_facts
from stap.reports.page import ScoresRow, ScoresTable
from stap.scoring.metrics import Scorer

__all__ = ["SCORES", "Outcome", "judge", "scores_table", "text_table"]

Facts = Mapping[str, Any]
SCORES = ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
HARD: Mapping[str, Callable[[Facts], bool]] = {
    "two objects": lambda facts: facts["kind"] == "pair",
    "small objects": lambda facts: facts["small"],
    "brief events": lambda facts: facts["brief"],
}


@dataclass(frozen=True)
class Outcome:
    """A system's captions by clip id, and its row of the table.

    values: fractions by column: 'facts' (all of them), each kind of fact, each hard sort of scene, then SCORES. None where the
    clips have nothing to count.
    """

    name: str
    captions: Mapping[str, str]
    values: Mapping[str, float | None]


def judge(systems: Mapping[str, Mapping[str, str]], clips: Sequence[Clip]) -> tuple[Outcome, ...]:
    """The outcome of each system, from its captions by clip id."""
    with Scorer({clip.id: clip.captions for clip in clips}) as scorer:
        return tuple(
            Outcome(name, captions, fact_shares(clips, captions) | _some(scorer.score(captions).corpus))
            for name, captions in systems.items()
        )


def fact_shares(clips: Sequence[Clip], captions: Mapping[str, str]) -> dict[str, float | None]:
    """The share of the facts that the captions recall: in all, by kind of fact, and in the hard sorts of scenes."""
    by_kind = recall_facts(clips, captions)
    shares = {"facts": _share(by_kind)} | {kind: _share({kind: counts}) for kind, counts in by_kind.items()}
    for name, is_hard in HARD.items():
        shares[name] = _share(recall_facts([clip for clip in clips if clip.facts and is_hard(clip.facts)], captions))
    return shares


def scores_table(outcomes: Sequence[Outcome]) -> ScoresTable:
    """The table of the page: a row a system."""
    columns = tuple(outcomes[0].values)
    rows = tuple(ScoresRow(outcome.name, tuple(outcome.values[column] for column in columns)) for outcome in outcomes)
    caption = (
        "Times 100; higher is better. Facts: the share of a scene's facts that the caption states, in all, by kind of fact, and "
        "in scenes with two objects, with a small object, with a brief event."
    )
    return ScoresTable(columns, rows, caption)


def text_table(outcomes: Sequence[Outcome]) -> str:
    """The table for a terminal, times 100: a column a system."""
    widths = [max(len(outcome.name), 6) for outcome in outcomes]
    titles = "  ".join(f"{outcome.name:>{width}}" for outcome, width in zip(outcomes, widths, strict=True))
    lines = [f"{'':16}  {titles}"]
    for column in outcomes[0].values:
        label = column if column in ("facts", *SCORES) else f"  {column}"
        cells = "  ".join(f"{_cell(outcome.values[column]):>{width}}" for outcome, width in zip(outcomes, widths, strict=True))
        lines.append(f"{label:16}  {cells}")
    return "\n".join(lines)


def _some(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {name: scores[name] for name in SCORES}


def _share(counts: Mapping[str, tuple[int, int]]) -> float | None:
    total = sum(present for _, present in counts.values())
    return sum(recalled for recalled, _ in counts.values()) / total if total else None


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
