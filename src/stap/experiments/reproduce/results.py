"""A table: our rows with mean and deviation over seeds, and the published numbers; as Markdown, HTML, JSON and text."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2

from stap import reports
from stap.experiments.reproduce.rows import ATTENTION_COLUMNS, GROUPS, METRICS, CorpusName, Published, Row
from stap.experiments.reproduce.runs import CAPTIONS_FILE, RECIPE_FILE, REPORT_FILE, Outcome
from stap.experiments.reproduce.tables import TABLES, Table
from stap.files import html_bytes, markdown_text, write_atomically, write_json
from stap.reports.page import ScoresRow
from stap.reports.text_table import text_table

__all__ = ["JSON_FILE", "PAGE_FILE", "TABLE_FILE", "Reproduction", "RowResult", "published_rows", "write_tables"]

TABLE_FILE, PAGE_FILE, JSON_FILE = "table.md", "table.html", "table.json"
LINKS = (("folder", ""), ("captions", CAPTIONS_FILE), ("recipe", RECIPE_FILE), ("page", REPORT_FILE))


@dataclass(frozen=True)
class RowResult:
    """A row and its seeds.

    folders: of the finished seeds, as paths from the table.   errors: sentences, one for each seed that failed, or for the row.
    """

    row: Row
    recipe: str
    outcomes: tuple[Outcome, ...] = ()
    folders: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    def mean(self, column: str) -> float | None:
        """Over the seeds; None without any value."""
        values = self._values(column)
        return statistics.fmean(values) if values else None

    def deviation(self, column: str) -> float | None:
        """The sample's standard deviation; None with fewer than two seeds."""
        values = self._values(column)
        return statistics.stdev(values) if len(values) > 1 else None

    def _values(self, column: str) -> list[float]:
        return [value for outcome in self.outcomes if (value := outcome.value(column)) is not None]


@dataclass(frozen=True)
class Reproduction:
    """A table: its rows as far as they have come.

    remarks: what a reader must know before comparing, such as clips that are missing.   made: how, for people.
    """

    corpus: CorpusName
    rows: tuple[RowResult, ...]
    remarks: tuple[str, ...]
    made: Mapping[str, str]

    @property
    def table(self) -> Table:
        """Its columns, and the systems of others."""
        return TABLES[self.corpus]

    @property
    def is_complete(self) -> bool:
        """Whether every row and seed is there."""
        return all(result.outcomes and not result.errors for result in self.rows)

    def __str__(self) -> str:
        columns = self.table.columns
        lines: list[tuple[str, ...]] = [("", *columns)]
        for result in self.rows:
            lines.append((result.row.name, *_cells(result, columns)))
            lines += [(f"  {_short(one.source)}", *_published_cells(one, columns)) for one in result.row.numbers(self.corpus)]
        table = text_table(lines)
        failed = "".join(f"\n{result.row.key}: {error}" for result in self.rows for error in result.errors)
        return f"{table}{failed}"

    def to_json(self) -> dict[str, Any]:
        """Everything, values as fractions; published numbers as printed."""
        return {
            "corpus": self.corpus,
            "remarks": list(self.remarks),
            "made": dict(self.made),
            "rows": [self._row_json(result) for result in self.rows],
            "others": [{"name": name, **asdict(numbers)} for name, numbers in self.table.others],
        }

    def _row_json(self, result: RowResult) -> dict[str, Any]:
        return {
            "key": result.row.key,
            "name": result.row.name,
            "group": result.row.group,
            "recipe": result.recipe,
            "note": result.row.note,
            "published": [asdict(numbers) for numbers in result.row.numbers(self.corpus)],
            "mean": {column: result.mean(column) for column in self.table.columns},
            "deviation": {column: result.deviation(column) for column in self.table.columns},
            "seeds": [{"folder": f, **asdict(o)} for f, o in zip(result.folders, result.outcomes, strict=True)],
            "errors": list(result.errors),
        }

    def to_markdown(self) -> str:
        """The table, the published numbers in lines of their own under each row, with links from its own folder."""
        parts = [f"# {self.table.title}", self.table.explanation, *(f"**{remark}**" for remark in self.remarks)]
        for group, results in self.groups():
            parts += [f"## {group}", "\n".join(self._markdown_rows(results))]
            parts += [f"- {result.row.name}: not finished. {error}" for result in results for error in result.errors]
            notes = [f"- {result.row.name} (`{result.recipe}`): {result.row.note}" for result in results if result.row.note]
            parts += ["\n".join(notes)] if notes else []
        columns = self.table.columns
        if others := [_line((name, *_published_cells(one, columns), one.source)) for name, one in self.table.others]:
            parts += ["## Others, as published", "\n".join([*_head("system", columns, "source"), *others])]
        parts += ["## How it was made", "\n".join(f"- {name}: {value}" for name, value in self.made.items())]
        return markdown_text("\n\n".join(parts) + "\n")

    def groups(self) -> Iterator[tuple[str, list[RowResult]]]:
        """The rows under their headings, those without rows left out."""
        for group in GROUPS:
            if results := [result for result in self.rows if result.row.group == group]:
                yield group, results

    def _markdown_rows(self, results: Iterable[RowResult]) -> Iterator[str]:
        columns = self.table.columns
        yield from _head("row", columns, "parameters", "epochs", "seconds", "seeds", "")
        for result in results:
            cells = (*_cells(result, columns), *_training_cells(result), str(len(result.outcomes)), _links(result))
            yield _line((result.row.name, *cells))
            for numbers in result.row.numbers(self.corpus):
                published = (f"*{cell}*" for cell in _published_cells(numbers, columns))
                yield _line(("*published*", *published, "", "", "", "", f"*{numbers.source}*"))

    def to_html(self) -> str:
        """The same as one page; its links lead into the run folders next to it."""
        templates = Path(reports.__file__).parent / "templates"
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(templates),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        groups = [(group, [self._view(result) for result in results]) for group, results in self.groups()]
        columns = self.table.columns
        others = [(name, _published_cells(one, columns), one.source) for name, one in self.table.others]
        return environment.get_template("table.html.j2").render(
            title=self.table.title,
            explanation=self.table.explanation,
            metrics=columns,
            groups=groups,
            others=others,
            remarks=self.remarks,
            made=self.made,
        )

    def _view(self, result: RowResult) -> dict[str, Any]:
        return {
            "result": result,
            "cells": _cells(result, self.table.columns),
            "published": [
                (_published_cells(numbers, self.table.columns), numbers.source) for numbers in result.row.numbers(self.corpus)
            ],
            "seeds": [
                (outcome.seed, [(name, f"{folder}/{file}") for name, file in LINKS])
                for folder, outcome in zip(result.folders, result.outcomes, strict=True)
            ],
        }


def write_tables(out: Path, found: Reproduction) -> None:
    """table.md, table.html and table.json, each whole or as it was."""
    write_json(out / JSON_FILE, found.to_json())
    write_atomically(out / TABLE_FILE, found.to_markdown().encode())
    write_atomically(out / PAGE_FILE, html_bytes(found.to_html()))


def published_rows(row: Row, corpus: CorpusName) -> tuple[ScoresRow, ...]:
    """The published numbers of a row for the page of a run."""
    return tuple(ScoresRow(row.name, _fractions(numbers), numbers.source, is_published=True) for numbers in row.numbers(corpus))


def _fractions(numbers: Published) -> tuple[float | None, ...]:
    values = (numbers.values.get(metric) for metric in METRICS)
    return tuple(None if value is None else value / 100 for value in values)


def _cells(result: RowResult, columns: Sequence[str]) -> list[str]:
    """Shares and scores times 100, effective numbers as they are."""
    cells = []
    for column in columns:
        mean, deviation = result.mean(column), result.deviation(column)
        factor = 1 if column in ATTENTION_COLUMNS else 100
        suffix = "" if deviation is None else f" ± {factor * deviation:.1f}"
        cells.append("–" if mean is None else f"{factor * mean:.1f}{suffix}")
    return cells


def _training_cells(result: RowResult) -> list[str]:
    """Parameters, and of each seed the best epoch of those trained and the seconds."""
    outcomes = result.outcomes
    return [
        f"{outcomes[0].parameters:,}" if outcomes else "–",
        ", ".join(f"{one.best_epoch} of {one.epochs}" for one in outcomes),
        ", ".join(f"{one.training_seconds:.0f}" for one in outcomes),
    ]


def _published_cells(numbers: Published, columns: Sequence[str]) -> list[str]:
    """As printed: one or two places."""
    return [f"{numbers.values[column]}" if column in numbers.values else "–" for column in columns]


def _links(result: RowResult) -> str:
    seeds = []
    for folder, outcome in zip(result.folders, result.outcomes, strict=True):
        links = " ".join(f"[{name}]({folder}/{file})" for name, file in LINKS)
        seeds.append(f"seed {outcome.seed}: {links}")
    return "; ".join(seeds) or "not finished"


def _head(first: str, columns: Sequence[str], *last: str) -> list[str]:
    return [_line((first, *columns, *last)), _line(["---", *["---:"] * len(columns), *["---"] * len(last)])]


BAR = r"\|"  # in a cell of a table


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', BAR) for cell in cells)} |"


def _short(source: str) -> str:
    return source if len(source) <= 44 else f"{source[:43]}…"
