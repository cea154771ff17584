"""Each system's captions of the test clips, the facts that they state, and their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stap.corpora.corpus import Clip
from stap.experiments.facts import FACT_COLUMNS, Counts, count_facts, share
from stap.reports.page import ScoresRow, ScoresTable
from stap.reports.text_table import text_table
from stap.scoring.metrics import Scorer

__all__ = ["COLUMNS", "SystemScores", "score_constant", "scores_as_text", "scores_table"]

SCORES = ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
COLUMNS = (*FACT_COLUMNS, *SCORES)
CAPTION = (
    "Times 100; higher is better. Facts: the share of a scene's facts that the caption states, in all, by kind of fact, and "
    "in scenes with two objects, with a small object, without one, with a brief event, without one."
)


@dataclass(frozen=True)
class SystemScores:
    """A system's captions by clip id; its facts (recalled, in all) by FACT_COLUMNS; its scores, fractions by metric."""

    name: str
    captions: Mapping[str, str]
    facts: Mapping[str, Counts]
    scores: Mapping[str, float]

    @property
    def values(self) -> dict[str, float | None]:
        """The row of the table by COLUMNS, as fractions; None where the clips have no such facts."""
        return {column: share(self.facts[column]) for column in FACT_COLUMNS} | {name: self.scores[name] for name in SCORES}

    def to_json(self) -> dict[str, Any]:
        """Facts and scores, without the captions."""
        facts = {
            column: {"recalled": counts[0], "total": counts[1], "share": share(counts)} for column, counts in self.facts.items()
        }
        return {"name": self.name, "facts": facts, "scores": dict(self.scores)}


def score_constant(name: str, caption: str, clips: Sequence[Clip], scorer: Scorer) -> SystemScores:
    """The scores of one and the same caption for every clip, whose captions the scorer has as references."""
    captions = {clip.id: caption for clip in clips}
    return SystemScores(name, captions, count_facts(clips, captions), scorer.score(captions).corpus)


def scores_table(systems: Sequence[SystemScores]) -> ScoresTable:
    """The table of the page: a row per system."""
    rows = tuple(ScoresRow(one.name, tuple(one.values[column] for column in COLUMNS)) for one in systems)
    return ScoresTable(COLUMNS, rows, CAPTION)


def scores_as_text(systems: Sequence[SystemScores]) -> str:
    """The table for a terminal, times 100: a column a system."""
    lines = [("", *(one.name for one in systems))]
    for column in COLUMNS:
        label = column if column in ("facts", *SCORES) else f"  {column}"
        lines.append((label, *(_cell(one.values[column]) for one in systems)))
    return text_table(lines)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
