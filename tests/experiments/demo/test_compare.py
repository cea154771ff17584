"""The comparison, very small: every row is trained the same way, what is finished is kept, and the table holds what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import stap.experiments.demo
from stap.cli import main
from stap.errors import ConfigError
from stap.experiments.demo import DemoSize
from stap.experiments.demo.compare import COLUMNS, ROWS, SPREAD, Comparison, Row, RowOutcome, _row_size, compare, rows_named
from stap.experiments.demo.steps import demo_recipe
from stap.scenes import facts_recalled

TINY = DemoSize(
    "demo/quick",
    videos=40,
    overrides=(
        "features.backbone=test_resnet",
        "features.backbone_options={}",
        "features.image_size=48",
        "features.frames=4",
        "pretraining.epochs=1",
        "pretraining.batch_size=8",
        "pretraining.frames_per_video=2",
        "pretraining.joint_size=16",
    ),
)
ALIKE = (
    "model.hidden_size=16",
    "model.attention_size=8",
    "training.epochs=2",
    "training.best_by=log-likelihood",
    "training.validate_every=1",
    "decoding.beam_width=2",
)


class Told(list[str]):
    """The lines of progress; the first that begins with `stop_at` interrupts."""

    def __init__(self, stop_at: str | None = None) -> None:
        super().__init__()
        self.stop_at = stop_at

    def __call__(self, line: str) -> None:
        self.append(line)
        if self.stop_at and line.startswith(self.stop_at):
            raise KeyboardInterrupt


class Finished(NamedTuple):
    out: Path
    result: Comparison
    told: Told


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors this small only lose by more
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """All rows; the first attempt is stopped in the third row's training."""
    out, told = tmp_path_factory.mktemp("comparison"), Told()
    stopping = Told("Training and scoring STAT, places averaged")
    with pytest.raises(KeyboardInterrupt):
        compare(out, size=TINY, overrides=ALIKE, progress=stopping)
    told += stopping
    return Finished(out, compare(out, size=TINY, overrides=ALIKE, progress=told), told)


@pytest.mark.slow
def test_every_row_is_there_and_trained_once(finished: Finished) -> None:
    out, result, told = finished
    assert [outcome.key for outcome in result.outcomes] == [row.key for row in ROWS]
    assert sorted(path.name for path in (out / "rows").iterdir()) == sorted(row.key for row in ROWS)
    rows_epochs = [line for line in told if line.startswith("  epoch ") and "log-likelihood" in line]
    assert len(rows_epochs) == 2 * len(ROWS)
    assert all(tuple(outcome.values) == COLUMNS for outcome in result.outcomes)
    assert all((outcome.epochs, len(outcome.captions)) == (2, 5) for outcome in result.outcomes)


@pytest.mark.slow
def test_rows_differ_in_the_model_alone(finished: Finished) -> None:
    recipes = {row.key: json.loads((finished.out / "rows" / row.key / "config.json").read_text())["recipe"] for row in ROWS}
    models = {key: recipe.pop("model") for key, recipe in recipes.items()}
    assert all(recipe == recipes["lrcn"] for recipe in recipes.values())
    assert {key: model["kind"] for key, model in models.items() if not key.startswith("stat")} == {
        "lrcn": "lrcn", "lstap-mean": "lstap", "lstap-attention": "lstap", "lstap-stat": "lstap-stat",
    }  # fmt: skip
    for model in models.values():
        for name in ("hidden_size", "attention_size", "embedding_size", "dropout", "forget_bias"):
            assert model[name] == models["lrcn"][name]


@pytest.mark.slow
def test_values_are_shares_of_the_facts_of_the_test_videos(finished: Finished) -> None:
    facts = json.loads((finished.out / "corpus/facts.json").read_text())
    for outcome in finished.result.outcomes:
        for group, belongs in {
            "facts": lambda scene: True,
            "small": lambda scene: scene["small"],
            "large": lambda scene: not scene["small"],
            "brief": lambda scene: scene["brief"],
            "long": lambda scene: not scene["brief"],
        }.items():
            chosen = [(text, facts[clip]) for clip, text in outcome.captions.items() if belongs(facts[clip])]
            counts = [pair for text, scene in chosen for pair in facts_recalled(text, scene).values()]
            expected = sum(found for found, _ in counts) / sum(total for _, total in counts) if counts else None
            assert outcome.values[group] == expected
        events = [facts_recalled(text, facts[clip])["event"] for clip, text in outcome.captions.items()]
        assert outcome.values["event"] == sum(found for found, _ in events) / sum(total for _, total in events)


@pytest.mark.slow
def test_the_spread_is_between_one_and_all(finished: Finished) -> None:
    """Of 4 frames; LRCN and mean pooling take all places alike."""
    [rows, columns] = json.loads((finished.out / "rows/lrcn/features.json").read_text())["grid"]["grid"]
    for outcome in finished.result.outcomes:
        frames, places = outcome.spread["frames"], outcome.spread["places"]
        assert frames is None or 1 <= frames <= 4 + 1e-6  # None where so small a model says nothing
        chooses = outcome.key in ("stat", "lstap-attention", "lstap-stat")
        if outcome.key in ("lrcn", "lstap-mean"):
            assert places == pytest.approx(rows * columns, abs=1e-3)
        elif chooses:
            assert places is not None
            assert 1 < places < rows * columns
        else:
            assert places is None


@pytest.mark.slow
def test_the_files_hold_the_table(finished: Finished) -> None:
    out, result, _ = finished
    written = json.loads((out / "comparison.json").read_text())
    assert [RowOutcome(**row) for row in written["rows"]] == list(result.outcomes)
    assert (out / "comparison.md").read_text() == result.to_markdown()


@pytest.mark.slow
def test_the_command_finds_finished_rows(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stap.experiments.demo, "QUICK", replace(TINY, videos=9999))
    line = [
        "compare",
        "--out",
        str(finished.out),
        "--videos",
        "40",
        "--epochs",
        "2",
        "--rows",
        "lstap-stat,stat",
        "--device",
        "cpu",
    ]
    assert main([*line, *(setting for setting in ALIKE if "epochs" not in setting)]) == 0
    answer = capsys.readouterr()
    assert "  epoch " not in answer.err
    first, stat, ours = answer.out.splitlines()[:3]
    assert first.split() == [*COLUMNS, *SPREAD]
    assert (stat.split()[0], ours.startswith("L-STAP with STAT's attention ")) == ("STAT", True)


@pytest.mark.slow
def test_other_settings_in_the_same_folder_are_refused(finished: Finished) -> None:
    with pytest.raises(ConfigError, match=r"was begun with another recipe or other data: training.epochs: 3 here, 2 there"):
        compare(finished.out, size=TINY, rows=rows_named("lrcn"), overrides=(*ALIKE, "training.epochs=3"), progress=Told())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_each_row_is_the_demo_s_recipe_but_for_its_model(row: Row, tmp_path: Path) -> None:
    size = DemoSize("demo/quick", videos=1)
    recipe = demo_recipe(tmp_path, _row_size(size, row, ("training.epochs=3",)), seed=2)
    demo = demo_recipe(tmp_path, replace(size, overrides=("training.epochs=3",)), seed=2)
    assert recipe.model_copy(update={"model": demo.model}) == demo
    stat = recipe.model.stat
    watched = (recipe.model.kind, stat.global_from, stat.motion_from, stat.local_from, stat.local_pooling)
    assert watched == {
        "stat-temporal-only": ("stat", "grid", None, None, "attention"),
        "stat-without-local": ("stat", "grid", "differences", None, "attention"),
        "stat-averaged": ("stat", "grid", "differences", "grid", "mean"),
        "stat": ("stat", "grid", "differences", "grid", "attention"),
    }.get(row.key, (recipe.model.kind, "frames", "motion", "regions", "attention"))
    assert (stat.positions is None) == stat.mask_attention == row.key.startswith("stat")


def test_the_table_as_text_and_markdown() -> None:
    values = dict.fromkeys(COLUMNS, 0.5) | {"order": None, "CIDEr": 1.234}
    outcome = RowOutcome("lrcn", "LRCN", values, {"frames": 7.25, "places": None}, {}, 8, 6, 12345, 61.4)
    result = Comparison((outcome,), {"Recipe": "demo/quick"})
    assert str(result).splitlines() == [
        "       facts  colour   shape   event   order   small   large   brief    long   CIDEr  frames  places",
        "LRCN    50.0    50.0    50.0    50.0       -    50.0    50.0    50.0    50.0   123.4     7.2       -",
    ]
    markdown = result.to_markdown()
    assert (
        "| LRCN | 50.0 | 50.0 | 50.0 | 50.0 | - | 50.0 | 50.0 | 50.0 | 50.0 | 123.4 | 7.2 | - | 12,345 | 6 of 8 | 61 |\n"
        in markdown
    )
    assert markdown.endswith("\n- Recipe: demo/quick\n")


def test_rows_are_chosen_by_name() -> None:
    assert [row.key for row in rows_named("stat, lrcn")] == ["stat", "lrcn"]
    with pytest.raises(ConfigError) as caught:
        rows_named("stat,lrnc")
    assert str(caught.value) == (
        "lrnc: no such row. Choose among stat-temporal-only, stat-without-local, stat-averaged, stat, lrcn, lstap-mean, "
        "lstap-attention, lstap-stat, with commas between them."
    )
    with pytest.raises(ConfigError, match=r"^'': no such row"):
        rows_named("")


def test_a_wrong_setting_is_told_before_the_work(tmp_path: Path) -> None:
    told = Told()
    with pytest.raises(ConfigError, match=r"training\.epohcs: no such setting; did you mean epochs"):
        compare(tmp_path / "out", overrides=("training.epohcs=3",), progress=told)
    assert (told, (tmp_path / "out").exists()) == ([], False)
