"""The report: scores, clips with the attention for each word, training curves and the run's settings, in one HTML file.

Pictures, style and script are inside the file, and it loads nothing from the network. It works on a phone, in dark mode, with
the keyboard alone and with a screen reader: a sentence and a table repeat the attention for each word.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from stap.errors import ShapeError
from stap.files import html_bytes, write_atomically
from stap.reports.clip import ClipReport
from stap.reports.clip_view import clip_views
from stap.reports.curves import Curve, charts, curves_figure, description
from stap.reports.figures import svg_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PlainTable", "Report", "ScoresRow", "ScoresTable", "environment", "write_report"]


@dataclass(frozen=True)
class ScoresRow:
    """One system in the table of scores."""

    name: str
    values: tuple[float | None, ...]
    """A fraction for each column; None where there is no value."""
    note: str = ""
    is_published: bool = False
    """Whether the numbers come from a paper; such rows have a separate heading, and the note names the paper."""
    intervals: tuple[tuple[float, float] | None, ...] = ()
    """The confidence interval of each value, as fractions; or none at all."""


@dataclass(frozen=True)
class ScoresTable:
    """Systems by metrics. Values are fractions and shown times 100; the best of each column is marked."""

    columns: tuple[str, ...]
    rows: tuple[ScoresRow, ...]
    caption: str = "Scores, times 100; higher is better."


@dataclass(frozen=True)
class PlainTable:
    """A table of text under a heading of its own.   caption: what the columns mean."""

    heading: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Report:
    """Everything in a report. Parts that are empty are left out of the page."""

    title: str
    intro: str
    scores: ScoresTable | None = None
    clips: tuple[ClipReport, ...] = ()
    curves: tuple[Curve, ...] = ()
    how_made: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[PlainTable, ...] = ()


def write_report(path: str | Path, report: Report) -> None:
    """Write the report as one HTML file, whole or not at all.

    Raises StapError if the file cannot be written, ShapeError if a row of scores does not fit the columns.
    """
    html = (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            score_groups=_score_groups(report.scores) if report.scores else [],
            clips=clip_views(report.clips),
            charts=[_ChartView(_data_uri(curves_figure(chart)), description(chart)) for chart in charts(report.curves)],
        )
    )
    write_atomically(Path(path), html_bytes(html))


@dataclass(frozen=True)
class _ChartView:
    picture: str  # a data URI
    says: str


def _data_uri(figure: Figure) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg_bytes(figure)).decode()}"


def environment() -> jinja2.Environment:
    """The templates of the pages, which escape what they are given."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@dataclass(frozen=True)
class _Cell:
    text: str
    interval: str = ""
    is_best: bool = False


def _score_groups(table: ScoresTable) -> list[tuple[str, list[tuple[ScoresRow, list[_Cell]]]]]:
    """The rows under their headings, each with its cells; no heading if there are only published rows, or none."""
    for row in table.rows:
        for what, values in (("values", row.values), ("intervals", row.intervals or row.values)):
            if len(values) != len(table.columns):
                raise ShapeError(f"row {row.name!r} has {len(values)} {what} for {len(table.columns)} columns.")
    columns = zip(*(row.values for row in table.rows), strict=True)
    best = [max((round(value, 3) for value in column if value is not None), default=None) for column in columns]
    rows = [(row, _cells(row, best if len(table.rows) > 1 else [None] * len(table.columns))) for row in table.rows]
    groups: dict[str, list[tuple[ScoresRow, list[_Cell]]]] = {"Measured here": [], "Published": []}
    for row, cells in rows:
        groups["Published" if row.is_published else "Measured here"].append((row, cells))
    filled = [(heading, found) for heading, found in groups.items() if found]
    return filled if len(filled) > 1 else [("", found) for _, found in filled]


def _cells(row: ScoresRow, best: Sequence[float | None]) -> list[_Cell]:
    def cell(value: float | None, interval: tuple[float, float] | None, top: float | None) -> _Cell:
        if value is None:
            return _Cell("–")
        between = "" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
        return _Cell(f"{100 * value:.1f}", between, is_best=round(value, 3) == top)

    intervals = row.intervals or (None,) * len(row.values)
    return [cell(*parts) for parts in zip(row.values, intervals, best, strict=True)]
