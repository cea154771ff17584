"""The outlines of the shapes, as distances: negative inside, positive outside, in units of the shape's radius.

Exact distances matter only near the edge, where they become the soft edge of one pixel; further away any value of the right
sign does. x grows to the right and y downwards. Sizes are chosen so that all shapes of one radius look equally large.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DISTANCES", "EXTENT", "coverage"]

Array = NDArray[np.floating[Any]]

EXTENT = 1.3  # no shape reaches further from its centre, in radii


def _circle(x: Array, y: Array) -> Array:
    return np.hypot(x, y) - 1


def _ring(x: Array, y: Array) -> Array:
    return np.abs(np.hypot(x, y) - 0.8) - 0.27


def _square(x: Array, y: Array) -> Array:
    return np.maximum(np.abs(x), np.abs(y)) - 0.87


def _triangle(x: Array, y: Array) -> Array:
    return np.maximum(y, np.abs(x) * 0.8660254 - y * 0.5) - 0.62


def _cross(x: Array, y: Array) -> Array:
    x, y = np.abs(x), np.abs(y)
    bars = np.maximum(x - 1.08, y - 0.36), np.maximum(x - 0.36, y - 1.08)
    return np.asarray(np.minimum(*bars))


def _star(x: Array, y: Array) -> Array:
    """Five points; every tenth of the turn is folded onto one edge, from a point (1.28, 0) to a notch of radius 0.56."""
    tenth = np.pi / 5
    angle = np.abs(np.mod(np.arctan2(x, -y) + tenth, 2 * tenth) - tenth)
    radius = np.hypot(x, y)
    along, across = radius * np.cos(angle) - 1.28, radius * np.sin(angle)
    edge = np.array([0.56 * np.cos(tenth) - 1.28, 0.56 * np.sin(tenth)])
    edge /= np.hypot(*edge)
    return across * float(-edge[0]) + along * float(edge[1])


def _heart(x: Array, y: Array) -> Array:
    """A square on its tip, with a round on each of its upper sides."""
    y = y - 0.25
    side = 0.66
    left, right = (x - y) * 0.70710678, (-x - y) * 0.70710678  # along the two upper directions
    square = np.maximum(np.abs(left), np.abs(right)) - side
    rounds = np.minimum(np.hypot(left - side, right), np.hypot(left, right - side)) - side
    return np.minimum(square, rounds)


DISTANCES: Mapping[str, Callable[[Array, Array], Array]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "heart": _heart,
    "ring": _ring,
}


def coverage(shape: str, x: Array, y: Array, radius: Array, angle: Array) -> Array:
    """How much of each pixel the shape covers, 0 to 1.

    x, y: (T, h, w) pixel centres seen from the shape's centre, in pixels.   radius, angle: (T, 1, 1) pixels and radians.
    """
    cosine, sine = np.cos(angle) / radius, np.sin(angle) / radius
    distance = DISTANCES[shape](x * cosine + y * sine, y * cosine - x * sine)  # (T, h, w)
    return np.clip(0.5 - distance * radius, 0, 1)
