"""A checksum of tensors, kept in the metadata of the safetensors file that holds them: a flipped bit is an error, not a feature.

It covers names, types, shapes and values (CRC-32C, which processors compute about as fast as memory is copied). A file without one,
from an earlier stap or another program, is read all the same; its numbers are then looked at themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import google_crc32c
import numpy as np
import safetensors.torch
import torch
from torch import Tensor

__all__ = ["damage", "to_bytes"]

CHECKSUM, NOT_FINITE = "crc32c", "not_finite"
CHUNK = 1 << 24  # bytes copied at a time: the checksum is computed of bytes objects only
_EXPONENTS = {torch.float16: (np.uint16, 0x7C00), torch.bfloat16: (np.uint16, 0x7F80)}  # all set in NaN and infinities


def to_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file of these tensors (contiguous, on the CPU), with their checksum in its metadata.

    The names of tensors with values that are no numbers are kept there too. Equal tensors and metadata give equal bytes.
    """
    made = dict(metadata or {})
    if strange := ", ".join(_not_finite(tensors)):
        made[NOT_FINITE] = strange
    made[CHECKSUM] = _checksum(tensors, made)
    return _in_order(safetensors.torch.save(dict(tensors), made))


def damage(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str | None:
    """What is wrong with the tensors and metadata that a file holds, for the middle of a sentence; None if nothing is known to be."""
    if CHECKSUM not in metadata:
        strange = ", ".join(_not_finite(tensors))
    elif metadata[CHECKSUM] == _checksum(tensors, metadata):
        strange = metadata.get(NOT_FINITE, "")
    else:
        return "its content does not match its checksum"
    return f"{strange} holds NaN or infinite values" if strange else None


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    others = sorted((name, text) for name, text in metadata.items() if name != CHECKSUM)
    crc: int = google_crc32c.value(json.dumps(others).encode())
    for name, tensor in sorted(tensors.items()):
        crc = google_crc32c.extend(crc, f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        for chunk in _chunks(tensor):
            crc = google_crc32c.extend(crc, chunk)
    return f"{crc:08x}"


def _chunks(tensor: Tensor) -> Iterator[bytes]:
    values = tensor.reshape(-1).view(torch.uint8).numpy()
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK].tobytes()


def _in_order(content: bytes) -> bytes:
    """The same file with the metadata in the order of their names; the library writes them in any order."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the values begin at a multiple of 8, as the format asks
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(content)[end:]))


def _not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    return [name for name, tensor in sorted(tensors.items()) if tensor.is_floating_point() and not _is_finite(tensor)]


def _is_finite(tensor: Tensor) -> bool:
    if tensor.dtype not in _EXPONENTS:
        return bool(np.isfinite(tensor.numpy()).all())
    kind, exponent = _EXPONENTS[tensor.dtype]  # NumPy's own test of float16 takes ten times as long
    return not bool(((tensor.view(torch.int16).numpy().view(kind) & exponent) == exponent).any())
