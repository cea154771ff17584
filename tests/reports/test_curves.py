"""Curves of a run: read from its metrics, drawn as they are."""

import json
import math
from pathlib import Path

import pytest

from raising import error_of
from stap.errors import CheckpointError
from stap.reports.curves import Curve, charts, curves_figure, run_curves, training_curves
from stap.reports.figures import svg_bytes


def record(epoch: int, loss: float, validation: float | None = None, **scores: float) -> dict[str, object]:
    return {
        "epoch": epoch,
        "training": {"loss": loss},
        "validation": {} if validation is None else {"loss": validation},
        "scores": scores,
    }


HISTORY = [record(1, 3.0), record(2, 2.0, 2.5, CIDEr=0.7), record(3, 1.5, 2.0), record(4, 1.0, 2.2, CIDEr=0.9)]


def values(curves):
    return [(curve.name, curve.x_label, curve.y_label, list(curve.x), list(curve.y)) for curve in curves]


def test_curves_of_a_training(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"best": HISTORY[3], "history": HISTORY}))
    assert values(run_curves(tmp_path)) == [
        ("training", "epoch of training", "loss", [1, 2, 3, 4], [3.0, 2.0, 1.5, 1.0]),
        ("validation", "epoch of training", "loss", [2, 3, 4], [2.5, 2.0, 2.2]),
        ("validation", "epoch of training", "validation CIDEr (greedy)", [2, 4], [0.7, 0.9]),
    ]


def test_curves_of_a_pretraining(tmp_path: Path) -> None:
    history = [{"epoch": e, "loss": 1 / e, "recall": {"R@1": 0.1 * e}} for e in (1, 2)]
    (tmp_path / "metrics.json").write_text(json.dumps({"history": history}))
    assert values(run_curves(tmp_path)) == [
        ("training", "epoch of pretraining", "ranking loss", [1, 2], [1.0, 0.5]),
        ("R@1", "epoch of pretraining", "validation recall", [1, 2], [0.1, 0.2]),
    ]


def test_other_scores_and_gaps() -> None:
    history = [record(1, 3.0, 2.5, **{"log-likelihood": -3.0}), record(2, 2.0, 2.4, **{"log-likelihood": -2.5}, CIDEr=0.5)]
    *_, cider, likelihood = training_curves(history, "A")
    assert (cider.name, cider.y_label, math.isnan(cider.y[0]), cider.y[1]) == ("A", "validation CIDEr (greedy)", True, 0.5)
    assert (likelihood.y_label, list(likelihood.y)) == ("validation log-likelihood", [-3.0, -2.5])


def test_the_figure_has_a_chart_for_each_kind_of_value() -> None:
    figure = curves_figure(training_curves(HISTORY))
    losses, scores = figure.axes
    assert (losses.get_ylabel(), scores.get_ylabel()) == ("loss", "validation CIDEr (greedy)")
    assert [list(map(float, line.get_ydata())) for line in losses.lines] == [[3.0, 2.0, 1.5, 1.0], [2.5, 2.0, 2.2]]
    assert [text.get_text() for text in losses.get_legend().get_texts()] == ["training", "validation"]
    assert scores.get_legend() is None
    assert len({line.get_linestyle() for line in losses.lines}) == 2  # they differ in black and white too


def test_points_that_no_line_joins_get_a_marker() -> None:
    nan = math.nan
    figure = curves_figure([Curve("a", range(6), [1.0, nan, 2.0, 3.0, nan, 4.0], "x", "y"), Curve("b", [0], [1.0], "x", "z")])
    marks = [[(line.get_marker(), line.get_markevery()) for line in axes.lines] for axes in figure.axes]
    assert marks == [[("o", [0, 5])], [("o", [0])]]
    assert [line.get_marker() for line in curves_figure(training_curves(HISTORY[:2])).axes[0].lines] == ["None", "o"]


def test_curves_without_a_finite_point_have_no_chart() -> None:
    assert charts([Curve("a", [0, 1], [math.nan, math.inf], "x", "y")]) == []


def test_a_curve_of_unequal_sides() -> None:
    with pytest.raises(ValueError, match=r"^curve 'a' has 2 x and 1 y values\.$"):
        Curve("a", [0, 1], [1.0], "x", "y")


def test_the_svg_holds_text_and_no_date_and_is_the_same_each_time() -> None:
    curves = [Curve("$loss$ <a>", [0, 1], [1.0, 2.0], "epoch", "a $ and a $")]
    content = svg_bytes(curves_figure(curves))
    assert content == svg_bytes(curves_figure(curves))
    svg = content.decode()
    assert ">a $ and a $</text>" in svg
    assert ">epoch</text>" in svg
    assert "dc:date" not in svg


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "{file}: no such file. It is written after the first epoch of training."),
        ("{", "{file}: not the history of a training. Copy the folder again, whole."),
        ('{"history": [1]}', "{file}: not the history of a training. Copy the folder again, whole."),
        ('{"history": []}', "{file}: has no finished epoch. Train for one at least."),
    ],
)
def test_folders_without_a_history(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "metrics.json"
    if content is not None:
        file.write_text(content)
    assert error_of(CheckpointError, run_curves, tmp_path) == message.format(file=file)


def test_no_folder(tmp_path: Path) -> None:
    error = error_of(CheckpointError, run_curves, tmp_path / "none")
    assert error == f"{tmp_path}/none: no such folder. Expected one that `stap train` or `stap pretrain` wrote."
