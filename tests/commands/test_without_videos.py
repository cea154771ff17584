"""Captions and features without a single video file: what trains and scores needs no file, what decodes lists the missing ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stap.cli import main

Run = Callable[..., tuple[int, str, str]]
SPLITS = ("train", "train", "train", "validate", "test")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A command in this process: exit status, stdout, stderr."""

    def command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return command


@pytest.fixture
def recipe(run: Run, tmp_path: Path) -> Path:
    """A recipe for five clips of MSR-VTT's layout, of which there are captions and an imported grid."""
    videos = [{"video_id": f"video{k}", "split": split} for k, split in enumerate(SPLITS)]
    sentences = [{"video_id": video["video_id"], "caption": f"a {k} is seen"} for k, video in enumerate(videos)]
    (tmp_path / "videodatainfo.json").write_text(json.dumps({"videos": videos, "sentences": sentences}))
    (tmp_path / "arrays").mkdir()
    for k in range(len(SPLITS)):
        np.save(tmp_path / "arrays" / f"video{k}.npy", np.random.default_rng(k).random((3, 4, 6), dtype=np.float32))
    status, setting, said = run("import-features", tmp_path / "arrays", "--out", tmp_path / "imported", "--stream", "grid")
    assert status == 0, said
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"""
        corpus: {{root: {tmp_path}}}
        features: {{store: {tmp_path}/store, imported: {{grid: {setting.strip().partition("=")[2]}}}}}
        model: {{hidden_size: 8, attention_size: 4, embedding_size: 4}}
        training: {{epochs: 1, batch_size: 3, best_by: log-likelihood}}
        decoding: {{beam_width: 1, max_words: 6}}
        """
    )
    return path


@pytest.mark.slow
def test_imported_features_are_trained_on_evaluated_and_scored(run: Run, recipe: Path, tmp_path: Path) -> None:
    status, _, said = run("train", recipe, "--out", tmp_path / "run")
    assert status == 0, said
    report = ("--report", tmp_path / "report.html", "--out", tmp_path / "captions.json")
    status, out, said = run("evaluate", "--model", tmp_path / "run", *report)
    assert status == 0, said
    assert out.startswith(f"{tmp_path / 'run'}: 1 clips of split test\n")
    assert "No clips are shown: " in said
    assert "1 of 1 clips" not in said
    status, out, said = run("score", tmp_path / "captions.json", "msrvtt:test", "--captions", tmp_path, "--metrics", "bleu")
    assert status == 0, said
    assert not (tmp_path / "store").exists()


def test_extraction_lists_the_missing_files(run: Run, recipe: Path, tmp_path: Path) -> None:
    status, _, said = run("extract", recipe, "features.imported={}")
    names = ", ".join(f"{tmp_path}/video{k}.mp4" for k in range(3))
    assert (status, said.splitlines()[-1]) == (
        1,
        f"stap: {tmp_path}: 5 of 5 clips have no video file: {names} and 2 more. "
        "Put the files there, or set corpus.available_only=true to use only the clips that have one.",
    )
    assert run("extract", recipe) == (0, "", "nothing to extract: grid imported.\n")


@pytest.mark.slow
def test_available_only_trains_on_the_clips_with_features(run: Run, recipe: Path, tmp_path: Path) -> None:
    [store] = (tmp_path / "imported").iterdir()
    for video in ("video0", "video4"):
        (store / f"{video}.safetensors").unlink()
    status, _, said = run("train", recipe, "--out", tmp_path / "run")
    assert status == 1
    assert f"{store}: no features (stream grid) of 1 of 4 clips (video0). " in said
    status, _, said = run("train", recipe, "corpus.available_only=true", "--out", tmp_path / "run")
    assert status == 0, said
    assert run("evaluate", "--model", tmp_path / "run")[1:] == (
        "",
        f"stap: {tmp_path}: no clips in the split 'test'. Choose another split.\n",
    )
    assert run("evaluate", "--model", tmp_path / "run", "--split", "validation")[0] == 0


def test_another_store_that_does_not_exist_is_named_and_not_made(run: Run, recipe: Path, tmp_path: Path) -> None:
    settings = ("features.backbone=test_resnet", "features.weights=random", "features.image_size=64", "features.imported={}")
    status, _, said = run("train", recipe, *settings, "--out", tmp_path / "run")
    assert status == 1
    assert said == (
        f"stap: {tmp_path}/store: no such feature store (stream grid). Run `stap extract` first, or name the folder that it filled.\n"
    )
    assert not (tmp_path / "store").exists()


def test_a_store_that_does_not_exist_is_an_error_and_is_not_created(run: Run, recipe: Path, tmp_path: Path) -> None:
    assert run("train", recipe, "--out", tmp_path / "run")[0] == 0
    features, config = tmp_path / "run" / "features.json", tmp_path / "run" / "config.json"
    features.write_text(features.read_text().replace('"kind": "imported"', '"kind": "grid"'))
    settings = json.loads(config.read_text())
    settings["recipe"]["features"]["imported"] = {}
    config.write_text(json.dumps(settings))
    status, _, said = run("evaluate", "--model", tmp_path / "run", "--store", tmp_path / "typo")
    assert (status, said.splitlines()[-1]) == (
        1,
        f"stap: {tmp_path / 'typo'}: no such feature store (stream grid). Run `stap extract` first, or name the folder that it filled.",
    )
    assert not (tmp_path / "typo").exists()
