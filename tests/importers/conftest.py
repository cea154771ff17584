"""Published checkpoints written by the tests themselves, from the descriptions of their formats."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from stap.features.networks.i3d import I3D, load_i3d
from stap.importers.i3d import tensorflow_name
from stap.importers.tensorflow_checkpoint import masked_crc32c  # has a test of its own, against RFC 3720

WriteCheckpoint = Callable[..., Path]
TENSORFLOW_TYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "float16": 19}
MAGIC = bytes.fromhex("57fb808b247547db")


@pytest.fixture(scope="session")
def write_checkpoint() -> WriteCheckpoint:
    """write_checkpoint(prefix, {'name': array}) writes both files of a TensorFlow checkpoint and returns the prefix."""
    return _write_checkpoint


@pytest.fixture(scope="session")
def protobuf_field() -> Callable[[int, int | bytes], bytes]:
    """A field of a Protocol Buffers message: a number, or bytes."""
    return _field


def _varint(value: int) -> bytes:
    head = b""
    while value > 127:
        head, value = head + bytes([value & 127 | 128]), value >> 7
    return head + bytes([value])


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return _varint(number << 3 | 2) + _varint(len(value)) + value
    return _varint(number << 3) + _varint(value)


def _entry(array: np.ndarray, offset: int, crc: int, changes: Mapping[int, int]) -> bytes:
    shape = b"".join(_field(2, _field(1, size)) for size in array.shape)
    values: dict[int, int | bytes] = {1: TENSORFLOW_TYPES[array.dtype.name], 2: shape, 4: offset, 5: array.nbytes}
    values |= changes
    message = b"".join(_field(number, value) for number, value in sorted(values.items()))
    return message + _varint(6 << 3 | 5) + struct.pack("<I", crc)


def _block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Keys share prefixes with the one before, except at every 16th, as in LevelDB."""
    body, restarts, before = b"", [], b""
    for place, (key, value) in enumerate(entries):
        shared = 0
        if place % 16 == 0:
            restarts.append(len(body))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        body += _varint(shared) + _varint(len(key) - shared) + _varint(len(value)) + key[shared:] + value
        before = key
    return body + b"".join(struct.pack("<I", place) for place in restarts or [0]) + struct.pack("<I", len(restarts or [0]))


def _write_checkpoint(
    prefix: Path,
    variables: Mapping[str, np.ndarray],
    *,
    changes: Mapping[str, Mapping[int, int]] | None = None,
    header: bytes = b"\x08\x01\x1a\x02\x08\x01",  # one data file, version 1
    entries_per_block: int = 40,
    compression: int = 0,
) -> Path:
    """changes: by variable, numbers that its entry states instead of the true ones, by field."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    entries, data = [(b"", header)], []
    offset = 0
    for name in sorted(variables, key=str.encode):
        array = np.asarray(variables[name], order="C")
        content = array.tobytes()
        entries.append((name.encode(), _entry(array, offset, masked_crc32c(content), (changes or {}).get(name, {}))))
        data.append(content)
        offset += len(content)
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(b"".join(data))
    file, handles = b"", []

    def add(block: bytes) -> bytes:
        nonlocal file
        handle = _varint(len(file)) + _varint(len(block))
        block += bytes([compression])
        file += block + struct.pack("<I", masked_crc32c(block))
        return handle

    for start in range(0, len(entries), entries_per_block):
        part = entries[start : start + entries_per_block]
        handles.append((part[-1][0], add(_block(part))))
    footer = add(_block([])) + add(_block(handles))
    file += footer.ljust(40, b"\0") + MAGIC
    prefix.with_name(prefix.name + ".index").write_bytes(file)
    return prefix


@pytest.fixture(scope="session")
def i3d_weights() -> dict[str, np.ndarray]:
    """Random values under the names and in the shapes of DeepMind's Kinetics-600 checkpoint, of a size that keeps signals alive."""
    generator = np.random.default_rng(0)
    with torch.device("meta"):
        network = I3D(600)
    weights = {}
    for name, value in network.state_dict().items():
        shape = tuple(value.permute(2, 3, 4, 1, 0).shape) if value.ndim == 5 else tuple(value.shape)
        name = tensorflow_name(name)
        if name.endswith("conv_3d/w"):
            weights[name] = generator.standard_normal(shape, dtype=np.float32) * np.float32(2 / np.prod(shape[:4])) ** 0.5
        elif name.endswith("moving_variance"):
            weights[name] = generator.uniform(0.3, 2, (1, 1, 1, 1, *shape)).astype(np.float32)
        else:
            shape = shape if name.endswith("conv_3d/b") else (1, 1, 1, 1, *shape)
            weights[name] = 0.3 * generator.standard_normal(shape, dtype=np.float32)
    return weights


@pytest.fixture(scope="session")
def i3d_checkpoint(
    i3d_weights: dict[str, np.ndarray], write_checkpoint: WriteCheckpoint, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same as a TensorFlow checkpoint, with some of what an optimiser adds to the variables."""
    left = {f"{name}/Momentum": value for name, value in i3d_weights.items() if name.startswith("Conv3d_1a")}
    step = {"global_step": np.array(7, dtype=np.int64)}
    return write_checkpoint(tmp_path_factory.mktemp("i3d") / "model.ckpt", i3d_weights | left | step)


@pytest.fixture(scope="session")
def i3d(i3d_checkpoint: Path) -> I3D:
    """I3D as it is loaded from that checkpoint."""
    return load_i3d(i3d_checkpoint)
