"""Weights that other frameworks wrote, as PyTorch tensors under the names and in the layouts of their files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stap.importers.caffe import is_caffe_model, read_layers
from stap.importers.tensorflow_checkpoint import TensorFlowCheckpoint, is_tensorflow_checkpoint

__all__ = ["is_foreign", "read_foreign"]

# What TensorFlow's optimisers keep beside each variable, and the counter of their steps.
_OPTIMISER = ("/Momentum", "/Adam", "/Adam_1", "/RMSProp", "/RMSProp_1", "/Adagrad")
_COUNTER = "global_step"


def is_foreign(path: Path) -> bool:
    """Whether the path names a TensorFlow checkpoint (its prefix or one of its files) or a Caffe model."""
    return is_tensorflow_checkpoint(path) or is_caffe_model(path)


def read_foreign(path: Path) -> dict[str, Tensor]:
    """The tensors of a TensorFlow checkpoint, less those of its optimiser, or of a Caffe model. Raises CheckpointError."""
    found: Mapping[str, np.ndarray]
    if is_tensorflow_checkpoint(path):
        checkpoint = TensorFlowCheckpoint(path)
        names = [name for name in checkpoint.variables if not name.endswith(_OPTIMISER) and name != _COUNTER]
        found = {name: checkpoint.read(name) for name in names}
    else:
        found = read_layers(path)
    return {name: torch.from_numpy(values.copy()) for name, values in found.items()}
