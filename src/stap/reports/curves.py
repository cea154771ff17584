"""How a model learned: the curves of a run, from its metrics.json, for the report and as a figure for papers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stap.errors import CheckpointError
from stap.reports.charts import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["curves_figure", "pretraining_curves", "run_curves", "training_curves"]

Record = Mapping[str, Any]

_WIDTH, _HEIGHT = 3.4, 2.5  # inches: a column of a paper
_SCORES = {"CIDEr": "CIDEr (greedy)", "log-likelihood": "log-likelihood"}  # of the validations, and what they are called
_DASHES = ("-", "--", ":", "-.")


def run_curves(folder: Path) -> list[Curve]:
    """The curves of a folder that `stap train` or `stap pretrain` wrote.

    Raises CheckpointError if it has no metrics.json that can be read, or no finished epoch.
    """
    file = folder / "metrics.json"
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder. Expected one that `stap train` or `stap pretrain` wrote.")
    try:
        history = json.loads(file.read_text(encoding="utf-8"))["history"]
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


def curves_figure(curves: Sequence[Curve]) -> Figure:
    """The curves as a matplotlib figure: side by side, one chart for each kind of value."""
    from matplotlib.figure import Figure

    groups: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        if len(curve.x):
            groups.setdefault((curve.x_label, curve.y_label), []).append(curve)
    figure = Figure(figsize=(_WIDTH * len(groups), _HEIGHT), layout="constrained")
    for axes, group in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups.values(), strict=True):
        _draw(axes, group)
    return figure


def _draw(axes: Axes, curves: Sequence[Curve]) -> None:
    for index, curve in enumerate(curves):
        marker = "o" if len(curve.x) == 1 else None  # a line of one point cannot be seen
        axes.plot(curve.x, curve.y, _DASHES[index % len(_DASHES)], marker=marker, label=curve.name, linewidth=1.4)
    axes.set_xlabel(curves[0].x_label)
    axes.set_ylabel(curves[0].y_label)
    axes.locator_params(axis="x", integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", linewidth=0.4)
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize="small")


def _curve(
    name: str, records: Sequence[Record], values: Sequence[float], y_label: str, x_label: str = "epoch of training"
) -> Curve:
    return Curve(name, [record["epoch"] for record in records], values, x_label, y_label)
