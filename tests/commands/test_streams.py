"""Several kinds of features on the command line: extracted, imported, trained on, evaluated; and what cannot be done is said."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import pytest
import safetensors.torch
import torch

from stap.captioning.model_folder import load_run
from stap.cli import main
from stap.errors import VideoError
from stap.features.store import FeatureStore, VideoFeatures
from stap.recipes.streams import StreamSpec

Run = Callable[..., tuple[int, str, list[str]]]


class MotionStandIn:
    """Motion that cannot be had of one of the videos."""

    spec = StreamSpec.from_fingerprint("motion", {"kind": "motion", "feature_size": 2})
    weights_file = None

    def __init__(self, settings: object, device: object) -> None:
        pass

    def extract(self, path: str | Path) -> VideoFeatures:
        if Path(path).stem == "video3":
            raise VideoError(f"{path}: too short.")
        return VideoFeatures({"motion": torch.ones(2)})


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A command in this process: exit status, stdout, lines of stderr."""

    def command(*arguments: object) -> tuple[int, str, list[str]]:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return status, out, err.splitlines()

    return command


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve generated videos of 48 pixels, and weights of a tiny backbone beside them."""
    import timm

    folder = tmp_path_factory.mktemp("corpus")
    assert main(["scenes", str(folder / "scenes"), "--videos", "12", "--seed", "3", "--seconds", "1", "--pixels", "48"]) == 0
    torch.manual_seed(1)
    weights = timm.create_model("test_resnet", num_classes=0).state_dict()
    safetensors.torch.save_file(weights, folder / "backbone.safetensors")
    return folder


@pytest.fixture
def recipe(corpus: Path, tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"""
        name: small
        corpus: {{root: {corpus}/scenes}}
        features: {{backbone: test_resnet, weights: {corpus}/backbone.safetensors, frames: 4, image_size: 64, store: {tmp_path}/store}}
        model: {{hidden_size: 8, attention_size: 4, embedding_size: 4}}
        training: {{epochs: 1, batch_size: 8, best_by: log-likelihood}}
        decoding: {{beam_width: 1, max_words: 6}}
        """
    )
    return path


def test_extract_fills_every_store_and_lists_what_failed(run: Run, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("motion")
    module.MotionExtractor = MotionStandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stap.features.motion", module)
    status, out, said = run("extract", recipe, "motion={}")
    assert (status, out) == (1, "")
    *_, grid, motion, complaint = said
    assert grid.endswith(": grid 12 written, 0 already there, 0 failed.")
    assert motion.endswith(": motion 11 written, 0 already there, 1 failed.")
    assert complaint.startswith("stap: video3 (motion): ")
    assert complaint.endswith("video3.mp4: too short.")
    assert len(list((recipe.parent / "store").glob("*/extractor.json"))) == 2
    monkeypatch.setattr(MotionStandIn, "extract", lambda self, path: VideoFeatures({"motion": torch.ones(2)}))
    status, _, said = run("extract", recipe, "motion={}")
    assert status == 0
    assert [line.partition(": ")[2] for line in said[-2:]] == [
        "grid 0 written, 12 already there, 0 failed.",
        "motion 1 written, 11 already there, 0 failed.",
    ]
    status, out, said = run("train", recipe, "motion={}", "model.motion_size=2", "--out", recipe.parent / "run")
    assert status == 0, said
    assert load_run(recipe.parent / "run").streams.keys() == {"grid", "motion"}


def as_hdf5(store: Path, file: Path) -> None:
    [folder] = store.iterdir()
    features = FeatureStore.at(folder)
    with h5py.File(file, "w") as content:
        for video_id in features.video_ids():
            content[video_id] = features.read(video_id)["grid"].numpy()


@pytest.mark.slow
def test_imported_features_are_trained_on_and_evaluated_but_not_made_of_a_file(run: Run, recipe: Path, corpus: Path) -> None:
    folder = recipe.parent
    assert run("extract", recipe)[0] == 0
    as_hdf5(folder / "store", folder / "theirs.h5")
    status, out, said = run("import-features", folder / "theirs.h5", "--out", folder / "imported", "--stream", "grid")
    [store] = (folder / "imported").iterdir()
    assert (status, out) == (0, f"features.imported.grid={store}\n")
    assert said[-1] == f"{store}: 12 imported, 0 already there, 0 failed; grid (T, 4, 96)."
    assert run("extract", recipe, out.strip())[2] == ["nothing to extract: grid imported."]
    status, out, said = run("train", recipe, out.strip(), "--out", folder / "run")
    assert status == 0, said
    assert not (folder / "run" / "backbone.safetensors").exists()
    assert run("evaluate", "--model", folder / "run", "--split", "validation")[0] == 0
    video = next((corpus / "scenes").glob("TestVideo/*.mp4"))
    status, out, said = run("caption", video, "--model", folder / "run", "--device", "cpu")
    assert (status, out) == (1, "")
    assert said == [
        f"stap: {folder / 'run'}: trained on imported features (grid), which cannot be extracted from a video file. Use "
        "`stap evaluate` for clips with imported features, or train on features that stap extracts."
    ]


class MakesFolder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_what_cannot_be_imported_is_listed_and_the_status_is_1(run: Run, tmp_path: Path) -> None:
    import pickle

    import numpy as np

    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", np.ones((2, 3)))
    (tmp_path / "in" / "evil.pkl").write_bytes(pickle.dumps(MakesFolder(tmp_path / "was run")))
    status, out, said = run("import-features", tmp_path / "in", "--out", tmp_path / "out", "--stream", "frames")
    [store] = (tmp_path / "out").iterdir()
    assert (status, out) == (1, f"features.imported.frames={store}\n")
    assert said[-2:] == [
        f"{store}: 1 imported, 0 already there, 1 failed; frames (T, 3).",
        f"stap: evil.pkl: {tmp_path}/in/evil.pkl: not a pickle of plain arrays (it asks for posix.mkdir). Expected dictionaries, lists, "
        "strings, numbers and NumPy arrays of numbers only; nothing was run. Where you trust the file, write its arrays as .npy or HDF5.",
    ]
    assert not (tmp_path / "was run").exists()
