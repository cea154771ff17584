"""The table on generated scenes, very small: every row is trained the same way, and a finished one is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from stap.cli import main
from stap.errors import ConfigError
from stap.experiments.facts import FACT_COLUMNS
from stap.experiments.reproduce import scene_rows
from stap.experiments.reproduce.plan import make_plan
from stap.experiments.reproduce.request import Request, scene_recipe
from stap.experiments.reproduce.results import Reproduction, RowResult
from stap.experiments.reproduce.rows import Row
from stap.experiments.reproduce.run import reproduce
from stap.experiments.reproduce.runs import Outcome
from stap.experiments.reproduce.scene_rows import ROWS, SceneSize
from stap.experiments.reproduce.tables import TABLES, rows_named
from stap.scenes import facts_recalled
from tiny_scenes import TINY, Lines

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY_ROW = (
    "model.attention_size=8",
    "training.best_by=log-likelihood",
)


class Finished(NamedTuple):
    request: Request
    table: Reproduction
    lines: Lines

    def outcomes(self) -> dict[str, Outcome]:
        """The one outcome of each row."""
        return {result.row.key: result.outcomes[0] for result in self.table.rows}

    def folder(self, key: str) -> Path:
        return self.request.out / "rows" / key / "seed-1"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """All rows; the first attempt is stopped in the third row's training."""
    out, lines = tmp_path_factory.mktemp("scenes"), Lines()
    request = Request("scenes", out, rows_named("scenes"), overrides=EVERY_ROW, scenes=TINY)
    stopping = Lines("Row lstap-attention")
    with pytest.raises(KeyboardInterrupt):
        reproduce(request, say=stopping)
    lines += stopping
    return Finished(request, reproduce(request, say=lines), lines)


@pytest.mark.slow
def test_every_row_is_there_and_trained_once(finished: Finished) -> None:
    assert finished.table.is_complete
    assert list(finished.outcomes()) == [row.key for row in ROWS]
    assert sum(line.startswith("    epoch ") for line in finished.lines) == 2 * len(ROWS)
    for outcome in finished.outcomes().values():
        assert (outcome.epochs, outcome.clips["test"], tuple(outcome.facts)) == (2, 5, FACT_COLUMNS)
        assert {"BLEU-4", "METEOR", "ROUGE-L", "CIDEr"} <= set(outcome.scores)


@pytest.mark.slow
def test_rows_differ_in_the_model_alone(finished: Finished) -> None:
    recipes = {row.key: json.loads((finished.folder(row.key) / "config.json").read_text())["recipe"] for row in ROWS}
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
    facts = json.loads((finished.request.out / "corpus/facts.json").read_text())
    for key, outcome in finished.outcomes().items():
        captions = json.loads((finished.folder(key) / "captions.json").read_text())["captions"]
        counts = [facts_recalled(one["caption"], facts[one["video_id"]]) for one in captions]
        pairs = [pair for one in counts for pair in one.values()]
        assert outcome.value("facts") == sum(found for found, _ in pairs) / sum(total for _, total in pairs)
        events = [one["event"] for one in counts]
        assert outcome.value("event") == sum(found for found, _ in events) / sum(total for _, total in events)


@pytest.mark.slow
def test_effective_numbers_are_between_one_and_all(finished: Finished) -> None:
    """Of 4 frames, and of the places of the grid; only three rows choose among places."""
    [rows, columns] = json.loads((finished.folder("lrcn") / "features.json").read_text())["grid"]["grid"]
    for key, outcome in finished.outcomes().items():
        frames, places = outcome.value("frames"), outcome.value("places")
        assert frames is None or 1 <= frames <= 4 + 1e-6  # None where so small a model says nothing
        if key in ("stat", "lstap-attention", "lstap-stat"):
            assert places is not None
            assert 1 < places < rows * columns
        else:
            assert places is None or places == pytest.approx(rows * columns, abs=1e-3)


@pytest.mark.slow
def test_the_former_command_finds_finished_rows(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`stap compare` and `stap reproduce scenes` are one engine."""
    monkeypatch.setattr(scene_rows, "QUICK", replace(TINY, videos=9999))
    settings = [setting for setting in EVERY_ROW if "epochs" not in setting]
    shared = ["--out", str(finished.request.out), "--rows", "lstap-stat,stat", "--device", "cpu", *settings]
    assert main(["compare", "--videos", "40", "--epochs", "2", *shared]) == 0
    compared = capsys.readouterr()
    assert main(["reproduce", "scenes", "--data", "40", *shared, "training.epochs=2"]) == 0
    reproduced = capsys.readouterr()
    assert compared.out == reproduced.out
    assert "epoch 1/" not in compared.err + reproduced.err
    stat, ours = compared.out.splitlines()[1:3]
    assert (stat.split()[0], ours.startswith("L-STAP with STAT's attention ")) == ("STAT", True)


@pytest.mark.slow
def test_other_settings_in_the_same_folder_are_refused(finished: Finished) -> None:
    request = replace(finished.request, rows=rows_named("scenes", "lrcn"), overrides=(*EVERY_ROW, "training.epochs=3"))
    [result] = reproduce(request, say=Lines()).rows
    [error] = result.errors
    assert "was begun with another recipe or other data: training.epochs: " in error


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_each_row_is_the_recipe_but_for_its_model(row: Row, tmp_path: Path) -> None:
    size = SceneSize("demo/quick", videos=1)
    request = Request("scenes", tmp_path, (row,), overrides=("training.epochs=3",), seeds=(2,), scenes=size)
    recipe = request.recipes()[row.key]
    shared = scene_recipe(tmp_path, size, 2, ["training.epochs=3"])
    assert recipe.model_copy(update={"model": shared.model}) == shared
    stat = recipe.model.stat
    streams = (recipe.model.kind, stat.global_from, stat.motion_from, stat.local_from, stat.local_pooling)
    assert streams == {
        "stat-temporal-only": ("stat", "grid", None, None, "attention"),
        "stat-without-local": ("stat", "grid", "differences", None, "attention"),
        "stat-averaged": ("stat", "grid", "differences", "grid", "mean"),
        "stat": ("stat", "grid", "differences", "grid", "attention"),
    }.get(row.key, (recipe.model.kind, "frames", "motion", "regions", "attention"))
    assert (stat.positions is None) == stat.mask_attention == row.key.startswith("stat")


def test_what_rows_share_has_no_setting_of_a_model(tmp_path: Path) -> None:
    overrides = ("features.frames=4", "model.hidden_size=16", "pretraining.epochs=1")
    shared = Request("scenes", tmp_path, ROWS, overrides=overrides).shared_recipe()
    assert shared == scene_recipe(tmp_path, scene_rows.QUICK, 1, ["features.frames=4", "pretraining.epochs=1"])


def test_facts_scores_and_effective_numbers_in_one_table() -> None:
    facts = dict.fromkeys(FACT_COLUMNS, (1, 2)) | {"order": (0, 0)}
    scores = {"BLEU-4": 0.25, "METEOR": 0.3, "ROUGE-L": 0.4, "CIDEr": 1.234}
    outcomes = [
        Outcome(seed, scores, {"test": 5}, 8, 6, 12345, 61.4, facts, {"frames": 7.0 + seed, "places": None}) for seed in (0, 1)
    ]
    result = RowResult(ROWS[0], "demo/quick", (outcomes[0],), ("rows/lrcn/seed-0",))
    table = Reproduction("scenes", (result,), (), {"Recipe": "demo/quick"})
    heading, row = str(table).splitlines()
    assert heading.replace("two objects", "two").split() == [
        "facts", "colour", "shape", "event", "order", "two", "small", "large", "brief", "long",
        "BLEU-4", "METEOR", "ROUGE-L", "CIDEr", "frames", "places",
    ]  # fmt: skip
    assert row.split() == ["LRCN", *4 * ["50.0"], "–", *5 * ["50.0"], "25.0", "30.0", "40.0", "123.4", "7.0", "–"]
    two = replace(result, outcomes=tuple(outcomes), folders=("rows/lrcn/seed-0", "rows/lrcn/seed-1"))
    markdown = replace(table, rows=(two,)).to_markdown()
    assert "| 123.4 ± 0.0 | 7.5 ± 0.7 | – | 12,345 | 6 of 8, 6 of 8 | 61, 61 | 2 | seed 0: [folder]" in markdown
    assert "Others, as published" not in markdown + table.to_html()
    assert markdown.endswith("\n- Recipe: demo/quick\n")


def test_scenes_need_nothing(tmp_path: Path) -> None:
    plan = make_plan(Request("scenes", tmp_path / "out", rows_named("scenes"), scenes=TINY))
    text = str(plan)
    assert text.startswith(f"Generated scenes: 40 of 40 clips would be used, in {tmp_path / 'out'}\n")
    assert f"trained in {tmp_path / 'out/pretraining'}" in text
    assert text.endswith("Nothing is missing.")
    assert not (tmp_path / "out").exists()


def test_selections_of_rows() -> None:
    assert [row.key for row in rows_named("scenes", "stat, lrcn")] == ["lrcn", "stat"]
    assert rows_named("scenes") == TABLES["scenes"].rows
    assert [row.key for row in rows_named("scenes", "modern")] == ["lstap-stat"]
    with pytest.raises(ConfigError, match=r"^lrnc: no such row\. Did you mean lrcn\? Choose among papers, modern, all, lrcn, "):
        rows_named("scenes", "stat,lrnc")


def test_a_wrong_setting_or_option_is_refused_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["reproduce", "scenes", "--out", str(out), "training.epohcs=3"]) == 1
    assert "training.epohcs: no such setting; did you mean epochs" in capsys.readouterr().err
    assert main(["reproduce", "scenes", "--out", str(out), "--root", "data", "--other-counts"]) == 1
    assert capsys.readouterr().err == (
        "stap: --root, --other-counts: for an existing corpus; `stap reproduce scenes` generates its videos and trains their image encoder. "
        "Leave it out; --data N sets the number of videos.\n"
    )
    assert not out.exists()
