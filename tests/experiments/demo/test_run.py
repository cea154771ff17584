"""The demo, very small: everything it promises is there, what is finished is not done again, and an interruption costs nothing."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

import stap.experiments.demo
from raising import error_of
from stap.cli import main
from stap.errors import CorpusError
from stap.experiments.demo import FULL, QUICK, DemoResult, SceneSize, run_demo
from stap.experiments.reproduce import scenes
from stap.features import grid
from stap.recipes.files import load_recipe
from tiny_scenes import TINY, Lines

pytestmark = pytest.mark.usefixtures("one_thread")


class Finished(NamedTuple):
    out: Path
    result: DemoResult
    lines: Lines


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    out, lines = tmp_path_factory.mktemp("demo") / "my demo", Lines()
    return Finished(out, run_demo(out, size=TINY, compare=True, seed=3, progress=lines), lines)


@pytest.mark.slow
def test_everything_is_there(finished: Finished) -> None:
    out, result, lines = finished
    assert sorted(path.name for path in out.iterdir()) == [
        "corpus", "features", "lrcn", "metrics.json", "model", "pretraining", "report.html", "stages.json",
    ]  # fmt: skip
    assert result.model == out / "model"
    assert (out / "model" / "backbone.safetensors").is_file()
    assert [system.name for system in result.systems] == ["L-STAP", "LRCN", "most frequent caption"]
    assert all(len(system.captions) == 5 for system in result.systems)
    stages = ["scenes", "pretraining", "features", "training L-STAP", "training LRCN", "scoring", "report"]
    assert list(json.loads((out / "stages.json").read_text())) == list(result.seconds) == stages
    assert [line for line in lines if line.endswith("...")] == [
        f"Writing 40 generated videos to {out / 'corpus'} ...",
        "Training the image encoder by matching frames with sentences ...",
        "Extracting the features of 4 frames of each video ...",
        "Training L-STAP for 2 epochs ...",
        "Training LRCN for 2 epochs ...",
        "Captioning and scoring 5 test videos of combinations that training never showed ...",
        f"Writing {out / 'report.html'} ...",
    ]
    assert sum(line.startswith("  epoch ") for line in lines) == 6


@pytest.mark.slow
def test_only_test_videos_are_decoded_for_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of training and validation were decoded for the image encoder, if it was shown the same frames."""
    size = replace(TINY, overrides=(*TINY.overrides, "pretraining.frames_per_video=4"))
    decoded: list[str] = []
    sample = grid.sample_frames
    monkeypatch.setattr(
        grid, "sample_frames", lambda path, *given, **named: (decoded.append(path), sample(path, *given, **named))[1]
    )
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path, size=size, progress=Lines("Training L-STAP"))
    assert len(decoded) == len(set(map(str, decoded))) == 40


@pytest.mark.slow
def test_the_baseline_differs_in_the_kind_of_model_alone(finished: Finished) -> None:
    ours, baseline = (json.loads((finished.out / name / "config.json").read_text())["recipe"] for name in ("model", "lrcn"))
    assert (ours["model"]["kind"], baseline["model"]["kind"]) == ("lstap", "lrcn")
    ours["model"]["kind"] = baseline["model"]["kind"]
    assert ours == baseline


@pytest.mark.slow
def test_the_page_shows_captions_references_curves_and_times(finished: Finished) -> None:
    page = (finished.out / "report.html").read_text()
    for clip in finished.result.shown:
        assert clip.id in page
        assert all(reference in page for reference in clip.captions)
        assert finished.result.systems[1].captions[clip.id] in page
    for text in ("ranking loss", "validation CIDEr", "most frequent caption", "Time for training LRCN", "Facts recalled"):
        assert text in page, text


@pytest.mark.slow
def test_what_is_printed(finished: Finished) -> None:
    out, result, _ = finished
    text = str(result)
    first = result.shown[0]
    assert text.startswith(f"{first.id}: facts ")
    assert f"\n  L-STAP:    {result.systems[0].captions[first.id]}\n  LRCN:      " in text
    assert f"\n  reference: {first.captions[0]}\n             {first.captions[1]}\n" in text
    assert re.search(r"\n {15}L-STAP +LRCN  most frequent caption\nfacts +[\d.]+ +[\d.]+ +[\d.]+\n  colour ", text)
    assert re.search(r"\nSeconds: scenes \d+, pretraining \d+, .*, report \d+; \d+ in all\.\n", text)
    assert text.endswith(f"Model:   {out / 'model'}\nMetrics: {out / 'metrics.json'}\nReport:  {out / 'report.html'}")


@pytest.mark.slow
def test_the_metrics_are_the_numbers_of_the_table(finished: Finished) -> None:
    metrics = json.loads((finished.out / "metrics.json").read_text())
    assert (metrics["recipe"], metrics["seed"], metrics["seconds"]) == ("demo/quick", 3, dict(finished.result.seconds))
    assert metrics["clips"]["test"] == 5
    assert [system["name"] for system in metrics["systems"]] == ["L-STAP", "LRCN", "most frequent caption"]
    text = str(finished.result)
    for column in ("facts", "colour", "small", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr"):
        values = [
            system["facts"][column]["share"] if column in system["facts"] else system["scores"][column]
            for system in metrics["systems"]
        ]
        printed = ["-" if value is None else f"{100 * value:.1f}" for value in values]
        assert re.search(rf"\n *{column} +{' +'.join(map(re.escape, printed))}\n", text), column
    facts = metrics["systems"][0]["facts"]["facts"]
    assert facts["share"] == facts["recalled"] / facts["total"]


@pytest.mark.slow
def test_the_line_to_try_next_says_the_same_caption(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    line = shlex.split(finished.result.try_next)
    path = Path(line[1])
    assert path.parent == finished.out / "corpus" / "TestVideo"
    assert main([*line, "--device", "cpu"]) == 0
    assert capsys.readouterr().out == f"{path}\t{finished.result.systems[0].captions[path.stem]}\n"


@pytest.mark.slow
def test_a_finished_demo_is_found_by_the_command(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stap.experiments.demo, "QUICK", TINY)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    written = {path: path.stat().st_mtime_ns for path in finished.out.glob("*/**/*.safetensors")}
    assert main(["demo", "--out", str(finished.out), "--compare", "--seed", "3", "--device", "cpu"]) == 0
    answer = capsys.readouterr()
    assert "\n  epoch" not in answer.err
    assert {path: path.stat().st_mtime_ns for path in finished.out.glob("*/**/*.safetensors")} == written
    without_times = re.sub(r"Seconds: .*", "", str(finished.result))
    assert re.sub(r"Seconds: .*", "", answer.out) == f"\n{without_times}\n\nTry next:\n  stap {finished.result.try_next}\n"
    seconds = json.loads((finished.out / "stages.json").read_text())
    assert all(seconds[name] > before for name, before in finished.result.seconds.items())


@pytest.mark.slow
def test_a_finished_demo_is_found_where_it_was_moved_to(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, lines = tmp_path / "moved", Lines()
    monkeypatch.delattr(scenes, "pretrain")  # which would decode every video again
    shutil.copytree(finished.out, moved)
    result = run_demo(moved, size=TINY, compare=True, seed=3, progress=lines)
    assert not any(line.startswith("  epoch ") for line in lines)
    assert [one.captions for one in result.systems] == [one.captions for one in finished.result.systems]


@pytest.mark.slow
def test_an_interrupted_demo_is_finished_by_the_same_call(finished: Finished, tmp_path: Path) -> None:
    """Stopped in pretraining and again in training; the model is bit for bit that of the demo that was not stopped."""
    for stop_at in ("  epoch 1/2  ranking loss", "  epoch 1/2  loss"):
        with pytest.raises(KeyboardInterrupt):
            run_demo(tmp_path, size=TINY, seed=3, progress=Lines(stop_at))
    lines = Lines()
    result = run_demo(tmp_path, size=TINY, seed=3, progress=lines)
    assert sum(line.startswith("  epoch ") for line in lines) == 1
    assert [system.name for system in result.systems] == ["L-STAP", "most frequent caption"]
    for file in ("pretraining/backbone.safetensors", "model/model.safetensors"):
        assert (tmp_path / file).read_bytes() == (finished.out / file).read_bytes(), file


@pytest.mark.slow
def test_another_demo_in_the_same_folder_is_refused(finished: Finished) -> None:
    assert error_of(CorpusError, run_demo, finished.out, size=TINY, seed=4, progress=Lines()) == (
        f"{finished.out / 'corpus'}: holds other scenes (seed: 3 there, 4 wanted). Choose another folder or empty it."
    )


@pytest.mark.parametrize("size", [QUICK, FULL])
def test_both_sizes_have_a_recipe_for_l_stap(size: SceneSize) -> None:
    recipe = load_recipe(size.recipe)
    assert recipe.name == size.recipe
    assert recipe.model.kind == "lstap"
    assert recipe.pretraining.initial_weights == "random"  # the demo fetches nothing


def test_the_full_demo_is_larger() -> None:
    assert FULL.videos > QUICK.videos
