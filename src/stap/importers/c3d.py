"""C3D's published weights: the usual PyTorch ports of the Caffe model trained on Sports-1M.

| form | names |
|---|---|
| stap, DavideA/c3d-pytorch (c3d.pickle) and checkpoints of jfzhang95/pytorch-video-recognition | conv1, conv2, conv3a ... fc6, fc7, fc8 |
| jfzhang95/pytorch-video-recognition (ucf101-caffe.pth) | features.0, features.3 ... classifier.0, classifier.3, classifier.6 |
| open-mmlab/mmaction2 | conv1a.conv, conv2a.conv ... fc6, fc7, with or without backbone. before them; cls_head.fc_cls |
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stap.errors import CheckpointError
from stap.importers.numpy_files import read_npy
from stap.importers.strangers import reading
from stap.importers.weights import read_weights

__all__ = ["MEAN", "read_c3d", "read_mean"]

MEAN = "mean_cube"  # name of the mean of Sports-1M in a file of weights, BGR, of pixels in 0..255
MEAN_SHAPE = (3, 16, 128, 171)  # channels, frames, height, width
FORMS = "c3d-pytorch, pytorch-video-recognition, mmaction2 or stap's own names"
_LAYERS = ("conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b", "fc6", "fc7", "fc8")
_FEATURES = (*(f"features.{place}" for place in (0, 3, 6, 8, 11, 13, 16, 18)), "classifier.0", "classifier.3", "classifier.6")
_MMACTION = (
    *(f"conv{name}.conv" for name in ("1a", "2a", "3a", "3b", "4a", "4b", "5a", "5b")),
    "fc6",
    "fc7",
    "cls_head.fc_cls",
)
_MMACTION_WHOLE = (*(f"backbone.{name}" for name in _MMACTION[:10]), "cls_head.fc_cls")


def read_c3d(path: Path) -> tuple[dict[str, Tensor], Tensor | None]:
    """The weights in a file, under stap's names, and the mean of the training clips (3, 16, 128, 171) if the file holds it.

    Raises CheckpointError for a file of another network, and for a mean of another shape.
    """
    found = read_weights(path)
    names = next((form for form in (_LAYERS, _FEATURES, _MMACTION_WHOLE, _MMACTION) if f"{form[1]}.weight" in found), None)
    if names is None:
        raise CheckpointError(
            f"{path}: holds the weights of another network than C3D (its first tensors are {', '.join(sorted(found)[:3])}). "
            f"Expected {FORMS}."
        )
    ours = dict(zip(names, _LAYERS, strict=True))
    weights = {_renamed(name, ours): value for name, value in found.items()}
    mean = weights.pop(MEAN, None)
    if mean is not None and mean.shape != MEAN_SHAPE:
        raise CheckpointError(f"{path}: {MEAN} has the shape {list(mean.shape)}, and {list(MEAN_SHAPE)} was expected.")
    return weights, None if mean is None else mean.float()


def read_mean(path: Path) -> Tensor:
    """The mean of the training clips, (3, 16, 128, 171) float32, from a .npy array of that shape or with an axis of 1 before it.

    Raises CheckpointError.
    """
    cube = read_npy(path, _reading)
    if cube.dtype.kind not in "fiu":
        raise CheckpointError(f"{path}: the mean holds {cube.dtype} values, and numbers were expected.")
    if cube.shape not in (MEAN_SHAPE, (1, *MEAN_SHAPE)):
        raise CheckpointError(
            f"{path}: the mean has the shape {list(cube.shape)}, and {list(MEAN_SHAPE)} (channels, frames, height, width) was expected."
        )
    return torch.from_numpy(cube.reshape(MEAN_SHAPE).astype(np.float32))


def _reading(path: Path) -> AbstractContextManager[None]:
    return reading(path, CheckpointError, "cannot be read as a .npy array", "Save the mean with numpy.save.")


def _renamed(name: str, ours: Mapping[str, str]) -> str:
    layer, _, part = name.rpartition(".")
    return f"{ours[layer]}.{part}" if layer in ours else name
