"""Files of precomputed features: HDF5, .npy, .npz and pickles. Lists the arrays in them and reads one.

Nothing in such a file is run, and none can point to data outside itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from stap.errors import FeatureError
from stap.files import files_below, regular_file
from stap.importers.numpy_files import npz_names, read_npy, read_npz
from stap.importers.pickles import load_arrays_pickle
from stap.importers.strangers import MOST_EXPANDED, reading

__all__ = ["FILES_OF_A_VIDEO", "FoundArray", "find_files", "list_arrays", "read_array"]

HDF5, PICKLES = (".h5", ".hdf5", ".hdf"), (".pkl", ".pickle", ".p")
FILES_OF_A_VIDEO = (".npy", ".npz")
NUMBERS = "fiu"  # kinds of NumPy's types
SMALL = 1 << 20  # bytes that a dataset may have without being stored
COPY_AGAIN = "Copy or write the file again."
SUFFIXES = (*HDF5, *FILES_OF_A_VIDEO, *PICKLES)

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class FoundArray:
    """An array in a file. key: its name there, None where a file holds one.   video_id: as the file says it."""

    file: Path
    key: str | None
    video_id: str

    def __str__(self) -> str:
        return str(self.file) if self.key is None else f"{self.file}: {self.key}"


def find_files(sources: Sequence[Path]) -> list[tuple[str, Path]]:
    """The files of features among files and folders, with their names inside the folder: by source, then by name.

    Raises FeatureError for a source that is missing, of another format, or a folder without any.
    """
    found: list[tuple[str, Path]] = []
    for source in sources:
        if source.is_dir():
            inside = [path for path in files_below(source) if path.suffix.lower() in SUFFIXES]  # not macOS' ._video0.npy
            found += [(path.relative_to(source).as_posix(), path) for path in inside]
            if not inside:
                raise FeatureError(f"{source}: no file of features in this folder. Expected {', '.join(SUFFIXES)}.")
        elif not source.exists():
            raise FeatureError(f"{source}: no such file or folder. Name the features to import.")
        elif source.suffix.lower() not in SUFFIXES:
            raise FeatureError(f"{source}: features are not read from '{source.suffix}' files. Expected {', '.join(SUFFIXES)}.")
        else:
            found.append((source.name, regular_file(source, FeatureError, "Name the features to import.")))
    return found


def list_arrays(file: Path) -> list[FoundArray]:
    """The arrays of a file and the videos that they are of.

    HDF5: every dataset, by its name with the groups before it. A pickle: a dictionary, by its keys. A .npy, and an .npz with
    one array: the video that the file is named after. Raises FeatureError.
    """
    suffix = file.suffix.lower()
    if suffix in HDF5:
        keys = _dataset_names(file)
    elif suffix in PICKLES:
        keys = list(_pickled(file))
    elif suffix == ".npz":
        return [_only_array(file)]
    else:
        return [FoundArray(file, None, file.stem)]
    if not keys:
        raise FeatureError(f"{file}: holds no arrays. Expected one per video, under its id.")
    return [FoundArray(file, key, key) for key in keys]


def read_array(found: FoundArray) -> Array:
    """The numbers of an array, in the file's own type. Raises FeatureError if it is damaged or holds something else."""
    suffix = found.file.suffix.lower()
    if suffix in HDF5:
        values: Any = _read_dataset(found)
    elif suffix in PICKLES:
        values = _pickled(found.file)[found.key or ""]
    else:
        values = _read_numpy(found)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise FeatureError(
            f"{found}: its rows have different lengths ({error}). Expected an array of numbers for each video."
        ) from error
    if array.dtype.kind not in NUMBERS:
        raise FeatureError(f"{found}: holds {array.dtype} values. Expected an array of numbers for each video.")
    return array


def _dataset_names(file: Path) -> list[str]:
    import h5py

    names: list[str] = []

    def visit(name: str, item: object) -> None:  # links to other places are not visited
        if isinstance(item, h5py.Dataset):
            names.append(name)

    with _reading(file), h5py.File(file, "r") as content:
        content.visititems(visit)
    return sorted(names)


def _read_dataset(found: FoundArray) -> Array:
    import h5py

    with _reading(found.file), h5py.File(found.file, "r") as content:
        dataset = content[found.key]
        if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
            raise FeatureError(f"{found}: its values are in another file. Write a file that holds them itself.")
        if dataset.dtype.kind not in NUMBERS:
            raise FeatureError(f"{found}: holds {dataset.dtype} values. Expected an array of numbers for each video.")
        stored = dataset.id.get_storage_size()  # before decompression; parts that were never written take nothing
        if dataset.nbytes > MOST_EXPANDED * stored + SMALL or stored > found.file.stat().st_size:
            raise FeatureError(
                f"{found}: is said to have the shape {dataset.shape}, {dataset.nbytes:,} bytes, of which {stored:,} are stored. "
                f"{COPY_AGAIN}"
            )
        values: Array = dataset[()]
        return values


def _reading(file: Path) -> AbstractContextManager[None]:
    return reading(file, FeatureError, "cannot be read", COPY_AGAIN)


@lru_cache(maxsize=1)  # a whole corpus is in one file
def _pickled(file: Path) -> dict[str, Any]:
    content = load_arrays_pickle(file)
    if not isinstance(content, dict) or not all(isinstance(key, str | int) for key in content):
        raise FeatureError(f"{file}: holds a {type(content).__name__}. Expected a dictionary from video ids to arrays.")
    return {str(key): values for key, values in content.items()}


def _only_array(file: Path) -> FoundArray:
    names = npz_names(file, _reading)
    if len(names) != 1:
        raise FeatureError(
            f"{file}: holds {len(names)} arrays ({', '.join(names[:5])}). Expected one in the file of each video; write that one alone."
        )
    return FoundArray(file, names[0], file.stem)


def _read_numpy(found: FoundArray) -> Array:
    if found.key is None:
        return read_npy(found.file, _reading)
    return read_npz(found.file, [found.key], _reading)[found.key]
