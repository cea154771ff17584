"""Pickled arrays: what NumPy wrote comes back, and what asks for anything else is refused without running."""

from __future__ import annotations

import base64
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stap.errors import FeatureError
from stap.importers.numpy_pickle import load_arrays_pickle

ARRAYS = {
    "float32": np.arange(12, dtype=np.float32).reshape(3, 4) / 7,
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big endian": np.arange(3, dtype=">f4"),
    "half": np.array([[0.5, -2]], dtype=np.float16),
    "integers": np.array([[1, -2], [3, 4]]),
    "booleans": np.array([True, False]),
    "empty": np.zeros((0, 4)),
}
# What Python 2.7 with NumPy 1.16 writes of {'vid1': np.array([[1.5, -2.]], dtype=np.float32)}, protocols 0 and 2, spelled out by hand.
PYTHON_2 = {
    0: (
        b"(dp0\nS'vid1'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\ntp6\nRp7\n"
        b"(I1\n(I1\nI2\ntp8\ncnumpy\ndtype\np9\n(S'f4'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\n"
        b"S'\\x00\\x00\\xc0?\\x00\\x00\\x00\\xc0'\np15\ntp16\nbs."
    ),
    2: (
        b"\x80\x02}q\x00U\x04vid1q\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85q\x04U\x01bq\x05\x87q\x06R"
        b"q\x07(K\x01K\x01K\x02\x86q\x08cnumpy\ndtype\nq\tU\x02f4q\nK\x00K\x01\x87q\x0bRq\x0c(K\x03U\x01<q\rNNNJ\xff\xff\xff\xffJ\xff\xff"
        b"\xff\xffK\x00tq\x0eb\x89U\x08\x00\x00\xc0?\x00\x00\x00\xc0q\x0ftq\x10bs."
    ),
}


def written(folder: Path, content: bytes) -> Path:
    path = folder / "features.pkl"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_is_written_comes_back(tmp_path: Path, protocol: int) -> None:
    plain = {"list": [1, 2.5, [True, None]], "tuple": (1, "a"), "bytes": b"\xff\x00", 7: "seven"}
    scalar = np.float32(0.1)
    read = load_arrays_pickle(written(tmp_path, pickle.dumps(ARRAYS | plain | {"scalar": scalar}, protocol)))
    assert read.keys() == ARRAYS.keys() | plain.keys() | {"scalar"}
    for name, array in ARRAYS.items():
        assert (type(read[name]), read[name].dtype, read[name].shape) == (np.ndarray, array.dtype, array.shape)
        assert np.array_equal(read[name], array)
    assert [read[key] for key in plain] == [[1, 2.5, [True, None]], [1, "a"], b"\xff\x00", "seven"]  # tuples become lists
    assert read["scalar"] == float(scalar)


@pytest.mark.parametrize("protocol", PYTHON_2)
def test_pickles_of_python_2(tmp_path: Path, protocol: int) -> None:
    path = written(tmp_path, PYTHON_2[protocol])
    with path.open("rb") as file:
        expected = pickle.load(file, encoding="latin1")  # NumPy's own reading: the bytes above are what they claim to be
    read = load_arrays_pickle(path)
    assert list(read) == list(expected) == ["vid1"]
    assert np.array_equal(read["vid1"], np.array([[1.5, -2]], dtype=np.float32))
    assert np.array_equal(expected["vid1"], read["vid1"])


class Runs:
    """Asks its reader to run a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.asked = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.asked


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("nested", [False, True])
def test_a_malicious_pickle_is_refused_and_its_code_never_run(tmp_path: Path, protocol: int, nested: bool) -> None:
    mark = tmp_path / "was run"
    attack = Runs(os.mkdir, str(mark))
    path = written(tmp_path, pickle.dumps({"vid1": [np.ones(3), attack]} if nested else attack, protocol))
    with pytest.raises(FeatureError) as caught:
        load_arrays_pickle(path)
    assert str(caught.value) == (
        f"{path}: not a pickle of plain arrays (it asks for posix.mkdir). Expected dictionaries, lists, strings, numbers and NumPy "
        "arrays of numbers only; nothing was run. Where you trust the file, write its arrays as .npy or HDF5."
    )
    assert not mark.exists()
    pickle.loads(path.read_bytes())  # the ordinary loader runs it
    assert mark.exists()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Runs(eval, "1 + 1"), "it asks for builtins.eval"),
        (Runs(getattr, "a", "upper"), "it asks for builtins.getattr"),
        (Runs(np.load, "a.npy"), "it asks for numpy.load"),
        (Runs(base64.b64decode, "YQ=="), "it asks for base64.b64decode"),
        (OrderedDict(a=1), "it asks for collections.OrderedDict"),
        ({1, 2}, "it holds a set"),
        (1j, "it asks for builtins.complex"),
        (np.array([{"a": 1}], dtype=object), "it holds an array of type 'O8'"),
        (np.array(["a"]), "it holds an array of type 'U1'"),
        (np.zeros(2, dtype=[("x", "f4")]), "it holds an array of type 'V4'"),
        (Runs(np.ndarray, (10**12,)), "it makes an array in an unusual way"),
    ],
)
def test_whatever_else_it_asks_for_is_named(tmp_path: Path, value: object, reason: str) -> None:
    with pytest.raises(FeatureError) as caught:
        load_arrays_pickle(written(tmp_path, pickle.dumps({"vid1": value}, 4)))
    assert str(caught.value).partition(" (")[2].partition("). Expected ")[0] == reason


def test_a_pickle_cannot_change_what_it_names(tmp_path: Path) -> None:
    state = b"cnumpy.core.multiarray\n_reconstruct\n(dS'make'\nS'broken'\nsb."  # BUILD on a name
    with pytest.raises(FeatureError, match=r"\(it changes what it names\)"):
        load_arrays_pickle(written(tmp_path, state))
    assert load_arrays_pickle(written(tmp_path, PYTHON_2[0]))["vid1"].shape == (1, 2)


@pytest.mark.parametrize("content", [b"", b"no pickle", PYTHON_2[2][:-20], PYTHON_2[0].replace(b"I2\ntp8", b"I3\ntp8")])
def test_a_damaged_pickle_is_named(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    with pytest.raises(FeatureError) as caught:
        load_arrays_pickle(path)
    assert str(caught.value).startswith(f"{path}: not a pickle of plain arrays (")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeatureError) as caught:
        load_arrays_pickle(tmp_path / "none.pkl")
    assert str(caught.value) == f"{tmp_path}/none.pkl: cannot be read (No such file or directory). Name a pickle file."
