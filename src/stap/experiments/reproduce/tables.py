"""The tables: their rows, their columns, and the published numbers of others."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from stap.errors import ConfigError
from stap.experiments.facts import FACT_COLUMNS
from stap.experiments.reproduce import papers, scene_rows
from stap.experiments.reproduce.rows import ATTENTION_COLUMNS, METRICS, MODERN_GROUP, CorpusName, Published, Row

__all__ = ["TABLES", "Table", "rows_named"]

WITH_PUBLISHED = (
    "Times 100; higher is better. Ours: the mean over the seeds, and with several seeds ± the sample's standard deviation. Published "
    "numbers stand as printed, each with its source; where none is shown, none has been seen."
)
ON_SCENES = (
    "Facts and scores times 100; higher is better. Facts: the share of a scene's facts that the caption states, in all, by kind (order: of "
    "two events), and in scenes with two objects, with a small object, without one, with a brief event, without one. Frames and places: "
    "the effective number that attention covers, exp of its entropy (1 if all weight is on one, their number if it is uniform), "
    "of a word's attention over time and of a frame's places. Several seeds: the mean ± the sample's standard deviation."
)


@dataclass(frozen=True)
class Table:
    """A table.   usual: the rows where none are asked for, see `rows_named`.   others: systems of others, with published numbers."""

    title: str
    explanation: str
    rows: tuple[Row, ...]
    usual: str
    columns: tuple[str, ...]
    others: tuple[tuple[str, Published], ...] = ()

    @property
    def selections(self) -> dict[str, tuple[Row, ...]]:
        """Rows by the name of a selection."""
        return {
            "papers": tuple(row for row in self.rows if row.group != MODERN_GROUP),
            "modern": tuple(row for row in self.rows if row.group == MODERN_GROUP),
            "all": self.rows,
        }


TABLES: Mapping[CorpusName, Table] = {
    "msvd": Table("MSVD: ours and the published", WITH_PUBLISHED, papers.ROWS, "papers", METRICS, papers.OTHERS["msvd"]),
    "msrvtt": Table("MSR-VTT: ours and the published", WITH_PUBLISHED, papers.ROWS, "papers", METRICS, papers.OTHERS["msrvtt"]),
    "scenes": Table(
        "Generated scenes",
        ON_SCENES,
        scene_rows.ROWS,
        "all",
        (*FACT_COLUMNS, "BLEU-4", "METEOR", "ROUGE-L", "CIDEr", *ATTENTION_COLUMNS),
    ),
}


def rows_named(corpus: CorpusName, names: str | None = None) -> tuple[Row, ...]:
    """The rows of 'lrcn,stat*', in the order of the table: keys, patterns with *, and 'papers', 'modern' and 'all'.

    names: None for the table's usual rows. Raises ConfigError that lists them, with the nearest, for an unknown name.
    """
    table = TABLES[corpus]
    if names is None:
        names = table.usual
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    found = {
        name: [
            row.key for row in table.selections.get(name, table.rows) if name in table.selections or fnmatchcase(row.key, name)
        ]
        for name in wanted
    }
    unknown = [name for name, keys in found.items() if not keys]
    if unknown or not wanted:
        raise ConfigError(_unknown(unknown or [repr(names)], [*table.selections, *(row.key for row in table.rows)]))
    chosen = {key for keys in found.values() for key in keys}
    return tuple(row for row in table.rows if row.key in chosen)


def _unknown(names: Sequence[str], known: Sequence[str]) -> str:
    near = {name: match for name in names for match in difflib.get_close_matches(name, known, n=1, cutoff=0.5)}
    hint = f" Did you mean {', '.join(near.values())}?" if near else ""
    return f"{', '.join(names)}: no such row.{hint} Choose among {', '.join(known)}, with commas between them; * stands for anything."
