"""The table: our rows with mean and deviation over seeds, the published numbers beside them; as Markdown, HTML, JSON, text."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2

from stap import reports
from stap.experiments.reproduce.runs import CAPTIONS_FILE, RECIPE_FILE, REPORT_FILE, Outcome
from stap.experiments.reproduce.tables import GROUPS, METRICS, OTHERS, CorpusName, Published, Row
from stap.files import write_atomically
from stap.reports.page import ScoresRow

__all__ = ["JSON_FILE", "PAGE_FILE", "TABLE_FILE", "Reproduction", "RowResult", "published_rows", "write_tables"]

TABLE_FILE, PAGE_FILE, JSON_FILE = "table.md", "table.html", "table.json"
LINKS = (("folder", ""), ("captions", CAPTIONS_FILE), ("recipe", RECIPE_FILE), ("page", REPORT_FILE))


@dataclass(frozen=True)
class RowResult:
    """A row: what became of its seeds.

    folders: of the finished seeds, as paths from the table.   errors: sentences, one for each seed that failed, or for the row.
    """

    row: Row
    recipe: str
    outcomes: tuple[Outcome, ...] = ()
    folders: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    def mean(self, metric: str) -> float | None:
        """Over the seeds, as a fraction; None without any."""
        values = self._values(metric)
        return statistics.fmean(values) if values else None

    def deviation(self, metric: str) -> float | None:
        """The sample's standard deviation; None with fewer than two seeds."""
        values = self._values(metric)
        return statistics.stdev(values) if len(values) > 1 else None

    def _values(self, metric: str) -> list[float]:
        return [outcome.scores[metric] for outcome in self.outcomes if metric in outcome.scores]


@dataclass(frozen=True)
class Reproduction:
    """What came of it all.

    remarks: what a reader must know before comparing, such as clips that are missing.   made: how, for people.
    """

    corpus: CorpusName
    name: str
    rows: tuple[RowResult, ...]
    remarks: tuple[str, ...]
    made: Mapping[str, str]

    @property
    def is_complete(self) -> bool:
        """Whether every row and seed is there."""
        return all(result.outcomes and not result.errors for result in self.rows)

    def __str__(self) -> str:
        lines: list[tuple[str, ...]] = [("", *METRICS)]
        for result in self.rows:
            lines.append((result.row.name, *_cells(result)))
            lines += [(f"  {_short(one.source)}", *_published_cells(one)) for one in result.row.numbers(self.corpus)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = "\n".join(
            "  ".join([f"{line[0]:{widths[0]}}", *(f"{cell:>{w}}" for cell, w in zip(line[1:], widths[1:], strict=True))])
            for line in lines
        )
        failed = "".join(f"\n{result.row.key}: {error}" for result in self.rows for error in result.errors)
        return f"{table}{failed}"

    def to_json(self) -> dict[str, Any]:
        """Everything, values as fractions; published numbers as printed."""
        return {
            "corpus": self.corpus,
            "remarks": list(self.remarks),
            "made": dict(self.made),
            "rows": [self._row_json(result) for result in self.rows],
            "others": [{"name": name, **asdict(numbers)} for name, numbers in OTHERS[self.corpus]],
        }

    def _row_json(self, result: RowResult) -> dict[str, Any]:
        return {
            "key": result.row.key,
            "name": result.row.name,
            "group": result.row.group,
            "recipe": result.recipe,
            "note": result.row.note,
            "published": [asdict(numbers) for numbers in result.row.numbers(self.corpus)],
            "mean": {metric: result.mean(metric) for metric in METRICS},
            "deviation": {metric: result.deviation(metric) for metric in METRICS},
            "seeds": [{"folder": f, **asdict(o)} for f, o in zip(result.folders, result.outcomes, strict=True)],
            "errors": list(result.errors),
        }

    def to_markdown(self) -> str:
        """The table, the published numbers in lines of their own under each row, with links from its own folder."""
        parts = [f"# {self.name}: ours beside the published", EXPLANATION, *(f"**{remark}**" for remark in self.remarks)]
        for group, results in self.groups():
            parts += [f"## {group}", "\n".join(self._markdown_rows(results))]
            parts += [f"- {result.row.name}: not finished. {error}" for result in results for error in result.errors]
            notes = [f"- {result.row.name} (`{result.recipe}`): {result.row.note}" for result in results if result.row.note]
            parts += ["\n".join(notes)] if notes else []
        others = [_line((name, *_published_cells(numbers), numbers.source)) for name, numbers in OTHERS[self.corpus]]
        parts += ["## Others, as published", "\n".join([*_head("system", "source"), *others])]
        parts += ["## How it was made", "\n".join(f"- {name}: {value}" for name, value in self.made.items())]
        return "\n\n".join(parts) + "\n"

    def groups(self) -> Iterator[tuple[str, list[RowResult]]]:
        """The rows under their headings, those without rows left out."""
        for group in GROUPS:
            if results := [result for result in self.rows if result.row.group == group]:
                yield group, results

    def _markdown_rows(self, results: Iterable[RowResult]) -> Iterator[str]:
        yield from _head("row", "seeds", "")
        for result in results:
            yield _line((result.row.name, *_cells(result), str(len(result.outcomes)), _links(result)))
            for numbers in result.row.numbers(self.corpus):
                yield _line(("*published*", *(f"*{cell}*" for cell in _published_cells(numbers)), "", f"*{numbers.source}*"))

    def to_html(self) -> str:
        """The same as one page; its links lead into the run folders beside it."""
        templates = Path(reports.__file__).parent / "templates"
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(templates),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        groups = [(group, [self._view(result) for result in results]) for group, results in self.groups()]
        others = [(name, _published_cells(numbers), numbers.source) for name, numbers in OTHERS[self.corpus]]
        return environment.get_template("table.html.j2").render(
            title=f"{self.name}: ours beside the published",
            explanation=EXPLANATION,
            metrics=METRICS,
            groups=groups,
            others=others,
            remarks=self.remarks,
            made=self.made,
        )

    def _view(self, result: RowResult) -> dict[str, Any]:
        return {
            "result": result,
            "cells": _cells(result),
            "published": [(_published_cells(numbers), numbers.source) for numbers in result.row.numbers(self.corpus)],
            "seeds": [
                (outcome.seed, [(name, f"{folder}/{file}") for name, file in LINKS])
                for folder, outcome in zip(result.folders, result.outcomes, strict=True)
            ],
        }


EXPLANATION = (
    "Times 100; higher is better. Ours: the mean over the seeds, and with several seeds ± the sample's standard deviation. Published "
    "numbers stand as printed, each with its source; where none is shown, none was at hand."
)


def write_tables(out: Path, found: Reproduction) -> None:
    """table.md, table.html and table.json, each whole or as it was."""
    text = json.dumps(found.to_json(), indent=1, ensure_ascii=False) + "\n"
    for name, content in ((JSON_FILE, text), (TABLE_FILE, found.to_markdown()), (PAGE_FILE, found.to_html())):
        write_atomically(out / name, content.encode())


def published_rows(row: Row, corpus: CorpusName) -> tuple[ScoresRow, ...]:
    """The published numbers of a row for the page of a run."""
    return tuple(ScoresRow(row.name, _fractions(numbers), numbers.source, is_published=True) for numbers in row.numbers(corpus))


def _fractions(numbers: Published) -> tuple[float | None, ...]:
    values = (numbers.values.get(metric) for metric in METRICS)
    return tuple(None if value is None else value / 100 for value in values)


def _cells(result: RowResult) -> list[str]:
    cells = []
    for metric in METRICS:
        mean, deviation = result.mean(metric), result.deviation(metric)
        beside = "" if deviation is None else f" ± {100 * deviation:.1f}"
        cells.append("–" if mean is None else f"{100 * mean:.1f}{beside}")
    return cells


def _published_cells(numbers: Published) -> list[str]:
    """As printed: one or two places."""
    return [f"{numbers.values[metric]}" if metric in numbers.values else "–" for metric in METRICS]


def _links(result: RowResult) -> str:
    seeds = []
    for folder, outcome in zip(result.folders, result.outcomes, strict=True):
        links = " ".join(f"[{name}]({folder}/{file})" for name, file in LINKS)
        seeds.append(f"seed {outcome.seed}: {links}")
    return "; ".join(seeds) or "not finished"


def _head(first: str, *last: str) -> list[str]:
    cells = (first, *METRICS, *last)
    return [_line(cells), _line(["---", *["---:"] * len(METRICS), *["---"] * len(last)])]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _short(source: str) -> str:
    return source if len(source) <= 44 else f"{source[:43]}…"
