"""C3D's published weights: the Caffe model trained on Sports-1M, and the usual PyTorch ports of it.

| form | names |
|---|---|
| stap, DavideA/c3d-pytorch (c3d.pickle) and checkpoints of jfzhang95/pytorch-video-recognition | conv1, conv2, conv3a ... fc6, fc7, fc8 |
| jfzhang95/pytorch-video-recognition (ucf101-caffe.pth) | features.0, features.3 ... classifier.0, classifier.3, classifier.6 |
| open-mmlab/mmaction2 | conv1a.conv, conv2a.conv ... fc6, fc7, with or without backbone. before them; cls_head.fc_cls |
| facebookarchive/C3D (Caffe, version 1.0) | conv1a, conv2a ... fc6-1, fc7-1, fc8-1 |
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from stap.errors import CheckpointError
from stap.features.networks.c3d import C3D, CHANNELS, MEAN_SHAPE
from stap.features.weights import read_weights
from stap.importers.caffe import read_blob
from stap.importers.importing import fill

__all__ = ["MEAN", "convert_c3d", "load_c3d"]

MEAN = "mean_cube"  # name of the mean of Sports-1M beside the weights, (3, 16, 128, 171), BGR, of pixels in 0..255
FORMS = "C3D's Caffe model, c3d-pytorch, pytorch-video-recognition, mmaction2 or stap's own names"
_LAYERS = (*CHANNELS, "fc6", "fc7", "fc8")
_FEATURES = (*(f"features.{place}" for place in (0, 3, 6, 8, 11, 13, 16, 18)), "classifier.0", "classifier.3", "classifier.6")
_CAFFE = ("conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b", "fc6-1", "fc7-1", "fc8-1")
_MMACTION = (*(f"{name}.conv" for name in _CAFFE[:8]), "fc6", "fc7", "cls_head.fc_cls")
_MMACTION_WHOLE = (*(f"backbone.{name}" for name in _MMACTION[:10]), "cls_head.fc_cls")


def load_c3d(path: Path) -> tuple[C3D, Tensor | None]:
    """The network with the weights of a file, and the mean cube that the file holds beside them, if it does.

    Raises CheckpointError.
    """
    weights = _own_names(read_weights(path), str(path))
    mean = weights.pop(MEAN, None)
    if mean is not None and mean.shape != MEAN_SHAPE:
        raise CheckpointError(f"{path}: {MEAN} has the shape {list(mean.shape)}, and {list(MEAN_SHAPE)} was expected.")
    bias = weights.get("fc8.bias")
    network = C3D(None if bias is None else bias.numel())
    fill(network, weights, network_name="C3D", source=str(path), advice="Give weights of C3D, whole.")
    return network.eval(), None if mean is None else mean.float()


def convert_c3d(weights: Path, out: Path, mean: Path | None = None) -> None:
    """Write weights of any known form, and the mean of the training clips, as one .safetensors file under stap's own names.

    mean: Caffe's .binaryproto, or a .npy array, of shape (3, 16, 128, 171) or (1, 3, 16, 128, 171), BGR.
    Raises CheckpointError.
    """
    network, found = load_c3d(weights)
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    cube = found if mean is None else _read_mean(mean)
    safetensors.torch.save_file(tensors if cube is None else tensors | {MEAN: cube.contiguous()}, out)


def _read_mean(path: Path) -> Tensor:
    if path.suffix == ".npy":
        try:
            cube = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path}: cannot be read as a .npy array ({error}).") from error
    else:
        cube = read_blob(path)
    if cube.shape not in (MEAN_SHAPE, (1, *MEAN_SHAPE)):
        raise CheckpointError(
            f"{path}: the mean has the shape {list(cube.shape)}, and {list(MEAN_SHAPE)} (channels, frames, height, width) was expected."
        )
    return torch.from_numpy(cube.reshape(MEAN_SHAPE).astype(np.float32))


def _own_names(found: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """From the names of whichever form the file has. Caffe keeps five axes everywhere: those of 1 in front of a layer's go."""
    for names in (_LAYERS, _FEATURES, _CAFFE, _MMACTION_WHOLE, _MMACTION):
        if f"{names[1]}.weight" in found:
            break
    else:
        raise CheckpointError(
            f"{source}: holds the weights of another network than C3D (its first tensors are {', '.join(sorted(found)[:3])}). "
            f"Expected {FORMS}."
        )
    ours = dict(zip(names, _LAYERS, strict=True))
    renamed = {_renamed(name, ours): value for name, value in found.items()}
    return {name: _without_empty_axes(name, value) for name, value in renamed.items()}


def _renamed(name: str, ours: Mapping[str, str]) -> str:
    layer, _, part = name.rpartition(".")
    return f"{ours[layer]}.{part}" if layer in ours else name


def _without_empty_axes(name: str, value: Tensor) -> Tensor:
    wanted = 1 if name.endswith(".bias") else 2 if name.startswith("fc") else value.ndim
    is_padded = value.ndim == 5 and wanted < 5 and all(size == 1 for size in value.shape[: 5 - wanted])
    return value.reshape(value.shape[5 - wanted :]) if is_padded else value
