"""Checkpoints as VSE++'s train.py writes them, with the true names: of Python 3, and of the Python 2 that wrote the published ones."""

from __future__ import annotations

import argparse
import pickle
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision

from raising import error_of
from stap.errors import CheckpointError
from stap.features.grid import GridExtractor
from stap.features.weights import weights_sha256
from stap.importers.weights import read_weights
from stap.recipes.settings import FeatureSettings


class Python2Pickler(pickle._Pickler):
    """Writes text as Python 2 did: bytes without a word on their encoding."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012 (its name is the parent's)

    def save_text(self, text: str) -> None:
        data = text.encode("ascii")
        self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
        self.memoize(text)

    dispatch[str] = save_text


def python2_pickle() -> types.ModuleType:
    def dump(content: object, file: Any, protocol: int = 2) -> None:
        Python2Pickler(file, protocol).dump(content)

    module = types.ModuleType("python2_pickle")
    module.Pickler, module.dump = Python2Pickler, dump  # type: ignore[attr-defined]
    return module


@pytest.fixture(scope="module")
def network() -> torchvision.models.ResNet:
    torch.manual_seed(1)
    return torchvision.models.resnet18(weights=None).eval()


def checkpoint_of(network: torch.nn.Module) -> dict[str, Any]:
    image_encoder = OrderedDict(
        (f"cnn.module.{name}", value) for name, value in network.state_dict().items() if not name.startswith("fc.")
    )
    image_encoder |= {"fc.weight": torch.randn(1024, 512), "fc.bias": torch.zeros(1024)}
    text_encoder = OrderedDict(torch.nn.GRU(300, 1024).state_dict())
    text_encoder = OrderedDict({"embed.weight": torch.randn(20, 300)} | {f"rnn.{k}": v for k, v in text_encoder.items()})
    options = argparse.Namespace(cnn_type="resnet18", finetune=True, margin=0.2, learning_rate=2e-05, crop_size=224)
    return {"epoch": 14, "model": [image_encoder, text_encoder], "best_rsum": 470.5, "opt": options, "Eiters": 39000}


def write(path: Path, checkpoint: object, form: str = "python 3") -> Path:
    if form == "python 3":
        torch.save(checkpoint, path)
    else:
        torch.save(checkpoint, path, pickle_module=python2_pickle(), pickle_protocol=2, _use_new_zipfile_serialization=False)
    return path


@pytest.mark.parametrize("form", ["python 3", "python 2"])
def test_the_grid_is_that_of_the_network_inside(network: torchvision.models.ResNet, tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "model_best.pth.tar", checkpoint_of(network), form)
    extractor = GridExtractor(FeatureSettings(backbone="resnet18", weights=str(path), image_size=64))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        body = torch.nn.Sequential(*list(network.children())[:-2])
        expected = body(images).flatten(2).transpose(1, 2)  # (2, 4, 512)
    assert torch.allclose(extractor(images), expected, rtol=1e-4, atol=1e-4)
    assert extractor.weights_file == path
    if form == "python 2":
        assert b"cnn.module.conv1.weight" in path.read_bytes()
        assert b"X\x17\x00\x00\x00cnn.module.conv1.weight" not in path.read_bytes()  # the way of Python 3


def test_a_network_that_is_not_under_dataparallel(network: torchvision.models.ResNet, tmp_path: Path) -> None:
    """As ports save it that train on one device."""
    checkpoint = checkpoint_of(network)
    image_encoder = {name.replace("module.", ""): value for name, value in checkpoint["model"][0].items()}
    path = write(tmp_path / "w.pth", checkpoint | {"model": [image_encoder, checkpoint["model"][1]]})
    assert read_weights(path).keys() == network.state_dict().keys() - {"fc.weight", "fc.bias"}


def test_a_run_on_precomputed_features_has_no_network(network: torchvision.models.ResNet, tmp_path: Path) -> None:
    projection = {"fc.weight": torch.zeros(1024, 4096), "fc.bias": torch.zeros(1024)}
    path = write(tmp_path / "model_best.pth.tar", checkpoint_of(network) | {"model": [projection, {}]})
    assert error_of(CheckpointError, read_weights, path) == (
        f"{path}: a VSE++ checkpoint without an image network (it has fc.bias, fc.weight), trained on precomputed features. "
        "Take a run that trained its network: among the published ones coco_vse++_resnet_restval_finetune."
    )


class Trap:
    """Runs on a careless `torch.load`."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.witness,)


def test_options_that_would_run_code_are_refused_unrun(network: torchvision.models.ResNet, tmp_path: Path) -> None:
    witness = tmp_path / "it ran"
    path = write(tmp_path / "model_best.pth.tar", checkpoint_of(network) | {"opt": argparse.Namespace(margin=Trap(witness))})
    with pytest.raises(CheckpointError, match=r"and such a file could run any code; refused\."):
        read_weights(path)
    assert not witness.exists()


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet152"])
def test_timm_s_resnets_have_torchvision_s_names_and_shapes(name: str) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)(weights=None).state_dict()
        ours = timm.create_model(name, pretrained=False).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}


@pytest.mark.slow
def test_torchvision_s_file_of_a_bottleneck_resnet(tmp_path: Path) -> None:
    """Where the stride is in a bottleneck does not show in names and shapes: the maps must agree."""
    torch.manual_seed(1)
    network = torchvision.models.resnet50(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "resnet50.pth")
    extractor = GridExtractor(
        FeatureSettings(backbone="resnet50.tv_in1k", weights=str(tmp_path / "resnet50.pth"), image_size=64)
    )
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = torch.nn.Sequential(*list(network.children())[:-2])(images).flatten(2).transpose(1, 2)
    assert torch.allclose(extractor(images), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    assert extractor.spec.fingerprint["weights_sha256"] == weights_sha256(extractor.network)
    assert extractor.spec.fingerprint["crop"] == 0.875
