"""torchvision's video networks, built by name, with the preprocessing and the sampling that their weights were measured with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights, list_models

from stap.errors import CheckpointError
from stap.features.pretrained import fetch_torchvision
from stap.features.weights import load_weights
from stap.importers.weights import read_weights

__all__ = ["Sampling", "TorchvisionVideo", "known_networks", "load_torchvision", "sampling_of", "transforms_of"]

_HEADS = ("fc", "head", "classifier")


@dataclass(frozen=True)
class Sampling:
    """The clips that a network's published accuracy was measured with (the weights' documentation in torchvision)."""

    clip_frames: int
    frame_rate: float
    shortest: int  # frames that the network can take


class TorchvisionVideo(nn.Module):
    """One of torchvision's video networks, whose last layer may be left out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips: Tensor, layer: str = "pool") -> Tensor:
        """(N, 3, T, S, S) normalised to (N, D): the input of the last layer, averaged over what is left of the clip; or the logits."""
        if layer == "logits":
            return self.network(clips)  # type: ignore[no-any-return]
        found: list[Tensor] = []
        hook = _last_layer(self.network).register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
        try:
            self.network(clips)
        finally:
            hook.remove()
        features = found[0]
        return features if features.ndim == 2 else features.mean((2, 3, 4))

    def feature_size(self, layer: str) -> int:
        """D of a layer."""
        outputs, inputs = _last_layer(self.network).weight.shape[:2]
        return int(outputs if layer == "logits" else inputs)


def known_networks() -> list[str]:
    """The names of torchvision's video networks: r3d_18, mc3_18, r2plus1d_18, s3d, mvit_v2_s, swin3d_t ..."""
    return sorted(list_models(module=torchvision.models.video))


def load_torchvision(name: str, weights: str) -> TorchvisionVideo:
    """weights: 'pretrained' (torchvision's default, of Kinetics-400), 'random', or a file. Raises CheckpointError."""
    if weights == "random":
        return TorchvisionVideo(get_model(name, weights=None)).eval()
    if weights == "pretrained":
        tensors = fetch_torchvision(get_model_weights(name).DEFAULT, name=name, setting="motion.weights")
    else:
        tensors = read_weights(Path(weights))
    network = get_model(name, weights=None)
    classes = _classes(network, tensors, weights)
    if classes != _last_layer(network).weight.shape[0]:
        network = get_model(name, weights=None, num_classes=classes)
    load_weights(network, tensors, network_name=name, source=weights, advice="Check motion.network.")
    return TorchvisionVideo(network).eval()


def sampling_of(name: str) -> Sampling:
    """Clip length and frame rate of the published weights."""
    if name.startswith("mvit"):
        return Sampling(16, 7.5, 16)
    if name.startswith("swin3d"):
        return Sampling(32, 15, 2)
    if name == "s3d":
        return Sampling(128, 15, 14)
    return Sampling(16, 15, 1)


def transforms_of(name: str) -> Any:
    """The preset of the default weights, with resize_size, crop_size, mean and std."""
    return get_model_weights(name).DEFAULT.transforms()


def _last_layer(network: nn.Module) -> Any:
    head = network.get_submodule(next(name for name in _HEADS if hasattr(network, name)))
    return [module for module in head.modules() if isinstance(module, nn.Linear | nn.Conv3d)][-1]


def _classes(network: nn.Module, tensors: dict[str, Tensor], source: str) -> int:
    """How many classes the file has; the network's own number where it does not say."""
    last = _last_layer(network)
    name = next(name for name, module in network.named_modules() if module is last)
    bias = tensors.get(f"{name}.bias", last.bias)
    if bias.ndim != 1:
        raise CheckpointError(f"{source}: {name}.bias has {bias.ndim} axes, and one was expected. Check motion.network.")
    return len(bias)
