"""Pickles, read without running anything that they name.

A pickle is a program: the ordinary loader calls whatever it asks for. The unpickler here knows the instructions that build lists,
dictionaries, sets, tuples, strings and numbers, and calls only what a table allows. In place of NumPy's own functions stand
functions of this module, which make arrays of plain numbers and nothing else. Any other name is refused.

A file of a few bytes can also ask for lengths, nesting or copies beyond any memory. So lengths are compared with what the file
holds, depth is limited, a tuple is no key (its hash would visit all that it holds), and what a file makes is counted.
"""

from __future__ import annotations

import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NoReturn

import numpy as np

from stap.errors import FeatureError, StapError
from stap.importers.strangers import reading

__all__ = ["load_arrays_pickle", "load_plain_pickle"]

PLAIN_TYPE = re.compile(r"[<>|=]?([fiu][1248]|b1)")
DEEPEST = 100  # levels of lists, dictionaries and tuples inside each other
MOST_COPIED = 10  # times the file's size: values and bytes that it may make, each counted as often as it is used


class _RefusedError(Exception):
    """The pickle asks for what is not made here."""


class _Tuple(list):  # type: ignore[type-arg]
    """A tuple while the pickle is read."""

    def __hash__(self) -> NoReturn:  # type: ignore[override]
        """Refuse to be a key."""
        raise _RefusedError("it has a tuple as a key")


class _Array:
    """An array while the pickle is read: `_reconstruct` makes it empty, then the pickle sets its state."""

    __slots__ = ("values",)
    values: np.ndarray[Any, Any]

    def set_state(self, state: Any) -> None:
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

    def set_state(self, state: Any) -> None:
        """state: (version, order of bytes, ...), as `numpy.dtype.__reduce__` writes it."""
        if state[1] not in ("<", ">", "|", "="):
            raise _RefusedError(f"it holds an array whose bytes are in the order {state[1]!r}")
        self.letters = ("<" if state[1] == "=" else state[1]) + self.letters[-2:]


@dataclass(frozen=True)
class _Name:
    """What a name in the pickle stands for. An object of its own, so that a pickle cannot change a function or a class."""

    make: Callable[..., Any]


def _array(content: Any, kind: Any, shape: Any, order: Any) -> np.ndarray[Any, Any]:
    if isinstance(content, str):  # the bytes of Python 2
        content = content.encode("latin1")
    if not isinstance(kind, _Type) or not isinstance(content, bytes | bytearray) or order not in ("C", "F"):
        raise _RefusedError("it holds an array of something else than numbers")
    kind_of_number = np.dtype(kind.letters)
    values = np.frombuffer(bytes(content), kind_of_number) if content else np.empty(0, kind_of_number)
    return values.reshape(shape, order=order)


def _array_of(content: Any, kind: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.values = _array(content, kind, shape, order)
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


@dataclass(frozen=True)
class _Kind:
    """A kind of pickle. names: what it may name, by module and name, and what is called instead."""

    what: str
    holds: str
    advice: str
    encoding: str  # of Python 2's strings
    error_type: type[StapError]
    names: Mapping[tuple[str, str], Callable[..., Any]]
    containers: tuple[type[Any], ...]


_SCALARS = frozenset((type(None), bool, int, float, str, bytes))
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")  # names of old and new versions of NumPy
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_ARRAYS = _Kind(
    what="plain arrays",
    holds="dictionaries, lists, strings, numbers and NumPy arrays of numbers only",
    advice="Where you trust the file, write its arrays as .npy or HDF5.",
    encoding="latin1",
    error_type=FeatureError,
    names={
        ("numpy", "ndarray"): _nothing,  # only named, as an argument of _reconstruct
        ("numpy", "dtype"): lambda letters, *_: _Type(letters),
        ("_codecs", "encode"): _bytes,
        ("builtins", "bytes"): _no_bytes,
        ("__builtin__", "bytes"): _no_bytes,
        **{(module, "_reconstruct"): lambda *_: _Array() for module in _MULTIARRAY},
        **{(module, "scalar"): _number for module in _MULTIARRAY},
        **{(module, "_frombuffer"): _array_of for module in _NUMERIC},
    },
    containers=(dict, list),
)
_PLAIN = _Kind(
    what="plain data",
    holds="dictionaries, lists, strings and numbers only",
    advice="Write the same data as JSON where you trust the file.",
    encoding="utf-8",
    error_type=StapError,
    names={
        ("collections", "OrderedDict"): OrderedDict,
        ("builtins", "set"): set,
        ("builtins", "frozenset"): frozenset,
        ("__builtin__", "set"): set,  # as Python 2 calls it
        ("__builtin__", "frozenset"): frozenset,
    },
    containers=(dict, list, set, frozenset),
)


class _Content:
    """The bytes of a file; reading beyond its end is an error."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.readline = file, file.readline
        self.size = os.fstat(file.fileno()).st_size

    def read(self, size: int) -> bytes:
        """That many bytes, and never fewer."""
        found = self.file.read(min(size, self.size))  # Python allocates the size that it is given
        if len(found) < size:
            raise _RefusedError("it is cut short")
        return found


# The instructions that build what plain data is made of. Those that build objects, refer to other files or copy the last value are
# missing; calls and states are the unpickler's own.
_INSTRUCTIONS = (
    "PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 "
    "EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS EMPTY_SET ADDITEMS FROZENSET "
    "GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL"
)


_PythonsUnpickler: Any = pickle._Unpickler  # the one in C makes room for whatever length a file states


class _Unpickler(_PythonsUnpickler):  # type: ignore[misc]
    """Python's own unpickler, written in Python, with the instructions and names of plain data only."""

    def __init__(self, file: BinaryIO, kind: _Kind) -> None:
        content = _Content(file)
        super().__init__(content, encoding=kind.encoding)
        self.kind = kind
        self.may_make = MOST_COPIED * content.size

    def read_whole(self) -> Any:
        """All that the pickle holds, with its arrays and tuples in their places."""
        return self._finished(self.load(), DEEPEST)

    def find_class(self, module: str, name: str) -> _Name:
        """What that name stands for; a name that the table lacks is refused."""
        if (module, name) not in self.kind.names:
            raise _RefusedError(f"it asks for {module}.{name}")
        return _Name(self.kind.names[module, name])

    def _count(self, made: int) -> None:
        self.may_make -= made
        if self.may_make < 0:
            raise _RefusedError(f"it repeats its parts to more than {MOST_COPIED} times its size")

    def _tuple(self, size: int | None) -> None:
        items = self.pop_mark() if size is None else [self.stack.pop() for _ in range(size)][::-1]
        self.append(_Tuple(items))

    def _bytearray(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def _call(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if not isinstance(called, _Name) or not isinstance(arguments, _Tuple):
            raise _RefusedError("it calls what it does not name")
        self._count(sum(len(argument) for argument in arguments if hasattr(argument, "__len__")))
        self.append(called.make(*arguments))

    def _state(self) -> None:
        state, changed = self.stack.pop(), self.stack[-1]
        if not isinstance(changed, _Array | _Type):
            raise _RefusedError("it changes what it names" if isinstance(changed, _Name) else "it sets the state of a value")
        self._count(sum(len(part) for part in state if isinstance(part, str | bytes | bytearray)))
        changed.set_state(state)

    def _refuse(self) -> NoReturn:
        raise _RefusedError("it has an instruction that plain data does not need")

    def _finished(self, value: Any, depth: int) -> Any:
        if type(value) in _SCALARS:
            return value
        if not depth:
            raise _RefusedError(f"its values are nested more than {DEEPEST} deep")
        if isinstance(value, _Array):
            return value.values
        if not isinstance(value, self.kind.containers):
            raise _RefusedError(f"it holds a {type(value).__name__}")
        self._count(len(value))
        if isinstance(value, dict):
            items = [(self._finished(key, depth - 1), self._finished(inner, depth - 1)) for key, inner in value.items()]
            return type(value)(items)
        made = tuple if isinstance(value, _Tuple) else type(value)
        return made([self._finished(inner, depth - 1) for inner in value])

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict.fromkeys(range(256), _refuse)
    dispatch |= {
        code: _PythonsUnpickler.dispatch[code] for code in (getattr(pickle, name)[0] for name in _INSTRUCTIONS.split())
    }
    dispatch |= {
        pickle.EMPTY_TUPLE[0]: lambda self: self._tuple(0),
        pickle.TUPLE1[0]: lambda self: self._tuple(1),
        pickle.TUPLE2[0]: lambda self: self._tuple(2),
        pickle.TUPLE3[0]: lambda self: self._tuple(3),
        pickle.TUPLE[0]: lambda self: self._tuple(None),
        pickle.BYTEARRAY8[0]: _bytearray,
        pickle.REDUCE[0]: _call,
        pickle.BUILD[0]: _state,
    }


def load_arrays_pickle(path: Path) -> Any:
    """The dictionaries, lists, tuples, strings, numbers and NumPy arrays of numbers in a pickle; strings of Python 2 as Latin-1.

    Raises FeatureError if the file is missing, damaged, or asks for anything else; nothing of it has run then.
    """
    return _load(path, _ARRAYS)


def load_plain_pickle(path: Path) -> Any:
    """The dictionaries, lists, sets, tuples, strings and numbers of a pickle; strings of Python 2 are read as UTF-8.

    Raises StapError if the file is missing, damaged, or asks for anything else; nothing of it has run then.
    """
    return _load(path, _PLAIN)


def _load(path: Path, kind: _Kind) -> Any:
    if not path.exists():
        raise kind.error_type(f"{path}: cannot be read (No such file or directory). Name a pickle file.")
    advice = f"Expected {kind.holds}; nothing was run. {kind.advice}"
    with reading(path, kind.error_type, f"not a pickle of {kind.what}", advice), path.open("rb") as file:
        return _Unpickler(file, kind).read_whole()
