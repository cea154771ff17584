"""C3D (Tran et al. 2015, "Learning Spatiotemporal Features with 3D Convolutional Networks", section 3.2 and figure 3).

Eight convolutions of 3 x 3 x 3 and two fully connected layers of 4,096 over clips of 16 frames of 112 x 112 pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import safetensors.torch
import torch.nn.functional as F
from torch import Tensor, nn

from stap.features.weights import load_weights
from stap.importers.c3d import MEAN, read_c3d, read_mean

__all__ = ["C3D", "CLIP_FRAMES", "IMAGE_SIZE", "convert_c3d", "load_c3d"]

CLIP_FRAMES, IMAGE_SIZE = 16, 112
CHANNELS = {
    "conv1": (3, 64),
    "conv2": (64, 128),
    "conv3a": (128, 256),
    "conv3b": (256, 256),
    "conv4a": (256, 512),
    "conv4b": (512, 512),
    "conv5a": (512, 512),
    "conv5b": (512, 512),
}
POOL_AFTER = {"conv1": (1, 2, 2), "conv2": (2, 2, 2), "conv3b": (2, 2, 2), "conv4b": (2, 2, 2), "conv5b": (2, 2, 2)}
POOLED = 512 * 1 * 4 * 4  # channels, time, height, width of what the last pooling leaves
FEATURES = 4096


class C3D(nn.Module):
    """BGR clips to motion features.

    classes: of the last layer, or None where the weights have none (then there are no logits).
    Pooling rounds up, as Caffe's does: the last one takes 7 x 7 places to 4 x 4, and its windows at the right and lower edge are
    half empty. PyTorch ports pad on both sides instead, which shifts those windows by one place.
    """

    def __init__(self, classes: int | None = 487) -> None:
        super().__init__()
        self.classes = classes
        for name, (inputs, outputs) in CHANNELS.items():
            self.add_module(name, nn.Conv3d(inputs, outputs, 3, padding=1))
        self.fc6 = nn.Linear(POOLED, FEATURES)
        self.fc7 = nn.Linear(FEATURES, FEATURES)
        self.fc8 = None if classes is None else nn.Linear(FEATURES, classes)

    def forward(self, clips: Tensor, layer: Literal["fc6", "fc7", "logits"] = "fc6") -> Tensor:
        """(N, 3, 16, 112, 112), less the mean, to (N, 4096): fc6 or fc7 after their ReLU; or the logits (N, classes).

        Caffe computes the ReLU in place, so what its tools wrote as 'fc6-1' and 'fc7-1' is after it.
        """
        x = clips
        for name in CHANNELS:
            x = F.relu(self.get_submodule(name)(x))
            if name in POOL_AFTER:
                x = F.max_pool3d(x, POOL_AFTER[name], ceil_mode=True)
        x = F.relu(self.fc6(x.flatten(1)))
        if layer == "fc6":
            return x
        x = F.relu(self.fc7(x))
        if layer == "fc7":
            return x
        assert self.fc8 is not None, "the extractor offers no logits without fc8"
        return F.linear(x, self.fc8.weight, self.fc8.bias)

    def feature_size(self, layer: str) -> int:
        """D of a layer."""
        return self.classes or 0 if layer == "logits" else FEATURES


def load_c3d(path: Path) -> tuple[C3D, Tensor | None]:
    """The network with the weights of a file, in evaluation mode, and the mean of the training clips, if the file holds it.

    Raises CheckpointError.
    """
    weights, mean = read_c3d(path)
    bias = weights.get("fc8.bias")
    network = C3D(None if bias is None else bias.numel())
    load_weights(network, weights, network_name="C3D", source=str(path), advice="Give weights of C3D, whole.")
    return network.eval(), mean


def convert_c3d(weights: Path, out: Path, mean: Path | None = None) -> None:
    """Write weights of any known form, and the mean of the training clips, as one .safetensors file under stap's own names.

    mean: a .npy array of shape (3, 16, 128, 171) or (1, 3, 16, 128, 171), BGR, of pixels in 0..255; None keeps the mean that the
    weights hold.   Raises CheckpointError.
    """
    network, cube = load_c3d(weights)
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    if mean is not None:
        cube = read_mean(mean)
    safetensors.torch.save_file(tensors if cube is None else tensors | {MEAN: cube.contiguous()}, out)
