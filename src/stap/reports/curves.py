"""Training curves: read from the metrics.json of a run, and drawn for the report and for papers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stap.errors import CheckpointError
from stap.files import read_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "charts", "curves_figure", "description", "pretraining_curves", "run_curves", "training_curves"]

Record = Mapping[str, Any]

_WIDTH, _HEIGHT = 3.4, 2.5  # inches: a column of a paper
_SCORES = {"CIDEr": "CIDEr (greedy)", "log-likelihood": "log-likelihood"}  # of the validations, and what they are called
_COLOURS = ("#0a6b6b", "#c2410c", "#5b4bb7", "#8a6d00", "#a3195b", "#2f6f1f")  # those of the page
_DASHES = ("-", "--", ":", "-.")  # curves differ in black and white too


@dataclass(frozen=True)
class Curve:
    """A line: values y at x, such as the loss of each epoch. Curves with equal labels share a chart; a NaN leaves a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    x_label: str
    y_label: str

    def __post_init__(self) -> None:
        """Raise ValueError if x and y differ in length."""
        if len(self.x) != len(self.y):
            raise ValueError(f"curve {self.name!r} has {len(self.x)} x and {len(self.y)} y values.")

    @property
    def points(self) -> list[tuple[float, float]]:
        """The finite points."""
        return [(x, y) for x, y in zip(self.x, self.y, strict=True) if math.isfinite(x) and math.isfinite(y)]


def run_curves(folder: Path) -> list[Curve]:
    """The curves of a folder that `stap train` or `stap pretrain` wrote.

    Raises CheckpointError if it has no metrics.json that can be read, or no finished epoch.
    """
    file = folder / "metrics.json"
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder. Expected one that `stap train` or `stap pretrain` wrote.")
    try:
        history = read_json(file)["history"]
        found = pretraining_curves(history) if history and "recall" in history[0] else training_curves(history)
    except FileNotFoundError as error:
        raise CheckpointError(f"{file}: no such file. It is written after the first epoch of training.") from error
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{file}: not the history of a training. Copy the folder again, whole.") from error
    if not any(len(curve.x) for curve in found):
        raise CheckpointError(f"{file}: has no finished epoch. Train for one at least.")
    return found


def training_curves(history: Sequence[Record], name: str = "") -> list[Curve]:
    """Losses and validation scores over the epochs.   history: records as in metrics.json.   name: of the model, to tell several apart."""
    validated = [record for record in history if record["validation"]]
    scored = [record for record in history if record["scores"]]
    prefix = f"{name}, " if name else ""
    losses = [
        _curve(f"{prefix}training", history, [r["training"]["loss"] for r in history], "loss"),
        _curve(f"{prefix}validation", validated, [r["validation"]["loss"] for r in validated], "loss"),
    ]
    judged = [measure for measure in _SCORES if any(measure in record["scores"] for record in scored)]
    return losses + [
        _curve(
            name or "validation", scored, [r["scores"].get(measure, math.nan) for r in scored], f"validation {_SCORES[measure]}"
        )
        for measure in judged
    ]


def pretraining_curves(history: Sequence[Record]) -> list[Curve]:
    """The ranking loss and the recalls over the epochs of pretraining.   history: records as in its metrics.json."""
    label = "epoch of pretraining"
    names = list(history[-1]["recall"]) if history else []
    return [
        _curve("training", history, [record["loss"] for record in history], "ranking loss", label),
        *(_curve(name, history, [record["recall"][name] for record in history], "validation recall", label) for name in names),
    ]


def charts(curves: Sequence[Curve]) -> list[list[Curve]]:
    """The curves that share a chart, in the order in which their labels first occur; curves without a finite point are left out."""
    groups: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        if curve.points:
            groups.setdefault((curve.x_label, curve.y_label), []).append(curve)
    return list(groups.values())


def description(chart: Sequence[Curve]) -> str:
    """A chart in words, for those who do not see it: the first and the last value of each curve."""
    return ". ".join(_described(curve) for curve in chart)


def _described(curve: Curve) -> str:
    (x_first, first), (x_last, last) = curve.points[0], curve.points[-1]
    return f"{curve.name}: {curve.y_label} {first:.3g} at {curve.x_label} {x_first:g}, {last:.3g} at {curve.x_label} {x_last:g}"


def curves_figure(curves: Sequence[Curve]) -> Figure:
    """The curves as a matplotlib figure: side by side, one chart for each kind of value."""
    from matplotlib.figure import Figure

    groups = charts(curves)
    figure = Figure(figsize=(_WIDTH * len(groups), _HEIGHT), layout="constrained")
    for axes, group in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True):
        _draw(axes, group)
    return figure


def _draw(axes: Axes, curves: Sequence[Curve]) -> None:
    for index, curve in enumerate(curves):
        [line] = axes.plot(
            curve.x, curve.y, _DASHES[index % len(_DASHES)], color=_COLOURS[index % len(_COLOURS)], linewidth=1.4
        )
        line.set_label(_literal(curve.name))
        if lone := _lone(curve):
            line.set(marker="o", markersize=4, markevery=lone)
    axes.set_xlabel(_literal(curves[0].x_label))
    axes.set_ylabel(_literal(curves[0].y_label))
    axes.locator_params(axis="x", integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", linewidth=0.4)
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize="small")


def _literal(text: str) -> str:
    """Text that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")


def _lone(curve: Curve) -> list[int]:
    """The points without a finite neighbour, which no line joins: they get a marker."""
    finite = [False, *(math.isfinite(x) and math.isfinite(y) for x, y in zip(curve.x, curve.y, strict=True)), False]
    return [i - 1 for i in range(1, len(finite) - 1) if finite[i] and not finite[i - 1] and not finite[i + 1]]


def _curve(
    name: str, records: Sequence[Record], values: Sequence[float], y_label: str, x_label: str = "epoch of training"
) -> Curve:
    return Curve(name, [record["epoch"] for record in records], values, x_label, y_label)
