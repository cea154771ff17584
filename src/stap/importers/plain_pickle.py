"""Pickles of plain data, read without running anything that they name.

A pickle is a program: the ordinary loader calls whatever it asks for. Word lists and splits were published as pickles of Python 2,
which hold nothing but dictionaries, lists, strings and numbers; only those are made here, and any other name is refused.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

from stap.errors import StapError

__all__ = ["load_plain_pickle"]

# What a pickle may name. Numbers, strings, lists, tuples and dictionaries need no name.
ALLOWED: dict[tuple[str, str], type] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("__builtin__", "set"): set,  # as Python 2 calls it
    ("__builtin__", "frozenset"): frozenset,
}


class _PlainUnpickler(pickle.Unpickler):
    """An unpickler that knows only ALLOWED."""

    def find_class(self, module: str, name: str) -> type:
        """The class of that name; anything but ALLOWED is refused."""
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return ALLOWED[module, name]


def load_plain_pickle(path: Path) -> Any:
    """The dictionaries, lists, sets, tuples, strings and numbers of a pickle; strings of Python 2 are read as UTF-8.

    Raises StapError if the file is missing, damaged, or asks for anything else; nothing of it has run then.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file, encoding="utf-8").load()
    except OSError as error:
        raise StapError(f"{path}: cannot be read ({error.strerror or error}). Name a pickle file.") from error
    except Exception as error:  # a damaged pickle fails in many ways
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise StapError(
            f"{path}: not a pickle of plain data ({reason}). Expected dictionaries, lists, strings and numbers only; nothing "
            "was run. Write the same data as JSON where you trust the file."
        ) from error
