"""Weights from a file, as tensors by name: safetensors, PyTorch's pickles, VSE++ and TensorFlow checkpoints."""

from __future__ import annotations

import argparse
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from stap.errors import CheckpointError
from stap.importers import vsepp
from stap.importers.strangers import reading
from stap.importers.tensorflow_checkpoint import TensorFlowCheckpoint, is_tensorflow_checkpoint

__all__ = ["read_weights"]

PICKLE_SUFFIXES = (".pth", ".pt", ".bin", ".tar")
WRAPPERS = ("state_dict", "model")  # keys under which training scripts put the weights among other things
# Besides tensors, what a pickle may build: the command line that many training scripts keep with their weights. It holds values only.
HARMLESS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [argparse.Namespace]
# What TensorFlow's optimisers keep for each variable, and the counter of their steps.
OPTIMISER = ("/Momentum", "/Adam", "/Adam_1", "/RMSProp", "/RMSProp_1", "/Adagrad")
MOST_REPEATED = 10  # times the size of the file: tied weights are one array under several names
FETCH_AGAIN = "Fetch or write it again."
STEP_COUNTER = "global_step"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a .safetensors, .pth, .pt, .bin or .pth.tar file or a TensorFlow checkpoint (.../model.ckpt), on the CPU.

    Wrappers ({'state_dict': ...}, {'model': ...}) and the prefix 'module.' are removed. Of a VSE++ checkpoint, the image network
    is returned; of a TensorFlow checkpoint, all variables but its optimiser's. Pickles are read with `weights_only=True`: a file
    that would build other objects than tensors and an `argparse.Namespace` is refused. Raises CheckpointError.
    """
    if is_tensorflow_checkpoint(path):
        return _read_tensorflow(path)
    if _is_caffes(path):
        raise CheckpointError(
            f"{path}: Caffe's files are not read. Give a PyTorch port of the network; C3D's are in DavideA/c3d-pytorch, "
            "jfzhang95/pytorch-video-recognition and mmaction2."
        )
    if not path.exists():
        raise CheckpointError(
            f"{path}: there is no such weights file. Give 'pretrained' or a .safetensors, .pth, .pt, .bin or .pth.tar file."
        )
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in PICKLE_SUFFIXES:
        loaded = _read_pickle(path)
        if vsepp.is_checkpoint(loaded):
            weights = vsepp.image_network(loaded, path)
            _check_memory(weights, path)
            return weights
        return _without_module_prefix(_unwrapped(loaded, path))
    raise CheckpointError(
        f"{path}: weights are read from .safetensors, .pth, .pt, .bin or .pth.tar files, not from '{path.suffix}' files. "
        "Save them as safetensors."
    )


def _is_caffes(path: Path) -> bool:
    """By its name: 'x.caffemodel', or 'x_iter_1900000' as Caffe calls its snapshots."""
    return path.suffix == ".caffemodel" or ("_iter_" in path.name and path.suffix == "")


def _read_tensorflow(path: Path) -> dict[str, Tensor]:
    checkpoint = TensorFlowCheckpoint(path)
    names = [name for name in checkpoint.variables if not name.endswith(OPTIMISER) and name != STEP_COUNTER]
    return {name: torch.from_numpy(checkpoint.read(name).copy()) for name in names}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with reading(path, CheckpointError, "not a whole safetensors file", FETCH_AGAIN):
        return safetensors.torch.load_file(path)


def _read_pickle(path: Path) -> Any:
    with reading(path, CheckpointError, "cannot be read as PyTorch weights", FETCH_AGAIN):
        _compare_checksums(path)
        try:
            with torch.serialization.safe_globals(HARMLESS):
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if wanted := re.search(r"GLOBAL ([\w.]+)", str(error)):
                raise CheckpointError(
                    f"{path}: wants to build {wanted[1]} on reading, and such a file could run any code; refused. "
                    "Where you trust it, save its tensors as .safetensors and give that file."
                ) from error
            raise _first_line(error) from error
        except RuntimeError as error:
            raise _first_line(error) from error


def _compare_checksums(path: Path) -> None:
    """Compare the checksums that torch.save writes, which torch.load does not: a changed byte would be a changed weight."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.file_size > member.compress_size for member in archive.infolist()):
                raise ValueError("it is compressed, and PyTorch writes none that is")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError):
        return  # older than PyTorch 1.6, without checksums, or cut short, which torch.load says better
    if damaged:
        raise CheckpointError(f"{path}: '{damaged}' in it does not match its checksum. {FETCH_AGAIN}")


def _first_line(error: Exception) -> ValueError:
    """PyTorch's further lines are advice to run the file."""
    return ValueError(str(error).strip().partition("\n")[0] or type(error).__name__)


def _unwrapped(loaded: Any, path: Path) -> dict[str, Tensor]:
    for _ in range(3):
        wrapper = next((key for key in WRAPPERS if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping)), None)
        if wrapper is None:
            break
        loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not loaded or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise CheckpointError(
            f"{path}: holds no weights by name. Expected a dictionary of tensors, on its own or under "
            f"{' or '.join(repr(key) for key in WRAPPERS)}."
        )
    weights = {str(key): value for key, value in loaded.items()}
    _check_memory(weights, path)
    return weights


def _check_memory(weights: Mapping[str, Tensor], path: Path) -> None:
    """A file of a few bytes can hold a view that repeats one number 10**12 times, which a copy would make real."""
    dense = [tensor.layout == torch.strided and not tensor.is_quantized for tensor in weights.values()]
    size = path.stat().st_size
    if not all(dense) or sum(tensor.nbytes for tensor in weights.values()) > MOST_REPEATED * size:
        raise CheckpointError(
            f"{path}: holds tensors that are no plain arrays, or repeat their values beyond the size of the file. {FETCH_AGAIN}"
        )


def _without_module_prefix(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """DataParallel puts 'module.' before every name."""
    if all(key.startswith("module.") for key in weights):
        return {key.removeprefix("module."): value for key, value in weights.items()}
    return weights
