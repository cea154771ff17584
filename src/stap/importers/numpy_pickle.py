"""Pickles of arrays, read without running anything that they name.

A pickle is a program: the ordinary loader calls whatever it asks for. Here the few names that pickled NumPy arrays use stand for
functions of this module, which make arrays of plain numbers and nothing else; NumPy's own are never called with what a file
says. Any other name is refused, and nothing of the file has run then but the making of lists, strings and numbers.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from stap.errors import FeatureError

__all__ = ["load_arrays_pickle"]

PLAIN_TYPE = re.compile(r"[<>|=]?([fiu][1248]|b1)")


class _RefusedError(Exception):
    """What the pickle asks for is not made here."""


class _Array:
    """An array while it is made: `_reconstruct` makes it empty, then the pickle gives it its state."""

    __slots__ = ("values",)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """state: (version, shape, type, is Fortran order, bytes), as `numpy.ndarray.__reduce__` writes it."""
        _, shape, kind, is_fortran, content = state
        self.values = _array(content, kind, shape, "F" if is_fortran else "C")


class _Type:
    """A type of numbers. NumPy pickles its letters, and then, as a state, the order of its bytes."""

    __slots__ = ("letters",)

    def __init__(self, letters: object) -> None:
        if not isinstance(letters, str) or not PLAIN_TYPE.fullmatch(letters):
            raise _RefusedError(f"it holds an array of type {letters!r}")
        self.letters = letters.lstrip("<>|=")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """state: (version, order of bytes, ...), as `numpy.dtype.__reduce__` writes it."""
        if state[1] not in ("<", ">", "|", "="):
            raise _RefusedError(f"it holds an array whose bytes are in the order {state[1]!r}")
        self.letters = ("<" if state[1] == "=" else state[1]) + self.letters[-2:]


class _Name:
    """What a name in the pickle stands for. An object of its own, so that a pickle cannot change a function or a class."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make

    def __call__(self, *arguments: Any) -> Any:
        """What the pickle asked to be made."""
        return self.make(*arguments)

    def __setstate__(self, state: object) -> NoReturn:
        """Refuse it: names have no state."""
        raise _RefusedError("it changes what it names")


def _array(content: Any, kind: Any, shape: Any, order: Any) -> np.ndarray[Any, Any]:
    if isinstance(content, str):  # the bytes of Python 2
        content = content.encode("latin1")
    if not isinstance(kind, _Type) or not isinstance(content, bytes | bytearray) or order not in ("C", "F"):
        raise _RefusedError("it holds an array of something else than numbers")
    kind_of_number = np.dtype(kind.letters)
    values = np.frombuffer(bytes(content), kind_of_number) if content else np.empty(0, kind_of_number)
    return values.reshape(shape, order=order)


def _made(values: np.ndarray[Any, Any]) -> _Array:
    array = _Array()
    array.values = values
    return array


def _number(kind: Any, content: Any) -> float | int:
    return _array(content, kind, (), "C").item()  # type: ignore[no-any-return]


def _bytes(text: Any, encoding: Any = "utf-8") -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _RefusedError(f"it asks for the encoding {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How Python 3 writes an empty array for Python 2."""
    return b""


def _nothing(*_: object) -> NoReturn:
    raise _RefusedError("it makes an array in an unusual way")


# What a pickle may name, under the names of old and new versions of NumPy.
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _nothing,  # only named, as an argument of _reconstruct
    ("numpy", "dtype"): lambda letters, *_: _Type(letters),
    ("_codecs", "encode"): _bytes,
    ("builtins", "bytes"): _no_bytes,
    ("__builtin__", "bytes"): _no_bytes,
    **{(module, "_reconstruct"): lambda *_: _Array() for module in _MULTIARRAY},
    **{(module, "scalar"): _number for module in _MULTIARRAY},
    **{
        (module, "_frombuffer"): lambda content, kind, shape, order: _made(_array(content, kind, shape, order))
        for module in _NUMERIC
    },
}


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that knows only ALLOWED."""

    def find_class(self, module: str, name: str) -> _Name:
        """What that name stands for; anything but ALLOWED is refused."""
        if (module, name) not in ALLOWED:
            raise _RefusedError(f"it asks for {module}.{name}")
        return _Name(ALLOWED[module, name])


def load_arrays_pickle(path: Path) -> Any:
    """The dictionaries, lists, tuples, strings, numbers and NumPy arrays of numbers in a pickle; strings of Python 2 as Latin-1.

    Raises FeatureError if the file is missing, damaged, or asks for anything else; nothing of it has run then.
    """
    try:
        with path.open("rb") as file:
            return _finished(_ArrayUnpickler(file, encoding="latin1").load())
    except OSError as error:
        raise FeatureError(f"{path}: cannot be read ({error.strerror or error}). Name a pickle file.") from error
    except Exception as error:  # a damaged pickle fails in many ways
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise FeatureError(
            f"{path}: not a pickle of plain arrays ({reason}). Expected dictionaries, lists, strings, numbers and NumPy arrays of "
            "numbers only; nothing was run. Where you trust the file, write its arrays as .npy or HDF5."
        ) from error


def _finished(value: Any) -> Any:
    """With the arrays in their places."""
    if isinstance(value, dict):
        return {_finished(key): _finished(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finished(inner) for inner in value]
    if isinstance(value, _Array):
        return value.values
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    raise _RefusedError(f"it holds a {type(value).__name__}")
