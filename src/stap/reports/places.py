"""Where in a picture: the cells of a grid or the boxes of detected regions, what they weigh, and how that is said in words."""

from __future__ import annotations

import base64
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stap.errors import ShapeError

__all__ = ["CLEARLY", "Boxes", "Grid", "Places", "is_even", "packed", "stand_out", "where"]

Array = npt.NDArray[np.floating[Any]]
Box = tuple[float, float, float, float]
Segment = tuple[tuple[float, float], tuple[float, float]]

CLEARLY = 2.0  # a place is pointed out where it weighs at least this many even shares
_EVEN = 1e-4  # weights that differ by less are mean pooling
_MOST = 255


@dataclass(frozen=True)
class Grid:
    """Equal cells over the whole picture, row by row from the upper left."""

    rows: int
    columns: int

    def fit(self, frames: int) -> int:
        """R, the places of each frame."""
        return self.rows * self.columns

    def box(self, frame: int, place: int) -> Box:
        """Left, top, right, bottom of a place, as fractions of the picture."""
        row, column = divmod(place, self.columns)
        return column / self.columns, row / self.rows, (column + 1) / self.columns, (row + 1) / self.rows

    def outlines(self, frame: int, chosen: npt.NDArray[np.bool_]) -> list[Segment]:
        """Lines around the chosen places (R,); places side by side share one outline."""
        inside = np.pad(chosen.reshape(self.rows, self.columns), 1)
        upright = [((x, y), (x, y + 1)) for y, x in np.argwhere(inside[1:-1, 1:] != inside[1:-1, :-1])]
        level = [((x, y), (x + 1, y)) for y, x in np.argwhere(inside[1:, 1:-1] != inside[:-1, 1:-1])]
        return [((a / self.columns, b / self.rows), (c / self.columns, d / self.rows)) for (a, b), (c, d) in upright + level]

    def name(self, frame: int, place: int) -> str:
        """What is there: a grid does not know."""
        return ""

    def to_json(self) -> dict[str, Any]:
        """As the script of the page reads it."""
        return {"rows": self.rows, "columns": self.columns}


@dataclass(frozen=True, eq=False)
class Boxes:
    """Regions that a detector found: R boxes per frame, which may overlap. A box without area is padding.

    corners: (T, R, 4) left, top, right, bottom as fractions of the picture.   names: what each box holds, (T, R) words; or none.
    """

    corners: Array
    names: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        """Raise ShapeError unless corners are (T, R, 4) and names, if any, (T, R)."""
        if self.corners.ndim != 3 or self.corners.shape[2] != 4:
            raise ShapeError(f"boxes: corners must be (frames, boxes, 4), not {self.corners.shape}.")
        if self.names and [len(row) for row in self.names] != [self.corners.shape[1]] * len(self.corners):
            raise ShapeError(
                f"boxes: names must be given for each of the {self.corners.shape[:2]} (frames, boxes), or not at all."
            )

    def fit(self, frames: int) -> int:
        """R, the places of each frame. Raises ShapeError for another number of frames."""
        if len(self.corners) != frames:
            raise ShapeError(f"boxes: corners of {len(self.corners)} frames were given for {frames} frames.")
        return int(self.corners.shape[1])

    def box(self, frame: int, place: int) -> Box:
        """Left, top, right, bottom of a box, as fractions of the picture; never outside of it."""
        left, top, right, bottom = (min(1.0, max(0.0, float(value))) for value in self.corners[frame, place])
        return left, top, right, bottom

    def outlines(self, frame: int, chosen: npt.NDArray[np.bool_]) -> list[Segment]:
        """The four sides of each chosen box (R,) that has an area."""
        lines: list[Segment] = []
        for place in np.flatnonzero(chosen):
            left, top, right, bottom = self.box(frame, int(place))
            if right > left and bottom > top:
                corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
                lines += list(itertools.pairwise(corners))
        return lines

    def name(self, frame: int, place: int) -> str:
        """What the detector says is in the box, or nothing."""
        return self.names[frame][place] if self.names else ""

    def to_json(self) -> dict[str, Any]:
        """As the script of the page reads it: thousandths of the picture."""
        return {"boxes": np.round(1000 * np.clip(self.corners, 0, 1)).astype(int).tolist()}


Places = Grid | Boxes


def is_even(weights: Array) -> bool:
    """Whether every place weighs the same: (..., R) of a model that takes the mean."""
    return weights.shape[-1] == 1 or float(np.ptp(weights)) < _EVEN


def stand_out(weights: Array) -> npt.NDArray[np.bool_]:
    """Which of the places (R,) weigh at least twice an even share."""
    mean = float(weights.mean())
    return (weights >= CLEARLY * mean) & (mean > 0)


def packed(weights: Array) -> str:
    """Weights (..., R) as base64 of a byte each, in order: 255 is the greatest of its frame.

    The scale of a frame begins at 0, so that weights which hardly differ look as if they hardly differed.
    """
    top = weights.max(axis=-1, keepdims=True)
    scaled = np.divide(weights, top, out=np.zeros_like(weights, dtype=np.float64), where=top > 0)
    return base64.b64encode(np.round(_MOST * scaled).astype(np.uint8).tobytes()).decode()


def where(places: Places, frame: int, weights: Array) -> str:
    """Where in the picture the greatest of the weights (R,) lies: 'upper left', 'a dog at the centre'; nothing if none stands out."""
    place = int(np.argmax(weights))
    if len(weights) > 1 and not stand_out(weights)[place]:
        return ""
    left, top, right, bottom = places.box(frame, place)
    name, position = places.name(frame, place), _position((left + right) / 2, (top + bottom) / 2)
    return f"{name} at the {position}" if name else position


def _position(x: float, y: float) -> str:
    vertical, horizontal = _third(y, ("upper", "", "lower")), _third(x, ("left", "", "right"))
    if not vertical and not horizontal:
        return "centre"
    return f"{vertical} {horizontal or 'middle'}".strip()


def _third(fraction: float, names: tuple[str, str, str]) -> str:
    return names[min(2, max(0, math.floor(3 * fraction + 1e-9)))]
