"""TensorFlow checkpoints ("V2", tensor bundles), read without TensorFlow.

This reader is our own because TensorFlow is the only other one: several hundred megabytes to read two files.

    model.ckpt.index                  a table of names: dtype, shape, place and checksum of each variable
    model.ckpt.data-00000-of-00001    the values, one after another

The index is a sorted string table as LevelDB writes it: blocks of entries whose keys share prefixes, each block with a byte for
its compression and a checksum behind it, then a block that lists the blocks, and a footer of 48 bytes. The values of the
entries are messages of tensorflow/core/protobuf/tensor_bundle.proto. Nothing in either file is ever run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np

from stap.errors import CheckpointError
from stap.files import read_bytes
from stap.importers.protobuf import fields, read_varint
from stap.importers.strangers import reading

__all__ = ["TensorFlowCheckpoint", "Variable", "is_tensorflow_checkpoint", "masked_crc32c"]

_MASK_DELTA = 0xA282EAD8
_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES, _TRAILER_BYTES = 48, 5  # the trailer of a block: its compression and its checksum
LONGEST_NAME = 4096  # bytes of a variable's name: each may repeat all of the one before
_UNCOMPRESSED = 0
_BIG_ENDIAN = 1
_DTYPES = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "u1",
    6: "i1",
    9: "<i8",
    10: "?",
    19: "<f2",
}  # tensorflow/core/framework/types.proto
_SUFFIX = re.compile(r"\.index$|\.data-\d{5}-of-\d{5}$")


@dataclass(frozen=True)
class Variable:
    """Where a variable's values are. dtype: TensorFlow's number of it.   offset, size: bytes in the data file of its shard."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc32c: int  # masked
    is_partitioned: bool  # its values are under other keys, in slices


def is_tensorflow_checkpoint(path: Path) -> bool:
    """Whether this is a checkpoint's prefix ('model.ckpt'), or one of its files."""
    return bool(_SUFFIX.search(path.name)) or _index_file(path).is_file()


def masked_crc32c(data: bytes) -> int:
    """The CRC-32C (RFC 3720, appendix B.4) as LevelDB and TensorFlow store it: rotated right by 15 bits, plus a constant."""
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


class TensorFlowCheckpoint:
    """The variables of a checkpoint by name; `read` reads the values of one and compares their checksum."""

    def __init__(self, path: Path) -> None:
        """path: the prefix as TensorFlow calls it ('.../model.ckpt'), or either file. Raises CheckpointError."""
        self._prefix = path.with_name(_SUFFIX.sub("", path.name))
        self.index_file = _index_file(path)
        advice = "Give the path without its ending, for example .../model.ckpt, with both files, .index and .data-00000-of-00001, in one folder."
        content = read_bytes(self.index_file, CheckpointError, advice, "cannot be read (No such file or directory)")
        with reading(self.index_file, CheckpointError, "not a whole index of a TensorFlow checkpoint", "Fetch it again."):
            entries = list(_table(memoryview(content)))
            self._shards = _shards(entries)
            self.variables = {key.decode(): _variable(entry) for key, entry in entries if key}

    def read(self, name: str) -> np.ndarray:
        """The values of a variable, in their own type. Raises CheckpointError that names the file and the variable."""
        variable = self.variables[name]
        file = self._prefix.with_name(f"{self._prefix.name}.data-{variable.shard:05d}-of-{self._shards:05d}")
        if variable.is_partitioned or variable.dtype not in _DTYPES:
            what = "is stored in slices" if variable.is_partitioned else f"has TensorFlow's type {variable.dtype}"
            raise CheckpointError(f"{self.index_file}: {name} {what}, and whole variables of numbers were expected.")
        dtype = np.dtype(_DTYPES[variable.dtype])
        if variable.size != int(np.prod(variable.shape, dtype=object)) * dtype.itemsize:
            raise CheckpointError(
                f"{self.index_file}: {name} is said to have shape {list(variable.shape)} and {variable.size} bytes, which contradict "
                "each other. Fetch the file again."
            )
        content = self._bytes(file, name, variable)
        if masked_crc32c(content) != variable.crc32c:
            raise CheckpointError(f"{file}: the values of {name} do not match their checksum. Fetch the file again.")
        return np.frombuffer(content, dtype=dtype).reshape(variable.shape)

    def _bytes(self, file: Path, name: str, variable: Variable) -> bytes:
        try:
            size = file.stat().st_size
            if size < variable.offset + variable.size:
                raise CheckpointError(
                    f"{file}: has {size} bytes, and {name} ends at {variable.offset + variable.size}. Fetch the file again, whole."
                )
            with file.open("rb") as opened:
                opened.seek(variable.offset)
                return opened.read(variable.size)
        except OSError as error:
            raise CheckpointError(
                f"{file}: cannot be read ({error.strerror}). It holds the values of {name} and belongs next to {self.index_file.name}."
            ) from error


def _index_file(path: Path) -> Path:
    return path.with_name(_SUFFIX.sub("", path.name) + ".index")


def _table(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """The entries of a sorted string table: key and value, in order."""
    footer = data[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or int.from_bytes(footer[-8:], "little") != _MAGIC:
        raise ValueError("its last bytes are not those of such a file")
    _, at = _handle(footer, 0)  # of the block about blocks, which is empty here
    (offset, size), _ = _handle(footer, at)
    end = 0
    for _, handle in _entries(_block(data, offset, size)):
        (offset, size), _ = _handle(handle, 0)
        if offset < end:
            raise ValueError("its blocks overlap")
        end = offset + size
        yield from _entries(_block(data, offset, size))


def _handle(data: memoryview, at: int) -> tuple[tuple[int, int], int]:
    offset, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return (offset, size), at


def _block(data: memoryview, offset: int, size: int) -> memoryview:
    end = offset + size
    if end + _TRAILER_BYTES > len(data) - _FOOTER_BYTES:
        raise ValueError("a block runs over the end")
    if data[end] != _UNCOMPRESSED:
        raise ValueError(f"a block is compressed (kind {data[end]}), and TensorFlow writes none that is")
    if masked_crc32c(bytes(data[offset : end + 1])) != int.from_bytes(data[end + 1 : end + 5], "little"):
        raise ValueError("a block does not match its checksum")
    return data[offset:end]


def _entries(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    restarts = int.from_bytes(block[-4:], "little")  # places where a key is written whole, listed at the end for searching
    end = len(block) - 4 * (restarts + 1)
    at, key = 0, b""
    while at < end:
        shared, at = read_varint(block, at)
        own, at = read_varint(block, at)
        length, at = read_varint(block, at)
        if shared > len(key) or at + own + length > end:
            raise ValueError("an entry runs over the end")
        if shared + own > LONGEST_NAME:
            raise ValueError(f"a name has more than {LONGEST_NAME} bytes")
        key = key[:shared] + bytes(block[at : at + own])
        yield key, block[at + own : at + own + length]
        at += own + length


def _shards(entries: list[tuple[bytes, memoryview]]) -> int:
    """Number of data files, from the first entry (BundleHeaderProto), whose key is empty."""
    if not entries or entries[0][0]:
        raise ValueError("its header is missing")
    header = dict(fields(entries[0][1]))
    if header.get(2) == _BIG_ENDIAN:
        raise ValueError("its numbers are big-endian, which is not supported")
    return _integer(header.get(1, 0))


def _variable(entry: memoryview) -> Variable:
    """A BundleEntryProto."""
    found = dict(fields(entry))
    sizes = [dict(fields(_message(size))) for number, size in fields(_message(found.get(2))) if number == 2]
    dtype, shard, offset, size, crc = (_integer(found.get(number, 0)) for number in (1, 3, 4, 5, 6))
    shape = tuple(_integer(size.get(1, 0)) for size in sizes)
    return Variable(dtype, shape, shard, offset, size, crc, is_partitioned=7 in found)


def _message(value: int | memoryview | None) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message was expected")
    return memoryview(b"") if value is None else value


def _integer(value: int | memoryview) -> int:
    if not isinstance(value, int) or value >= 1 << 63:  # a negative one, or bytes
        raise ValueError("no number where one was expected")
    return value
