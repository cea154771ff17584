"""Training curves as the page draws them: a line chart for each kind of value, as coordinates for inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Chart", "Curve", "Line", "Tick", "charts"]

WIDTH, HEIGHT = 420, 270
LEFT, RIGHT, TOP, BOTTOM = 50, 14, 14, 46  # pixels between the border of the chart and its axes


@dataclass(frozen=True)
class Curve:
    """A line: values y at x, such as a loss a training epoch. Curves with equal labels share a chart; a NaN leaves a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    x_label: str
    y_label: str

    def __post_init__(self) -> None:
        """Raise ValueError if x and y differ in length."""
        if len(self.x) != len(self.y):
            raise ValueError(f"curve {self.name!r} has {len(self.x)} x and {len(self.y)} y values.")


@dataclass(frozen=True)
class Tick:
    """A mark on an axis, in pixels, and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """A curve in pixels: the `d` of an SVG path, its lone points, and a sentence for those who do not see it."""

    name: str
    path: str
    points: tuple[tuple[float, float], ...]
    says: str


@dataclass(frozen=True)
class Chart:
    """A chart of one or more lines over common axes."""

    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def charts(curves: Sequence[Curve]) -> list[Chart]:
    """A chart for each pair of labels, in the order in which they first occur. A curve without any finite value is left out."""
    groups: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        if _finite(curve):
            groups.setdefault((curve.x_label, curve.y_label), []).append(curve)
    return [_chart(group) for group in groups.values()]


def _chart(curves: Sequence[Curve]) -> Chart:
    points = [point for curve in curves for point in _finite(curve)]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x_low, x_high = _widened(min(xs), max(xs))
    y_ticks = nice_ticks(*_widened(min(ys), max(ys)))
    y_low, y_high = min(y_ticks[0], min(ys)), max(y_ticks[-1], max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        down = TOP + (y_high - y) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        return round(across, 1), round(down, 1)

    x_ticks = [tick for tick in nice_ticks(x_low, x_high, most=6) if x_low <= tick <= x_high]
    return Chart(
        x_label=curves[0].x_label,
        y_label=curves[0].y_label,
        x_ticks=tuple(Tick(place(x, y_low)[0], _number(x)) for x in x_ticks),
        y_ticks=tuple(Tick(place(x_low, y)[1], _number(y)) for y in y_ticks),
        lines=tuple(_line(curve, [[place(x, y) for x, y in run] for run in _runs(curve)]) for curve in curves),
    )


def _line(curve: Curve, runs: Sequence[Sequence[tuple[float, float]]]) -> Line:
    path = " ".join("M" + " L".join(f"{x:g} {y:g}" for x, y in run) for run in runs if len(run) > 1)
    lone = tuple(run[0] for run in runs if len(run) == 1)
    (x_first, first), (x_last, last) = _finite(curve)[0], _finite(curve)[-1]
    says = f"{curve.name}: {curve.y_label} {first:.3g} at {curve.x_label} {x_first:g}, {last:.3g} at {curve.x_label} {x_last:g}"
    return Line(curve.name, path, lone, says)


def _runs(curve: Curve) -> list[list[tuple[float, float]]]:
    """The points of a curve, parted where a value is not finite."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(curve.x, curve.y, strict=True):
        if math.isfinite(x) and math.isfinite(y):
            runs[-1].append((float(x), float(y)))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _finite(curve: Curve) -> list[tuple[float, float]]:
    return [point for run in _runs(curve) for point in run]


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart), at most `most` + 1 of them, from just below low to just above high."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _widened(low: float, high: float) -> tuple[float, float]:
    """A range that is not empty: a single value gets room on both sides."""
    room = 0.0 if high > low else abs(low) / 2 or 0.5
    return low - room, high + room


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "−")
