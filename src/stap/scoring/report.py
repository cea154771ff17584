"""The report: scores, clips with what the model looked at for each word, training curves, and how it was made, in one file.

`report.html` needs nothing beside it: pictures, style and script are inside, and it asks the network for nothing. It reads
on a phone, in the dark, with the keyboard alone and with a screen reader: whatever pointing at a word shows is also said in
a sentence and in a table.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt

from stap.errors import ShapeError, StapError
from stap.scoring.report_charts import Curve, charts
from stap.scoring.report_clips import clip_views
from stap.scoring.report_places import Boxes, Grid, Places

__all__ = ["Boxes", "ClipReport", "Curve", "Grid", "Report", "ScoresRow", "ScoresTable", "write_report"]


@dataclass(frozen=True)
class ScoresRow:
    """One system in the table of scores."""

    name: str
    values: tuple[float | None, ...]
    """A fraction for each column; None where there is no value."""
    note: str = ""
    is_published: bool = False
    """Whether the numbers come from a paper; such rows stand under a heading of their own, and the note says which paper."""
    intervals: tuple[tuple[float, float] | None, ...] = ()
    """The confidence interval of each value, as fractions; or none at all."""


@dataclass(frozen=True)
class ScoresTable:
    """Systems by metrics. Values are fractions and shown times 100; the best of each column is marked."""

    columns: tuple[str, ...]
    rows: tuple[ScoresRow, ...]
    caption: str = "Scores, times 100; higher is better."


@dataclass(frozen=True, eq=False)
class ClipReport:
    """One clip with its caption and what the model looked at. T frames, L words, R places in a frame.

    spatial_weights: what each place weighs in each frame, the same for all words (T, R), or for each word (L, T, R).
    places: what the R places are, a grid or boxes; given exactly when spatial_weights are.
    """

    video_id: str
    caption_words: tuple[str, ...]  # (L,)
    references: tuple[str, ...]
    rgb_uint8: npt.NDArray[np.uint8]  # (T, height, width, 3)
    times_seconds: npt.NDArray[np.floating[Any]]  # (T,)
    word_attention: npt.NDArray[np.floating[Any]]  # (L, T): what each frame weighs for each word
    spatial_weights: npt.NDArray[np.floating[Any]] | None = None
    places: Places | None = None
    score: float | None = None
    """Log-probability of the caption."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Whatever else is worth knowing about the clip: name -> text, such as facts and which of them the caption recalls."""

    def __post_init__(self) -> None:
        """Raise ShapeError if the parts do not fit together, ValueError for weights that are no weights."""
        T, L = len(self.rgb_uint8), len(self.caption_words)
        if self.rgb_uint8.ndim != 4 or self.rgb_uint8.shape[3] != 3 or self.rgb_uint8.dtype != np.uint8 or T == 0:
            raise ShapeError(
                f"clip {self.video_id}: rgb_uint8 must be (T, height, width, 3) of uint8 with at least one frame, "
                f"not {self.rgb_uint8.shape} of {self.rgb_uint8.dtype}."
            )
        self._check("times_seconds", self.times_seconds, (T,))
        self._check("word_attention", self.word_attention, (L, T))
        if (self.spatial_weights is None) != (self.places is None):
            raise ShapeError(
                f"clip {self.video_id}: spatial_weights and the places that they lie on belong together; one is missing."
            )
        if self.spatial_weights is not None and self.places is not None:
            R = self.places.fit(T)
            self._check("spatial_weights", self.spatial_weights, (L, T, R) if self.spatial_weights.ndim == 3 else (T, R))
        for name in ("word_attention", "spatial_weights"):
            weights = getattr(self, name)
            if weights is not None and not (np.isfinite(weights).all() and (weights >= 0).all()):
                raise ValueError(f"clip {self.video_id}: {name} must be finite and at least 0.")

    def _check(self, name: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
        if np.shape(array) != shape:
            T, L = len(self.rgb_uint8), len(self.caption_words)
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
            score_groups=_score_groups(report.scores) if report.scores else [],
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


@dataclass(frozen=True)
class _Cell:
    text: str
    interval: str = ""
    is_best: bool = False


def _score_groups(table: ScoresTable) -> list[tuple[str, list[tuple[ScoresRow, list[_Cell]]]]]:
    """The rows under their headings, each with its cells; no heading where there are no published rows or only those."""
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
