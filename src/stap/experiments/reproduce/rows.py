"""Rows of a table: their settings, their published numbers, and where these were read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "ATTENTION_COLUMNS",
    "GROUPS",
    "LSTAP_GROUP",
    "METRICS",
    "MODERN_GROUP",
    "STAT_GROUP",
    "CorpusName",
    "Published",
    "Row",
]

CorpusName = Literal["msvd", "msrvtt", "scenes"]
ATTENTION_COLUMNS = ("frames", "places")  # effective numbers
METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")

LSTAP_GROUP = "L-STAP: Table 1 (ours) and the ablation of Table 3"
STAT_GROUP = "STAT and its ablations"
MODERN_GROUP = "In no paper: other features, other combinations"
GROUPS = (LSTAP_GROUP, STAT_GROUP, MODERN_GROUP)


@dataclass(frozen=True)
class Published:
    """Numbers as printed, times 100, by metric, and where they were read."""

    values: Mapping[str, float]
    source: str


@dataclass(frozen=True)
class Row:
    """A row: its key, which with the corpus is the name of its recipe, and its name in the table.

    settings: what it changes in the recipe.   note: how it differs from the paper.   published: by corpus; may be empty.
    """

    key: str
    name: str
    group: str
    settings: tuple[str, ...] = ()
    note: str = ""
    published: Mapping[CorpusName, tuple[Published, ...]] | None = None

    def numbers(self, corpus: CorpusName) -> tuple[Published, ...]:
        """What is published of this row."""
        return (self.published or {}).get(corpus, ())
