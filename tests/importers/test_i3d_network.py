"""I3D against DeepMind's arithmetic, written out in NumPy (float64), and against the published lists of variables."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from stap.features.networks.i3d import I3D, same_padding
from stap.importers.i3d import tensorflow_name
from stap.importers.tensorflow_checkpoint import TensorFlowCheckpoint

Weights = dict[str, np.ndarray]


def windows(x: np.ndarray, kernel: tuple[int, ...], stride: tuple[int, ...], fill: float) -> np.ndarray:
    """(T, H, W, C) to (T', H', W', C, kT, kH, kW), padded as tensorflow.org describes SAME."""
    pads = []
    for size, k, s in zip(x.shape, kernel, stride, strict=False):
        needed = max(k - s, 0) if size % s == 0 else max(k - size % s, 0)
        pads.append((needed // 2, needed - needed // 2))
    padded = np.pad(x, [*pads, (0, 0)], constant_values=fill)
    t, h, w = stride
    return sliding_window_view(padded, kernel, axis=(0, 1, 2))[::t, ::h, ::w]


def unit(x: np.ndarray, weights: Weights, name: str, stride: int = 1) -> np.ndarray:
    kernel = weights[f"{name}/conv_3d/w"].astype(np.float64)
    patches = windows(x, kernel.shape[:3], (stride,) * 3, 0.0)
    x = np.einsum("thwcijk,ijkcd->thwd", patches, kernel, optimize=True)
    mean, variance, beta = (weights[f"{name}/batch_norm/{key}"].ravel() for key in ("moving_mean", "moving_variance", "beta"))
    return np.maximum((x - mean) / np.sqrt(variance.astype(np.float64) + 1e-3) + beta, 0)


def pool(x: np.ndarray, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> np.ndarray:
    return windows(x, kernel, stride, -np.inf).max(axis=(-3, -2, -1))


def mixed(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    last = "Conv3d_0a_3x3" if name == "Mixed_5b" else "Conv3d_0b_3x3"
    branches = [
        unit(x, weights, f"{name}/Branch_0/Conv3d_0a_1x1"),
        unit(unit(x, weights, f"{name}/Branch_1/Conv3d_0a_1x1"), weights, f"{name}/Branch_1/Conv3d_0b_3x3"),
        unit(unit(x, weights, f"{name}/Branch_2/Conv3d_0a_1x1"), weights, f"{name}/Branch_2/{last}"),
        unit(pool(x, (3, 3, 3), (1, 1, 1)), weights, f"{name}/Branch_3/Conv3d_0b_1x1"),
    ]
    return np.concatenate(branches, axis=-1)


def trunk(x: np.ndarray, weights: Weights) -> np.ndarray:
    """The published code, line by line, up to Mixed_5c.   x: (T, H, W, 3)."""
    x = pool(unit(x, weights, "Conv3d_1a_7x7", 2), (1, 3, 3), (1, 2, 2))
    x = unit(unit(x, weights, "Conv3d_2b_1x1"), weights, "Conv3d_2c_3x3")
    x = pool(x, (1, 3, 3), (1, 2, 2))
    x = mixed(mixed(x, weights, "Mixed_3b"), weights, "Mixed_3c")
    x = pool(x, (3, 3, 3), (2, 2, 2))
    for letter in "bcdef":
        x = mixed(x, weights, f"Mixed_4{letter}")
    x = pool(x, (2, 2, 2), (2, 2, 2))
    return mixed(mixed(x, weights, "Mixed_5b"), weights, "Mixed_5c")


@pytest.mark.parametrize("size", [(9, 32, 32), (16, 45, 33)], ids=str)
def test_the_trunk_is_deepminds_arithmetic(i3d_weights: Weights, i3d: I3D, size: tuple[int, int, int]) -> None:
    clip = np.random.default_rng(1).uniform(-1, 1, (*size, 3))
    expected = trunk(clip, i3d_weights)
    with torch.no_grad():
        found = i3d.trunk(torch.from_numpy(clip).float().permute(3, 0, 1, 2).unsqueeze(0))[0].permute(1, 2, 3, 0).numpy()
    assert (
        found.shape
        == expected.shape
        == (*(-(-length // divisor) for length, divisor in zip(size, (8, 32, 32), strict=True)), 1024)
    )
    assert 0.1 < expected.std() < 10
    assert np.abs(found - expected).max() < 2e-5 * np.abs(expected).max()


@pytest.mark.parametrize("shape", [(2, 7, 7), (4, 7, 7), (3, 8, 9)], ids=str)
def test_the_head_pools_then_averages_logits_over_time(i3d_weights: Weights, i3d: I3D, shape: tuple[int, int, int]) -> None:
    features = np.random.default_rng(2).uniform(0, 1, (*shape, 1024))
    pooled = sliding_window_view(features, (2, 7, 7), axis=(0, 1, 2)).mean(axis=(-3, -2, -1))  # VALID
    kernel, bias = (i3d_weights[f"Logits/Conv3d_0c_1x1/conv_3d/{key}"].astype(np.float64) for key in "wb")
    logits = (pooled @ kernel[0, 0, 0] + bias).mean((0, 1, 2))
    given = torch.from_numpy(features).float().permute(3, 0, 1, 2).unsqueeze(0)
    with torch.no_grad():
        assert np.allclose(i3d.head(given)[0].numpy(), logits, atol=1e-5)
        assert np.allclose(i3d.head(given, "pool")[0].numpy(), pooled.mean((0, 1, 2)), atol=1e-6)


@pytest.mark.slow
def test_a_whole_clip_of_the_smallest_size(i3d: I3D) -> None:
    clip = torch.rand(1, 3, 9, 193, 193) * 2 - 1
    with torch.no_grad():
        assert i3d(clip).shape == (1, 600)
        with pytest.raises(RuntimeError, match="smaller than kernel size"):
            i3d(clip[:, :, :8])
        with pytest.raises(RuntimeError, match="smaller than kernel size"):
            i3d(clip[..., :192])


@pytest.mark.parametrize(("checkpoint", "classes"), [("rgb_imagenet", 400), ("rgb_scratch_kin600", 600)])
def test_names_and_shapes_are_those_of_the_published_checkpoints(stap_data: Path, checkpoint: str, classes: int) -> None:
    index = TensorFlowCheckpoint(stap_data / "i3d" / f"{checkpoint}.model.ckpt.index").variables
    published = {
        name.removeprefix("RGB/inception_i3d/"): variable.shape
        for name, variable in index.items()
        if not name.endswith("/Momentum")
    }
    with torch.device("meta"):
        network = I3D(classes)
    ours = {}
    for name, value in network.state_dict().items():
        shape = tuple(value.permute(2, 3, 4, 1, 0).shape) if value.ndim == 5 else tuple(value.shape)
        is_norm_of_600 = ".batch_norm." in name and classes == 600  # written with four axes of 1 in front
        ours[tensorflow_name(name)] = (1, 1, 1, 1, *shape) if is_norm_of_600 else shape
    assert ours == published


def test_same_padding_gives_every_window_and_no_more() -> None:
    """The definition: ceil(size / stride) windows, as little padding as they need, and at most one more behind than before."""
    for size, kernel, stride in product(range(1, 12), range(1, 8), range(1, 4)):
        before, after = same_padding(size, kernel, stride)
        places = -(-size // stride)
        assert (before + size + after - kernel) // stride + 1 >= places
        assert after - before in (0, 1)
        if before + after:
            assert before + size + after == (places - 1) * stride + kernel


def test_what_pads_a_pooling_is_never_the_largest(i3d: I3D) -> None:
    x = -torch.ones(1, 2, 3, 4, 5)
    assert torch.equal(i3d.trunk.Mixed_3b.Branch_3[0](x), x)
