"""NumPy's files, .npy and .npz: arrays of numbers only, and no more memory than the file has bytes for."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from stap.importers.strangers import MOST_EXPANDED, Guard

__all__ = ["npz_names", "read_npy", "read_npz"]

Array = np.ndarray[Any, np.dtype[Any]]
SUFFIX = ".npy"
HEADERS: dict[tuple[int, int], Callable[[Any], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npy(path: Path, guard: Guard) -> Array:
    """The array in a .npy file. Raises what the guard does."""
    with guard(path), path.open("rb") as file:
        return _read_array(file, path.stat().st_size)


def npz_names(path: Path, guard: Guard) -> list[str]:
    """The names of the arrays in a .npz file. Raises what the guard does."""
    with guard(path), path.open("rb") as file:
        if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
            raise ValueError("one array, not an archive of several")
    with guard(path), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(SUFFIX) for name in archive.namelist()]


def read_npz(path: Path, names: list[str], guard: Guard) -> dict[str, Array]:
    """These arrays of a .npz file. Raises what the guard does."""
    arrays = {}
    with guard(path), zipfile.ZipFile(path) as archive:
        members = {member.filename.removesuffix(SUFFIX): member for member in archive.infolist()}
        for name in names:
            member = members[name]
            if member.file_size > MOST_EXPANDED * member.compress_size:
                raise ValueError(f"{name} expands to more than {MOST_EXPANDED} times its size")
            with archive.open(member) as file:
                arrays[name] = _read_array(file, member.file_size)
                file.read()  # to its end, where the checksum is compared
    return arrays


def _read_array(file: Any, size: int) -> Array:
    """The array of a .npy file of so many bytes. Raises ValueError for other things than numbers, and where its header promises more."""
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"its format has the version {version}, expected 1 or 2")
    shape, is_fortran, dtype = HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
    expected, left = math.prod(shape) * dtype.itemsize, size - file.tell()
    if min(shape, default=0) < 0 or expected > left:
        raise ValueError(f"its header promises an array of shape {shape} and type {dtype}, and {left:,} bytes follow")
    return _filled(file, np.empty(math.prod(shape), dtype)).reshape(shape, order="F" if is_fortran else "C")


def _filled(file: BinaryIO, array: Array) -> Array:
    if array.nbytes and file.readinto(array.view(np.uint8)) < array.nbytes:  # type: ignore[attr-defined]
        raise ValueError("it is cut short")
    return array
