"""The extractors that a recipe names, and what a model folder must know of them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from raising import error_of
from stap.errors import ConfigError
from stap.features.extract import extract
from stap.features.extractor import (
    PackingExtractor,
    TwoStepExtractor,
    build_extractors,
    sections_to_extract,
    specs_of,
    weights_files,
)
from stap.features.grid import GridExtractor
from stap.features.store import FeatureStore, VideoFeatures
from stap.importers.weights import read_weights
from stap.recipes.files import load_recipe
from stap.recipes.settings import FeatureSettings, MotionSettings, Recipe, RegionSettings
from stap.recipes.streams import StreamSpec


class OneStep:
    """An extractor that has one step only: the least that the contract asks for."""

    stream = "motion"
    weights_file = None

    def __init__(self, settings: object = None, device: object = None) -> None:
        self.settings, self.device = settings, device
        self.spec = StreamSpec.from_fingerprint(self.stream, {"kind": self.stream, "feature_size": 2})

    def extract(self, path: str | Path) -> VideoFeatures:
        if "bad" in str(path):
            raise ZeroDivisionError("inside the decoder")
        return VideoFeatures({"motion": torch.tensor([1.0, len(Path(path).stem)])}, (f"{path}: a warning.",))


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the modules of the motion and region extractors."""
    for name, extractor in (("motion", "MotionExtractor"), ("regions", "RegionExtractor")):
        module = ModuleType(name)
        setattr(module, extractor, type(extractor, (OneStep,), {"stream": name}))
        monkeypatch.setitem(sys.modules, f"stap.features.{name}", module)


def names(*extractors: object) -> list[str]:
    return [type(extractor).__name__ for extractor in extractors]


def test_one_extractor_a_section(settings: FeatureSettings, modules: None) -> None:
    assert names(*build_extractors(Recipe(features=settings))) == ["GridExtractor"]
    motion = MotionSettings()
    found = build_extractors(Recipe(features=settings, motion=motion, regions=RegionSettings()), "cpu")
    assert names(*found) == ["GridExtractor", "MotionExtractor", "RegionExtractor"]
    assert (found[1].settings, found[1].device) == (motion, "cpu")  # type: ignore[attr-defined]
    assert list(specs_of(found)) == ["grid", "motion", "regions"]


@pytest.mark.parametrize(
    ("imported", "built"),
    [
        (["grid"], ["MotionExtractor", "RegionExtractor"]),
        (["frames"], ["MotionExtractor", "RegionExtractor"]),
        (["motion"], ["GridExtractor", "RegionExtractor"]),
        (["frames", "motion", "regions"], []),
    ],
)
def test_what_is_imported_is_not_built(settings: FeatureSettings, modules: None, imported: list[str], built: list[str]) -> None:
    features = settings.model_copy(update={"imported": dict.fromkeys(imported, Path("somewhere"))})
    assert names(*build_extractors(Recipe(features=features, motion=MotionSettings(), regions=RegionSettings()))) == built


@pytest.mark.parametrize("corpus", ["msvd", "msrvtt"])
def test_no_backbone_is_built_for_a_model_of_regions_alone(corpus: str, modules: None) -> None:
    """STAT on regions alone once cost the extraction of GoogLeNet features that it does not read."""
    recipe = load_recipe(f"{corpus}/stat-local-only")
    assert sections_to_extract(recipe) == ("regions",)
    assert names(*build_extractors(recipe)) == ["RegionExtractor"]


def test_a_backbone_is_expected_where_frames_are_read(settings: FeatureSettings) -> None:
    empty = settings.model_copy(update={"backbone": None})
    assert build_extractors(Recipe(features=empty)) == ()
    assert error_of(ConfigError, GridExtractor, empty) == (
        "features.backbone is empty: expected the network of the frames. Set it, e.g. features.backbone=resnet152."
    )


def test_two_extractors_of_one_stream_are_refused() -> None:
    assert (
        error_of(ConfigError, specs_of, [OneStep(), OneStep()])
        == "two extractors make the stream 'motion'. Leave one of their sections out of the recipe."
    )


def test_the_grid_extractor_fulfils_all_contracts(settings: FeatureSettings) -> None:
    extractor = GridExtractor(settings)
    assert isinstance(extractor, TwoStepExtractor)
    assert isinstance(extractor, PackingExtractor)
    assert not isinstance(OneStep(), TwoStepExtractor)
    assert weights_files([extractor, OneStep()]) == {"features": Path(settings.weights)}


def test_an_extractor_of_one_step_fills_a_store(tmp_path: Path) -> None:
    extractor = OneStep()
    store = FeatureStore(tmp_path, extractor.spec.fingerprint)
    items = [(name, Path(f"{name}.mp4")) for name in ("a", "bad", "ccc")]
    report = extract(items, extractor, store)
    assert (report.written, report.warnings) == (2, ("a.mp4: a warning.", "ccc.mp4: a warning."))
    assert report.failed == (("bad", "bad.mp4: ZeroDivisionError: inside the decoder"),)
    assert store.read("ccc")["motion"].tolist() == [1, 3]
    assert extract(items, extractor, store).already_there == 2


def test_weights_of_any_file_are_carried_by_name(tmp_path: Path) -> None:
    save_file({"stem.weight": torch.arange(3.0)}, tmp_path / "net.safetensors")
    torch.save({"state_dict": {"module.stem.weight": torch.arange(3.0)}}, tmp_path / "net.pth")
    for name in ("net.safetensors", "net.pth"):
        tensors = read_weights(tmp_path / name)
        assert {key: value.tolist() for key, value in tensors.items()} == {"stem.weight": [0, 1, 2]}


def test_pooled_frames_are_the_mean_of_the_grid(settings: FeatureSettings, clip: Any) -> None:
    grid, frames = GridExtractor(settings), GridExtractor(settings.model_copy(update={"pooled": True}))
    assert (grid.spec.stream, frames.spec.stream) == ("grid", "frames")
    path = clip("a.mp4")
    whole, pooled = grid.extract(path).arrays, frames.extract(path).arrays
    assert sorted(pooled) == ["frames", "times_seconds"]
    expected = np.mean(whole["grid"].numpy(), axis=1, dtype=np.float64)
    np.testing.assert_allclose(pooled["frames"].numpy(), expected, atol=1e-5)
    assert torch.equal(pooled["times_seconds"], whole["times_seconds"])
    differing = {
        key
        for key in grid.spec.fingerprint.keys() | frames.spec.fingerprint.keys()
        if grid.spec.fingerprint.get(key) != frames.spec.fingerprint.get(key)
    }
    assert differing == {"kind", "layer", "grid"}
    assert (frames.spec.fingerprint["kind"], frames.spec.fingerprint["layer"]) == (
        "frames",
        "last map, mean over its locations",
    )
    assert "grid" not in frames.spec.fingerprint


def test_pooled_frames_go_into_their_store(settings: FeatureSettings, clip: Any) -> None:
    extractor = GridExtractor(settings.model_copy(update={"pooled": True}))
    store = FeatureStore(settings.store, extractor.spec.fingerprint)
    videos = [(name, clip(f"{name}.mp4", frames=3, seed=number)) for number, name in enumerate("ab")]
    extract(videos, extractor, store)
    for video_id, path in videos:  # in one call of the network, each gets its own
        np.testing.assert_allclose(store.read(video_id)["frames"], extractor.extract(path).arrays["frames"], atol=1e-5)
