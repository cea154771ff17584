"""Files that promise more than they hold are refused before memory is taken, and pipes are not waited for."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from raising import error_of
from stap.errors import CheckpointError, FeatureError, StapError
from stap.importers.array_files import list_arrays, read_array
from stap.importers.pickles import load_plain_pickle
from stap.importers.stat_npz import read_stat_npz
from stap.importers.strangers import reading
from stap.importers.weights import read_weights


def arrays_of(file: Path) -> None:
    for found in list_arrays(file):
        read_array(found)


def refused(file: Path) -> str:
    tracemalloc.start()
    try:
        message = error_of(FeatureError, arrays_of, file)
        assert tracemalloc.get_traced_memory()[1] < 2e7
    finally:
        tracemalloc.stop()
    assert message.startswith(str(file))
    return message


@pytest.mark.parametrize("options", [{}, {"chunks": (1000, 1000), "compression": "gzip"}])
def test_an_hdf5_file_that_claims_16_gigabytes(tmp_path: Path, options: dict[str, object]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("video1", (4_000_000, 1000), "f4", **options)
    assert refused(tmp_path / "a.h5") == (
        f"{tmp_path}/a.h5: video1: is said to have the shape (4000000, 1000), 16,000,000,000 bytes, of which 0 are stored. "
        "Copy or write the file again."
    )


def npy(shape: tuple[int, ...], content: bytes = bytes(40)) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue() + content


def test_a_numpy_header_that_claims_16_gigabytes(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(npy((4_000_000, 1000)))
    assert refused(tmp_path / "a.npy") == (
        f"{tmp_path}/a.npy: cannot be read (its header promises an array of shape (4000000, 1000) and type float32, and 40 bytes follow). "
        "Copy or write the file again."
    )
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("video1.npy", npy((4_000_000, 1000)))
    assert "its header promises an array of shape (4000000, 1000)" in refused(tmp_path / "b.npz")


def test_an_archive_that_expands_beyond_all_features(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("video1.npy", npy((10_000_000,), bytes(40_000_000)))
    assert "video1 expands to more than 100 times its size" in refused(tmp_path / "a.npz")


def test_weights_that_repeat_one_number(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1).expand(10**12)}, tmp_path / "a.pth")
    assert error_of(CheckpointError, read_weights, tmp_path / "a.pth") == (
        f"{tmp_path}/a.pth: holds tensors that are no plain arrays, or repeat their values beyond the size of the file. "
        "Fetch or write it again."
    )


def test_named_pipes_are_not_waited_for(tmp_path: Path) -> None:
    for name in ("a.h5", "a.npy", "a.npz", "a.pkl", "a.pth", "a.safetensors", "model.ckpt.index"):
        os.mkfifo(tmp_path / name)
        read = arrays_of if name[2:] in ("h5", "npy", "npz", "pkl") else read_weights
        assert f"{tmp_path / name}: a named pipe, and a file was expected. " in error_of(StapError, read, tmp_path / name)
    assert "a named pipe" in error_of(StapError, load_plain_pickle, tmp_path / "a.pkl")
    assert "a named pipe" in error_of(StapError, read_stat_npz, tmp_path / "a.npz", tmp_path / "a.pkl")


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError("too deep"), KeyError("x"), SystemError("\x1b[2J" + "y" * 500)]
)
def test_any_error_of_a_library_is_a_sentence(tmp_path: Path, error: Exception) -> None:
    (tmp_path / "a").touch()

    def read() -> None:
        with reading(tmp_path / "a", CheckpointError, "cannot be read", "Copy it again."):
            raise error

    message = error_of(CheckpointError, read)
    assert message.startswith(f"{tmp_path}/a: cannot be read (")
    assert message.endswith("). Copy it again.")
    assert len(message) < 400
    assert "\x1b" not in message
