"""I3D: Inception v1 inflated to three dimensions (Carreira & Zisserman 2017, "Quo Vadis, Action Recognition?", figure 3).

Modules are named as the variable scopes of DeepMind's published checkpoints, and the arithmetic is TensorFlow's: padding SAME,
which may be one larger behind than before, in convolutions (zeros) and in max pooling (never chosen), and Sonnet's batch
normalisation (epsilon 0.001, a shift and no scale). For features only: nothing here is trained.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stap.features.weights import load_weights
from stap.importers.i3d import read_i3d

__all__ = ["I3D", "SHORTEST_CLIP", "SMALLEST_IMAGE", "load_i3d", "same_padding"]

# Channels of Branch_0, of both convolutions of Branch_1 and Branch_2, and of Branch_3.
MIXED = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}
FEATURES = 1024
POOL = (2, 7, 7)
SHORTEST_CLIP = 9  # frames, so that two time steps are left for the average pooling
SMALLEST_IMAGE = 193  # pixels, so that 7 x 7 places are left for it


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """What TensorFlow's SAME adds before and after an axis, so that ceil(size / stride) places come out."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _pad_same(x: Tensor, kernel: Sequence[int], stride: Sequence[int], value: float) -> Tensor:
    """x: (N, C, T, H, W)."""
    pads = [same_padding(*axis) for axis in zip(x.shape[2:], kernel, stride, strict=True)]
    flat = [side for pad in reversed(pads) for side in pad]  # F.pad begins with the last axis
    return F.pad(x, flat, value=value) if any(flat) else x


class SameConv3d(nn.Conv3d):
    """A convolution with TensorFlow's padding SAME."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, C', ceil(T / stride), ceil(H / stride), ceil(W / stride))."""
        return super().forward(_pad_same(input, self.kernel_size, self.stride, 0.0))


class SameMaxPool3d(nn.Module):
    """Max pooling with TensorFlow's padding SAME: what is added is never the largest."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, C, ceil(T / stride), ceil(H / stride), ceil(W / stride))."""
        return F.max_pool3d(_pad_same(x, self.kernel, self.stride, float("-inf")), self.kernel, self.stride)


class BatchNorm(nn.Module):
    """Sonnet's batch normalisation at test time: (x - moving mean) / sqrt(moving variance + 0.001) + beta."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(channels))
        self.moving_mean: Tensor
        self.moving_variance: Tensor
        self.register_buffer("moving_mean", torch.zeros(channels))
        self.register_buffer("moving_variance", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to the same."""
        ones = torch.ones_like(self.beta)  # not every backend takes a shift without a scale
        return F.batch_norm(x, self.moving_mean, self.moving_variance, ones, self.beta, eps=1e-3)


class Unit(nn.Module):
    """Unit3D of the published code: convolution, batch normalisation, ReLU; or, for the logits, a convolution with a bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, is_logits: bool = False) -> None:
        super().__init__()
        self.conv_3d = SameConv3d(inputs, outputs, kernel, stride, bias=is_logits)
        self.batch_norm = None if is_logits else BatchNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, C', T', H', W')."""
        x = self.conv_3d(x)
        return x if self.batch_norm is None else F.relu(self.batch_norm(x))


class Mixed(nn.Module):
    """An inception module: four branches over the same input, one behind the other in the channels."""

    def __init__(self, inputs: int, channels: Sequence[int], *, second_name: str = "Conv3d_0b_3x3") -> None:
        """second_name: of the 3x3x3 convolution in Branch_2, which Mixed_5b names otherwise in the published code."""
        super().__init__()
        c0, c1a, c1b, c2a, c2b, c3 = channels
        self.Branch_0 = _sequence(Conv3d_0a_1x1=Unit(inputs, c0, 1))
        self.Branch_1 = _sequence(Conv3d_0a_1x1=Unit(inputs, c1a, 1), Conv3d_0b_3x3=Unit(c1a, c1b, 3))
        self.Branch_2 = _sequence(Conv3d_0a_1x1=Unit(inputs, c2a, 1), **{second_name: Unit(c2a, c2b, 3)})
        pool = SameMaxPool3d((3, 3, 3), (1, 1, 1))
        self.Branch_3 = _sequence(MaxPool3d_0a_3x3=pool, Conv3d_0b_1x1=Unit(inputs, c3, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, C', T, H, W)."""
        return torch.cat([branch(x) for branch in self.children()], dim=1)


class I3D(nn.Module):
    """RGB clips to motion features.

    clips: (N, 3, T, S, S) with pixels in [-1, 1], T at least SHORTEST_CLIP and S at least SMALLEST_IMAGE (224 as published).
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.trunk = _trunk()
        self.Logits = _sequence(Conv3d_0c_1x1=Unit(FEATURES, classes, 1, is_logits=True))

    def forward(self, clips: Tensor, layer: Literal["logits", "pool"] = "logits") -> Tensor:
        """The logits (N, classes), before the softmax, or the features below them (N, 1024): the mean over the clip."""
        return self.head(self.trunk(clips), layer)

    def head(self, features: Tensor, layer: Literal["logits", "pool"] = "logits") -> Tensor:
        """features: (N, 1024, T', H, W), the output of Mixed_5c. Pools by 2 x 7 x 7, then averages over time."""
        pooled = F.avg_pool3d(features, POOL, stride=1)  # (N, 1024, T' - 1, H - 6, W - 6)
        return (self.Logits(pooled) if layer == "logits" else pooled).mean((2, 3, 4))

    def feature_size(self, layer: str) -> int:
        """D of a layer."""
        return self.classes if layer == "logits" else FEATURES


def _trunk() -> nn.Sequential:
    modules: dict[str, nn.Module] = {
        "Conv3d_1a_7x7": Unit(3, 64, 7, 2),
        "MaxPool3d_2a_3x3": SameMaxPool3d((1, 3, 3), (1, 2, 2)),
        "Conv3d_2b_1x1": Unit(64, 64, 1),
        "Conv3d_2c_3x3": Unit(64, 192, 3),
        "MaxPool3d_3a_3x3": SameMaxPool3d((1, 3, 3), (1, 2, 2)),
    }
    for name, (inputs, channels) in MIXED.items():
        if name == "Mixed_4b":
            modules["MaxPool3d_4a_3x3"] = SameMaxPool3d((3, 3, 3), (2, 2, 2))
        if name == "Mixed_5b":
            modules["MaxPool3d_5a_2x2"] = SameMaxPool3d((2, 2, 2), (2, 2, 2))
        modules[name] = Mixed(inputs, channels, second_name="Conv3d_0a_3x3" if name == "Mixed_5b" else "Conv3d_0b_3x3")
    return _sequence(**modules)


def _sequence(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


def load_i3d(path: Path) -> I3D:
    """The network with the weights of a file, in evaluation mode, for as many classes as the file has. Raises CheckpointError."""
    with torch.device("meta"):
        names = list(I3D(1).state_dict())
    weights = read_i3d(path, names)
    bias = weights.get("Logits.Conv3d_0c_1x1.conv_3d.bias")
    network = I3D(len(bias) if bias is not None and bias.ndim == 1 else 400)
    advice = "Give weights of the RGB I3D (inflated Inception v1), whole."
    load_weights(network, weights, network_name="I3D", source=str(path), advice=advice)
    return network.eval()
