"""The report: scores, clips with what the model looked at for each word, training curves, and how it was made, in one file.

`report.html` needs nothing beside it: pictures, style and script are inside, and it asks the network for nothing. It reads
on a phone, in the dark, with the keyboard alone and with a screen reader: whatever pointing at a word shows is also said in
a sentence and in a table.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt

from stap.errors import ShapeError, StapError
from stap.scoring.report_charts import Curve, charts
from stap.scoring.report_clips import clip_views

__all__ = ["ClipReport", "Curve", "Report", "ScoresRow", "ScoresTable", "write_report"]


@dataclass(frozen=True)
class ScoresRow:
    """One system in the table of scores."""

    name: str
    values: tuple[float | None, ...]
    """A fraction for each column; None where there is no value."""
    note: str = ""


@dataclass(frozen=True)
class ScoresTable:
    """Systems by metrics. Values are fractions and shown times 100; the best of each column is marked."""

    columns: tuple[str, ...]
    rows: tuple[ScoresRow, ...]
    caption: str = "Scores, times 100; higher is better."


@dataclass(frozen=True, eq=False)
class ClipReport:
    """One clip with its caption and what the model looked at. T frames, L words, R = rows x columns of the grid."""

    video_id: str
    caption_words: tuple[str, ...]  # (L,)
    references: tuple[str, ...]
    rgb_uint8: npt.NDArray[np.uint8]  # (T, height, width, 3)
    times_seconds: npt.NDArray[np.floating[Any]]  # (T,)
    word_attention: npt.NDArray[np.floating[Any]]  # (L, T): what each frame weighs for each word
    pooling_weights: npt.NDArray[np.floating[Any]] | None = None  # (T, R): what each place weighs in each frame
    grid: tuple[int, int] | None = None  # (rows, columns); needed with pooling_weights
    score: float | None = None
    """Log-probability of the caption."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Whatever else is worth knowing about the clip: name -> text, such as facts and which of them the caption recalls."""

    def __post_init__(self) -> None:
        """Raise ShapeError if the parts do not fit together."""
        T, L = len(self.rgb_uint8), len(self.caption_words)
        wanted: dict[str, tuple[Any, tuple[int, ...]]] = {
            "times_seconds": (self.times_seconds, (T,)),
            "word_attention": (self.word_attention, (L, T)),
        }
        if self.pooling_weights is not None:
            if self.grid is None:
                raise ShapeError(f"clip {self.video_id}: pooling_weights need the grid (rows, columns) that they lie on.")
            wanted["pooling_weights"] = (self.pooling_weights, (T, self.grid[0] * self.grid[1]))
        if self.rgb_uint8.ndim != 4 or self.rgb_uint8.shape[3] != 3 or self.rgb_uint8.dtype != np.uint8 or T == 0:
            raise ShapeError(
                f"clip {self.video_id}: rgb_uint8 must be (T, height, width, 3) of uint8 with at least one frame, "
                f"not {self.rgb_uint8.shape} of {self.rgb_uint8.dtype}."
            )
        for name, (array, shape) in wanted.items():
            if np.shape(array) != shape:
                raise ShapeError(
                    f"clip {self.video_id}: {name} must be {shape} for {T} frames and {L} words, not {np.shape(array)}."
                )


@dataclass(frozen=True, eq=False)
class Report:
    """Everything in a report. Parts that are empty are left out of the page."""

    title: str
    intro: str
    scores: ScoresTable | None = None
    clips: tuple[ClipReport, ...] = ()
    curves: tuple[Curve, ...] = ()
    how_made: Mapping[str, str] = field(default_factory=dict)


def write_report(path: str | Path, report: Report) -> None:
    """Write the report as one HTML file; `path` holds the whole of it, or what it held before.

    Raises StapError if the file cannot be written, ShapeError if a row of scores does not fit the columns.
    """
    html = (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            score_rows=_score_rows(report.scores) if report.scores else [],
            clips=clip_views(report.clips),
            charts=charts(report.curves),
        )
    )
    _replace(Path(path), html)


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _score_rows(table: ScoresTable) -> list[tuple[ScoresRow, list[tuple[str, bool]]]]:
    """Each row with the text of its cells and whether each is the best of its column."""
    for row in table.rows:
        if len(row.values) != len(table.columns):
            raise ShapeError(f"row {row.name!r} has {len(row.values)} values for {len(table.columns)} columns.")
    columns = list(zip(*(row.values for row in table.rows), strict=True))
    best = [max((round(value, 3) for value in column if value is not None), default=None) for column in columns]

    def cell(value: float | None, top: float | None) -> tuple[str, bool]:
        return ("–", False) if value is None else (f"{100 * value:.1f}", len(table.rows) > 1 and round(value, 3) == top)

    return [(row, [cell(value, top) for value, top in zip(row.values, best, strict=True)]) for row in table.rows]


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StapError(f"{path}: the report cannot be written ({error.strerror}). Name a file where you may write.") from error
