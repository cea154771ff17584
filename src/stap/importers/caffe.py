"""Reading weights and means that Caffe wrote, in the dialect of C3D (blobs of five axes), without Caffe.

Field numbers: src/caffe/proto/caffe.proto of github.com/facebookarchive/C3D, version 1.0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stap.errors import CheckpointError
from stap.importers.protobuf import Value, fields

__all__ = ["is_caffe_model", "read_blob", "read_layers"]

_NET_LAYERS, _LAYER_NAME, _LAYER_BLOBS = 2, 4, 6
_BLOB_AXES, _BLOB_DATA = (1, 2, 3, 4, 5), 6  # num, channels, length, height, width
_PARTS = ("weight", "bias")


def is_caffe_model(path: Path) -> bool:
    """By its name: 'x.caffemodel', or 'x_iter_1900000' as Caffe's snapshots are called."""
    return path.suffix == ".caffemodel" or ("_iter_" in path.name and path.suffix == "")


def read_layers(path: Path) -> dict[str, np.ndarray]:
    """The layers of a network that have weights: 'conv1a.weight' and 'conv1a.bias', each with five axes. Raises CheckpointError."""
    weights = {}
    for number, layer in _message(path):
        if number != _NET_LAYERS:
            continue
        found = _parsed(layer, path)
        name = bytes(next((value for number, value in found if number == _LAYER_NAME and not isinstance(value, int)), b"?"))
        blobs = [value for number, value in found if number == _LAYER_BLOBS]
        for part, blob in zip(_PARTS, blobs, strict=False):
            weights[f"{name.decode(errors='replace')}.{part}"] = _blob(blob, path)
    if not weights:
        raise _damaged(path, "no layer in it has weights")
    return weights


def read_blob(path: Path) -> np.ndarray:
    """A single blob, as of a mean file (.binaryproto): float32 with five axes. Raises CheckpointError."""
    return _blob(memoryview(_bytes(path)), path)


def _blob(message: Value, path: Path) -> np.ndarray:
    found = _parsed(message, path)
    sizes = {number: value for number, value in found if isinstance(value, int)}
    data = b"".join(bytes(value) for number, value in found if number == _BLOB_DATA and not isinstance(value, int))
    shape = [sizes.get(axis, 0) for axis in _BLOB_AXES]
    if not data or int(np.prod(shape, dtype=object)) * 4 != len(data):
        raise _damaged(path, f"a blob of shape {shape} holds {len(data)} bytes; C3D's blobs have five axes of float32")
    return np.frombuffer(data, dtype="<f4").reshape(shape)


def _message(path: Path) -> list[tuple[int, Value]]:
    return _parsed(memoryview(_bytes(path)), path)


def _parsed(message: Value, path: Path) -> list[tuple[int, Value]]:
    if isinstance(message, int):
        raise _damaged(path, "a number where a message was expected")
    try:
        return list(fields(message))
    except ValueError as error:
        raise _damaged(path, str(error)) from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}). Give a file that Caffe wrote.") from error


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{path}: not a whole file of C3D's Caffe ({reason}). Fetch it again.")
