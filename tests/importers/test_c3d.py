"""C3D against plain loops on a narrow copy of it, and its published weights in every form."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from raising import error_of
from stap.errors import CheckpointError
from stap.features.networks import c3d
from stap.features.networks.c3d import C3D, convert_c3d, load_c3d

# The published shapes: conv1a ... fc8 of c3d_sport1m_feature_extractor_video.prototxt.
PUBLISHED = {
    "conv1": (64, 3, 3, 3, 3),
    "conv2": (128, 64, 3, 3, 3),
    "conv3a": (256, 128, 3, 3, 3),
    "conv3b": (256, 256, 3, 3, 3),
    "conv4a": (512, 256, 3, 3, 3),
    "conv4b": (512, 512, 3, 3, 3),
    "conv5a": (512, 512, 3, 3, 3),
    "conv5b": (512, 512, 3, 3, 3),
    "fc6": (4096, 8192),
    "fc7": (4096, 4096),
    "fc8": (487, 4096),
}
CAFFE = dict(
    zip(
        PUBLISHED,
        ["conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b", "fc6-1", "fc7-1", "fc8-1"],
        strict=True,
    )
)
FEATURES = dict(
    zip(
        PUBLISHED,
        [f"features.{k}" for k in (0, 3, 6, 8, 11, 13, 16, 18)] + [f"classifier.{k}" for k in (0, 3, 6)],
        strict=True,
    )
)
MMACTION = {ours: f"{name}.conv" if name.startswith("conv") else ours for ours, name in CAFFE.items()} | {
    "fc8": "cls_head.fc_cls"
}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> C3D:
    """The same network with a few channels: 3, 4, 5 ..., and 6 features."""
    widths = (3, 4, 5, 4, 5, 4, 5, 4, 5)
    monkeypatch.setattr(c3d, "CHANNELS", dict(zip(c3d.CHANNELS, pairwise(widths), strict=True)))
    monkeypatch.setattr(c3d, "POOLED", 5 * 16)
    monkeypatch.setattr(c3d, "FEATURES", 6)
    torch.manual_seed(4)
    network = C3D(classes=7).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)  # signals stay alive through ten layers
    return network


def convolved(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(C, T, H, W), padded by 1, kernel 3."""
    _, frames, height, width = x.shape
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (1, 1)])
    found = np.zeros((len(weight), frames, height, width))
    for t in range(3):
        for i in range(3):
            for j in range(3):
                part = padded[:, t : t + frames, i : i + height, j : j + width]
                found += np.tensordot(weight[:, :, t, i, j], part, axes=1)
    return np.maximum(found + bias[:, None, None, None], 0)


def pooled(x: np.ndarray, frames: int) -> np.ndarray:
    """Caffe's: windows of frames x 2 x 2 from 0 on, as many as begin inside; the last may be half empty."""
    channels, length, height, width = x.shape
    found = np.empty((channels, -(-length // frames), -(-height // 2), -(-width // 2)))
    for t, i, j in np.ndindex(*found.shape[1:]):
        found[:, t, i, j] = x[:, frames * t : frames * t + frames, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max((1, 2, 3))
    return found


def test_the_arithmetic_is_caffes(narrow: C3D) -> None:
    weights = {name: value.double().numpy() for name, value in narrow.state_dict().items()}
    clip = np.random.default_rng(1).standard_normal((3, 16, 112, 112))
    x = clip
    for name in PUBLISHED:
        if name.startswith("conv"):
            x = convolved(x, weights[f"{name}.weight"], weights[f"{name}.bias"])
            if name in ("conv1", "conv2", "conv3b", "conv4b", "conv5b"):
                x = pooled(x, 1 if name == "conv1" else 2)
    assert x.shape == (5, 1, 4, 4)
    fc6 = np.maximum(weights["fc6.weight"] @ x.ravel() + weights["fc6.bias"], 0)
    fc7 = np.maximum(weights["fc7.weight"] @ fc6 + weights["fc7.bias"], 0)
    logits = weights["fc8.weight"] @ fc7 + weights["fc8.bias"]
    assert 0 < (fc6 == 0).sum() < 6
    with torch.no_grad():
        for layer, expected in (("fc6", fc6), ("fc7", fc7), ("logits", logits)):
            found = narrow(torch.from_numpy(clip).float().unsqueeze(0), layer)[0].numpy()
            assert np.allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
            assert narrow.feature_size(layer) == len(expected)


def test_the_published_shapes() -> None:
    with torch.device("meta"):
        network = C3D()
    assert {
        name.removesuffix(".weight"): tuple(value.shape) for name, value in network.named_parameters() if "bias" not in name
    } == PUBLISHED


def renamed(network: C3D, names: dict[str, str]) -> dict[str, Tensor]:
    return {
        f"{names[name.rsplit('.')[0]]}.{name.rsplit('.')[1]}": value.clone() for name, value in network.state_dict().items()
    }


def assert_same(path: Path, expected: C3D) -> None:
    found, _ = load_c3d(path)
    theirs = expected.state_dict()
    assert found.state_dict().keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in found.state_dict().items())


@pytest.mark.parametrize(
    "names", [FEATURES, MMACTION, dict(zip(PUBLISHED, PUBLISHED, strict=True))], ids=["caffe port", "mmaction2", "own"]
)
def test_the_pytorch_ports(narrow: C3D, tmp_path: Path, names: dict[str, str]) -> None:
    torch.save({"state_dict": renamed(narrow, names)}, tmp_path / "c3d.pth")
    assert_same(tmp_path / "c3d.pth", narrow)


def test_mmactions_whole_recogniser(narrow: C3D, tmp_path: Path) -> None:
    names = {ours: name if ours == "fc8" else f"backbone.{name}" for ours, name in MMACTION.items()}
    torch.save(renamed(narrow, names), tmp_path / "c3d.pth")
    assert_same(tmp_path / "c3d.pth", narrow)


def test_weights_without_the_last_layer_have_no_logits(narrow: C3D, tmp_path: Path) -> None:
    weights = {name: value for name, value in narrow.state_dict().items() if not name.startswith("fc8")}
    safetensors.torch.save_file(weights, tmp_path / "c3d.safetensors")
    network, mean = load_c3d(tmp_path / "c3d.safetensors")
    assert (network.classes, mean) == (None, None)


def test_weights_and_their_mean_become_one_file(narrow: C3D, tmp_path: Path) -> None:
    port, out = tmp_path / "c3d.pth", tmp_path / "c3d.safetensors"
    torch.save(renamed(narrow, FEATURES), port)
    cube = np.random.default_rng(0).uniform(80, 120, (3, 16, 128, 171)).astype(np.float32)
    for array in (cube, cube[None].astype(np.float64)):
        np.save(tmp_path / "mean.npy", array)
        convert_c3d(port, out, tmp_path / "mean.npy")
        assert_same(out, narrow)
        found = load_c3d(out)[1]
        assert found is not None
        assert np.array_equal(found, cube)
    convert_c3d(out, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == out.read_bytes()


def message(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_c3d(path)
    return str(caught.value)


@pytest.mark.parametrize("name", ["conv3d_deepnetA_sport1m_iter_1900000", "c3d.caffemodel"])
def test_caffes_own_files_are_refused_with_the_names_of_ports(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"weights")
    assert message(tmp_path / name) == (
        f"{tmp_path / name}: Caffe's files are not read. Give a PyTorch port of the network; C3D's are in DavideA/c3d-pytorch, "
        "jfzhang95/pytorch-video-recognition and mmaction2."
    )


@pytest.mark.parametrize("content", [b"", b"mean.binaryproto", b"PK\x03\x04"])
def test_a_mean_that_is_no_array(narrow: C3D, tmp_path: Path, content: bytes) -> None:
    safetensors.torch.save_file(narrow.state_dict(), tmp_path / "c3d.safetensors")
    (tmp_path / "mean.npy").write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"mean.npy: cannot be read as a .npy array \(.+\)\. Save the mean with numpy.save\.$"
    ):
        convert_c3d(tmp_path / "c3d.safetensors", tmp_path / "out.safetensors", tmp_path / "mean.npy")


def test_all_differences_at_once(narrow: C3D, tmp_path: Path) -> None:
    weights = renamed(narrow, FEATURES)
    del weights["features.6.bias"]
    weights["classifier.3.weight"] = torch.zeros(2, 2)
    torch.save(weights, tmp_path / "c3d.pth")
    assert message(tmp_path / "c3d.pth") == (
        f"{tmp_path}/c3d.pth: these weights do not fit C3D: missing: conv3a.bias; of another shape: fc7.weight [2, 2] where [6, 6] "
        "is needed. Give weights of C3D, whole."
    )


def test_another_network(tmp_path: Path) -> None:
    torch.save({"layer1.0.conv1.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    assert message(tmp_path / "resnet.pth") == (
        f"{tmp_path}/resnet.pth: holds the weights of another network than C3D (its first tensors are layer1.0.conv1.weight). "
        "Expected c3d-pytorch, pytorch-video-recognition, mmaction2 or stap's own names."
    )


def test_a_mean_of_another_size(narrow: C3D, tmp_path: Path) -> None:
    safetensors.torch.save_file(narrow.state_dict(), tmp_path / "c3d.safetensors")
    np.save(tmp_path / "mean.npy", np.zeros((3, 16, 112, 112), dtype=np.float32))
    assert error_of(
        CheckpointError, convert_c3d, tmp_path / "c3d.safetensors", tmp_path / "out.safetensors", tmp_path / "mean.npy"
    ) == (
        f"{tmp_path}/mean.npy: the mean has the shape [3, 16, 112, 112], and [3, 16, 128, 171] (channels, frames, height, width) "
        "was expected."
    )
