"""GoogLeNet (Szegedy et al. 2015, Inception v1), which timm does not have: torchvision's, in the form of timm's networks.

torchvision's has batch normalisation, and 3x3 kernels where the paper has 5x5; its weights were ported from TensorFlow's. The mean of
its last map (`features.pooled`) is pool5: 1,024 numbers per frame, as in STAT's frame features, whose weights are not named.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from torchvision.models import GoogLeNet, GoogLeNet_Weights

from stap.features.pretrained import fetch_torchvision
from stap.features.weights import load_weights
from stap.importers.weights import read_weights

__all__ = ["GoogLeNetMaps", "build_googlenet"]

NAME = "googlenet"
LEFT_OUT = ("aux1.", "aux2.")  # classifiers of the training


class GoogLeNetMaps(GoogLeNet):  # type: ignore[misc] # torchvision has no types
    """GoogLeNet up to its last map."""

    num_features = 1024
    # As timm describes its networks. torchvision's takes ImageNet's mean and deviation and turns them into these.
    pretrained_cfg = {  # noqa: RUF012 (timm reads a dictionary)
        "input_size": (3, 224, 224),
        "crop_pct": 0.875,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "classifier": "fc",
    }

    def __init__(self) -> None:
        super().__init__(aux_logits=False, init_weights=True)
        self.fc = nn.Identity()

    def forward_features(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, 1024, h, w): what `avgpool` takes the mean of."""
        maps = images
        for name, layer in self.named_children():
            if name == "avgpool":
                break
            maps = layer(maps)
        return maps


def build_googlenet(weights: str) -> nn.Module:
    """The network on the CPU.   weights: 'pretrained' (torchvision's, of ImageNet), 'random', or a file (see weights.py).

    Raises CheckpointError for the weights.
    """
    network = GoogLeNetMaps()
    if weights == "random":
        return network
    if weights == "pretrained":
        tensors = fetch_torchvision(GoogLeNet_Weights.IMAGENET1K_V1, name=NAME, setting="features.weights")
    else:
        tensors = read_weights(Path(weights))
    load_weights(
        network,
        tensors,
        network_name=NAME,
        source=weights,
        advice="Check features.backbone.",
        left_out=LEFT_OUT,
    )
    return network
