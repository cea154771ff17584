"""Pickles of arrays and of plain data: what was written comes back, and what asks for anything else is refused without running."""

from __future__ import annotations

import base64
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raising import error_of
from stap.errors import FeatureError, StapError
from stap.importers.pickles import load_arrays_pickle, load_plain_pickle

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
    assert [read[key] for key in plain] == list(plain.values())
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
    assert error_of(FeatureError, load_arrays_pickle, path) == (
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
    assert (
        error_of(FeatureError, load_arrays_pickle, written(tmp_path, pickle.dumps({"vid1": value}, 4)))
        .partition(" (")[2]
        .partition("). Expected ")[0]
        == reason
    )


def test_a_pickle_cannot_change_what_it_names(tmp_path: Path) -> None:
    state = b"cnumpy.core.multiarray\n_reconstruct\n(dS'make'\nS'broken'\nsb."  # BUILD on a name
    with pytest.raises(FeatureError, match=r"\(it changes what it names\)"):
        load_arrays_pickle(written(tmp_path, state))
    assert load_arrays_pickle(written(tmp_path, PYTHON_2[0]))["vid1"].shape == (1, 2)


@pytest.mark.parametrize("content", [b"", b"no pickle", PYTHON_2[2][:-20], PYTHON_2[0].replace(b"I2\ntp8", b"I3\ntp8")])
def test_a_damaged_pickle_is_named(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    assert error_of(FeatureError, load_arrays_pickle, path).startswith(f"{path}: not a pickle of plain arrays (")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    error = error_of(FeatureError, load_arrays_pickle, tmp_path / "none.pkl")
    assert error == f"{tmp_path}/none.pkl: cannot be read (No such file or directory). Name a pickle file."


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_comes_through(tmp_path: Path, protocol: int) -> None:
    data = {"words": OrderedDict([("ein", 2), ("häuschen", 3)]), "list": [1, 2.5, (None, True)], "set": {"a"}, "bytes": "b"}
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(data, protocol))
    found = load_plain_pickle(path)
    assert found == data
    assert list(found["words"]) == ["ein", "häuschen"]


@pytest.mark.parametrize(
    "content",
    [  # OrderedDict([("man", 5), ("é", 6)]) and set(["man"]), byte for byte as Python 2.7 writes them
        b"ccollections\nOrderedDict\np0\n((lp1\n(lp2\nS'man'\np3\naI5\naa(lp4\nS'\\xc3\\xa9'\np5\naI6\naatp6\nRp7\n.",
        b"\x80\x02ccollections\nOrderedDict\nq\x00]q\x01(]q\x02(U\x03manq\x03K\x05e]q\x04(U\x02\xc3\xa9q\x05K\x06ee\x85q\x06Rq\x07.",
    ],
    ids=["protocol 0", "protocol 2"],
)
def test_ordered_dictionaries_of_python_2(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "worddict.pkl"
    path.write_bytes(content)
    assert list(load_plain_pickle(path).items()) == [("man", 5), ("é", 6)]


def test_sets_of_python_2(tmp_path: Path) -> None:
    path = tmp_path / "set.pkl"
    path.write_bytes(b"\x80\x02c__builtin__\nset\nq\x00]q\x01U\x03manq\x02a\x85q\x03Rq\x04.")
    assert load_plain_pickle(path) == {"man"}


@pytest.mark.parametrize("protocol", range(6))
def test_a_call_is_refused_and_does_not_happen(tmp_path: Path, protocol: int) -> None:
    path, proof = tmp_path / "bad.pkl", tmp_path / "proof"
    path.write_bytes(pickle.dumps({"man": Runs(os.mkdir, str(proof))}, protocol))
    assert error_of(StapError, load_plain_pickle, path) == (
        f"{path}: not a pickle of plain data (it asks for {os.mkdir.__module__}.mkdir). Expected dictionaries, lists, strings and "
        "numbers only; nothing was run. Write the same data as JSON where you trust the file."
    )
    assert not proof.exists()
    pickle.loads(path.read_bytes())
    assert proof.exists()  # it would have run


@pytest.mark.parametrize("function", [eval, getattr, __import__, open, exec])
def test_no_other_builtin_is_had(tmp_path: Path, function: Any) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(pickle.dumps(Runs(function, "1")))
    with pytest.raises(StapError, match=r"not a pickle of plain data \(it asks for "):
        load_plain_pickle(path)


def test_plain_data_cut_short_and_missing(tmp_path: Path) -> None:
    path = tmp_path / "cut.pkl"
    path.write_bytes(pickle.dumps({"man": list(range(1000))})[:100])
    with pytest.raises(StapError, match=r"^.*cut.pkl: not a pickle of plain data \(.*\)\. Expected dictionaries, "):
        load_plain_pickle(path)
    error = error_of(StapError, load_plain_pickle, tmp_path / "none.pkl")
    assert error == f"{tmp_path / 'none.pkl'}: cannot be read (No such file or directory). Name a pickle file."


LISTS_OF_LISTS = b"(lp0\n" + b"".join(b"(lp%d\n" % (k + 1) + b"g%d\na" % k * 10 for k in range(12)) + b"."
HOSTILE = {
    "lists in lists": (b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", "its values are nested more than 100 deep"),
    "a list in itself": (b"]q\x00h\x00a.", "it repeats its parts to more than 10 times its size"),
    "tuples in tuples as a key": (b"})" + b"\x85" * 1_000_000 + b"Ns.", "it has a tuple as a key"),
    "a tuple of itself, doubled, as a key": (b"})" + b"q\x00h\x00\x86" * 64 + b"Ns.", "it has a tuple as a key"),
    "lists that repeat each other": (LISTS_OF_LISTS, "it repeats its parts to more than 10 times its size"),
    "bytes without end": (b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"x.", "it is cut short"),
    "text without end": (b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"x.", "it is cut short"),
    "a frame without end": (b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b"}.", "it is cut short"),
    "a bytearray without end": (b"\x80\x05\x96" + (2**62).to_bytes(8, "little") + b"x.", "it is cut short"),
    "a number without end": (b"\x80\x02\x8b" + (2**31 - 1).to_bytes(4, "little") + b"1.", "it is cut short"),
    "a copy of the last value": (b"]2a.", "it has an instruction that plain data does not need"),
    "an object": (b"(i__main__\nC\n.", "it has an instruction that plain data does not need"),
    "the state of a list": (b"]}b.", "it sets the state of a value"),
    "a call of a list": (b"])R.", "it calls what it does not name"),
    "no more to take": (b"\x86.", "pop from empty list"),
}


@pytest.mark.slow
@pytest.mark.parametrize("load", [load_arrays_pickle, load_plain_pickle])
@pytest.mark.parametrize(("content", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_what_no_memory_would_hold_is_refused(tmp_path: Path, load: Any, content: bytes, reason: str) -> None:
    path = written(tmp_path, content)
    assert error_of(StapError, load, path).partition(" (")[2].partition("). Expected ")[0] == reason


COPIES = 100
TEXT = b"X" + (1000).to_bytes(4, "little") + b"a" * 1000


@pytest.mark.parametrize(
    ("load", "content"),
    [
        (
            load_arrays_pickle,
            b"(c_codecs\nencode\np0\n0(" + TEXT + b"X\x06\x00\x00\x00latin1tp1\n0" + b"g0\ng1\nR" * COPIES + b"l.",
        ),
        (load_plain_pickle, b"(c__builtin__\nset\np0\n0((" + b"I1\n" * 300 + b"ltp1\n0" + b"g0\ng1\nR" * COPIES + b"l."),
    ],
    ids=["bytes", "sets"],
)
def test_copies_of_what_is_in_the_file_once_are_counted(tmp_path: Path, load: Any, content: bytes) -> None:
    """A megabyte, a thousand times, would be a gigabyte."""
    with pytest.raises(StapError, match=r"\(it repeats its parts to more than 10 times its size\)"):
        load(written(tmp_path, content))
    few = content.replace(b"g0\ng1\nR" * COPIES, b"g0\ng1\nR" * 5)
    assert len(load(written(tmp_path, few))) == 5


def test_a_distant_place_in_the_memo_takes_no_memory(tmp_path: Path) -> None:
    """The unpickler in C makes a table of 64 GiB for it."""
    assert load_plain_pickle(written(tmp_path, b"\x80\x02]r\xff\xff\xff\xffj\xff\xff\xff\xff0.")) == []
