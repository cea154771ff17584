"""Several stores read as one: what is missing, misshapen or empty is named with its stream and its video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from raising import error_of
from stap.errors import FeatureError
from stap.features.imported import import_features
from stap.features.store import FeatureStore, VideoFeatures
from stap.features.streams import FeatureStreams, open_run_streams, open_streams
from stap.recipes.settings import FeatureSettings
from stap.recipes.streams import StreamSpec

GRID = {"kind": "grid", "grid": [2, 2], "feature_size": 3}
MOTION = {"kind": "motion", "feature_size": 5}
REGIONS = {"kind": "regions", "regions": 2, "feature_size": 4}
EXTRACT = "Run `stap extract` with the same recipe first."


def store_of(root: Path, made: dict[str, object], **arrays: Tensor) -> FeatureStore:
    store = FeatureStore(root, made)
    store.write("v", VideoFeatures({**arrays, "times_seconds": torch.arange(2.0)}))
    return store


@pytest.fixture
def streams(tmp_path: Path) -> FeatureStreams:
    regions, boxes = torch.rand(6, 2, 4), torch.rand(6, 2, 4)
    return FeatureStreams(
        {
            "grid": store_of(tmp_path, GRID, grid=torch.ones(3, 4, 3).half()),
            "motion": store_of(tmp_path, MOTION, motion=torch.ones(5)),
            "regions": store_of(tmp_path, REGIONS, regions=regions, boxes=boxes),
        }
    )


def test_a_video_has_all_streams_and_models_get_nothing_else(streams: FeatureStreams) -> None:
    read = streams.read("v")
    assert {name: (tuple(array.shape), array.dtype) for name, array in read.items()} == {
        "grid": ((3, 4, 3), torch.float16),
        "motion": ((5,), torch.float32),
        "regions": ((6, 2, 4), torch.float32),
    }
    assert sorted(streams.arrays("v")["regions"]) == ["boxes", "regions", "times_seconds"]
    assert {name: spec.fingerprint for name, spec in streams.specs.items()} == {
        "grid": GRID,
        "motion": MOTION,
        "regions": REGIONS,
    }
    assert streams.specs["grid"] == StreamSpec("grid", 3, grid=(2, 2), fingerprint=GRID)
    assert streams.specs["regions"].sizes == {"D": 4, "N": 2}
    assert streams.digest == {name: store.folder.name for name, store in streams.stores.items()}
    assert len(set(streams.digest.values())) == 3


def test_a_video_is_there_when_every_stream_is(streams: FeatureStreams) -> None:
    streams.stores["grid"].write("w", VideoFeatures({"grid": torch.ones(1, 4, 3)}))
    assert "v" in streams
    assert "w" not in streams
    streams.check_complete(["v"])
    with pytest.raises(FeatureError) as caught:
        streams.check_complete(["v", "w"])
    folder = streams.stores["motion"].folder
    assert str(caught.value) == f"{folder}: no features (stream motion) of 1 of 2 clips (w). {EXTRACT}"
    assert (
        error_of(FeatureError, streams.read, "w")
        == f"{folder}: no features of video 'w'. Run `stap extract` with this recipe first."
    )


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("grid", torch.ones(3, 4, 6), "v: stream grid has the shape (3, 4, 6), expected (T, 4, 3)."),
        ("grid", torch.ones(3, 9, 3), "v: stream grid has the shape (3, 9, 3), expected (T, 4, 3)."),
        ("grid", torch.ones(3, 3), "v: stream grid has the shape (3, 3), expected (T, 4, 3)."),
        ("motion", torch.ones(7), "v: stream motion has the shape (7,), expected (5,) or (T, 5)."),
        ("motion", torch.ones(2, 3, 5), "v: stream motion has the shape (2, 3, 5), expected (5,) or (T, 5)."),
        ("regions", torch.ones(6, 3, 4), "v: stream regions has the shape (6, 3, 4), expected (T, 2, 4)."),
        (
            "regions",
            torch.ones(6, 0, 4),
            "v: stream regions has the shape (6, 0, 4), which holds no region; expected (T, 2, 4) with at least one of each.",
        ),
        (
            "motion",
            torch.ones(0, 5),
            "v: stream motion has the shape (0, 5), which holds no frame; expected (T, 5) with at least one of each.",
        ),
        ("regions", torch.zeros(6, 2, 4), "v: stream regions, of shape (6, 2, 4), is 0 everywhere; expected features."),
    ],
)
def test_other_shapes_and_zeros_are_refused(streams: FeatureStreams, name: str, array: Tensor, message: str) -> None:
    streams.stores[name].write("v", VideoFeatures({name: array}))
    assert error_of(FeatureError, streams.read, "v") == f"{message} {EXTRACT}"


def test_zeros_in_some_places_are_features(streams: FeatureStreams) -> None:
    regions = torch.zeros(6, 2, 4)
    regions[5, 0, 0] = -1
    streams.stores["regions"].write("v", VideoFeatures({"regions": regions}))
    assert torch.equal(streams.read("v")["regions"], regions)


def test_a_store_without_the_stream_says_what_it_holds(streams: FeatureStreams) -> None:
    streams.stores["motion"].write("v", VideoFeatures({"vector": torch.ones(5)}))
    with pytest.raises(FeatureError) as caught:
        streams.read("v")
    folder = streams.stores["motion"].folder
    assert str(caught.value) == f"v: {folder} holds vector (5,) of it, and no stream 'motion'. {EXTRACT}"


class Made:
    """An extractor as far as opening goes."""

    weights_file = None

    def __init__(self, stream: str, fingerprint: dict[str, object]) -> None:
        self.spec = StreamSpec.from_fingerprint(stream, fingerprint)

    def extract(self, path: str | Path) -> VideoFeatures:
        raise AssertionError


def imported(folder: Path, value: float, width: int = 6) -> Path:
    """A store of imported frames."""
    np.save(folder / "v.npy", np.full((2, width), value))
    return import_features([folder / "v.npy"], folder / "imported", "frames").store.folder


def test_extracted_and_imported_streams_meet(tmp_path: Path) -> None:
    settings = FeatureSettings(store=tmp_path / "features", imported={"frames": imported(tmp_path, 2.0)})
    store_of(tmp_path / "features", MOTION, motion=torch.ones(5))
    streams = open_streams(settings, [Made("motion", MOTION)])
    assert {name: tuple(array.shape) for name, array in streams.read("v").items()} == {"motion": (5,), "frames": (2, 6)}
    again = open_run_streams(settings, streams.specs)
    assert again.digest == streams.digest
    (tmp_path / "features").rename(tmp_path / "moved")
    moved = open_run_streams(settings, streams.specs, tmp_path / "moved")
    assert torch.equal(moved.read("v")["motion"], torch.ones(5))


def test_other_imported_features_than_in_training_are_refused(tmp_path: Path) -> None:
    folder = imported(tmp_path, 2.0)
    fingerprint = open_streams(FeatureSettings(imported={"frames": folder}), []).specs
    other = imported(tmp_path, 3.0)
    with pytest.raises(FeatureError) as caught:
        open_run_streams(FeatureSettings(imported={"frames": other}), fingerprint)
    found, expected = (FeatureStore.at(path).fingerprint["source_sha256"] for path in (other, folder))
    assert str(caught.value) == (
        f'{other}: not the features (stream frames) that the model was trained on: source_sha256: expected "{expected}", found "{found}". '
        "Set features.imported.frames to the store that it was trained on."
    )


def test_missing_imported_features_say_how_to_get_them(tmp_path: Path) -> None:
    streams = open_streams(FeatureSettings(imported={"frames": imported(tmp_path, 2.0)}), [])
    assert error_of(FeatureError, streams.check_complete, ["v", "w"]) == (
        f"{streams.stores['frames'].folder}: no features (stream frames) of 1 of 2 clips (w). "
        "Check the source, and run `stap import-features` on it again."
    )
