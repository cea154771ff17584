"""Plain data comes through; whatever would run code is refused before it runs."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from stap.errors import StapError
from stap.importers.plain_pickle import load_plain_pickle


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


class Attack:
    """Pickled as a call of the given function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", range(6))
def test_a_call_is_refused_and_does_not_happen(tmp_path: Path, protocol: int) -> None:
    path, proof = tmp_path / "bad.pkl", tmp_path / "proof"
    path.write_bytes(pickle.dumps({"man": Attack(os.mkdir, str(proof))}, protocol))
    with pytest.raises(StapError) as caught:
        load_plain_pickle(path)
    assert str(caught.value) == (
        f"{path}: not a pickle of plain data (it asks for {os.mkdir.__module__}.mkdir). Expected dictionaries, lists, strings and "
        "numbers only; nothing was run. Write the same data as JSON where you trust the file."
    )
    assert not proof.exists()
    pickle.loads(path.read_bytes())
    assert proof.exists()  # it would have run


@pytest.mark.parametrize("function", [eval, getattr, __import__, open, print])
def test_no_other_builtin_is_had(tmp_path: Path, function: Any) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(pickle.dumps(Attack(function, "1")))
    with pytest.raises(StapError, match=r"not a pickle of plain data \(it asks for "):
        load_plain_pickle(path)


def test_a_file_cut_short_and_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.pkl"
    path.write_bytes(pickle.dumps({"man": list(range(1000))})[:100])
    with pytest.raises(StapError, match=r"^.*cut.pkl: not a pickle of plain data \(.*\)\. Expected dictionaries, "):
        load_plain_pickle(path)
    with pytest.raises(StapError) as caught:
        load_plain_pickle(tmp_path / "none.pkl")
    assert str(caught.value) == f"{tmp_path / 'none.pkl'}: cannot be read (No such file or directory). Name a pickle file."
