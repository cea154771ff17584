"""Reading files that may come from anybody: a plain file or an error, and JSON that cannot overwhelm the reader."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from stap.errors import StapError

__all__ = ["parse_json", "read_bytes", "read_json", "regular_file", "sha256_of_file"]

ABSENT = "no such file"
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def regular_file(
    path: Path, error_type: type[StapError] = StapError, advice: str = "Name a file.", absent: str = ABSENT
) -> Path:
    """The path, if a plain file is there, or a link to one. Reading a pipe or a device could wait, or go on, for ever.

    Raises error_type.   advice: the end of its message.   absent: what it says where there is nothing.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError as error:
        raise error_type(f"{path}: {absent}. {advice}") from error
    except (OSError, ValueError) as error:  # a folder that may not be entered, a name too long or with a zero byte
        raise error_type(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}). {advice}") from error
    if kind != stat.S_IFREG:
        raise error_type(f"{path}: {KINDS.get(kind, 'no plain file')}, and a file was expected. {advice}")
    return path


def read_bytes(
    path: Path, error_type: type[StapError] = StapError, advice: str = "Name a file.", absent: str = ABSENT
) -> bytes:
    """The content of a plain file. Raises error_type, see `regular_file`."""
    try:
        return regular_file(path, error_type, advice, absent).read_bytes()
    except OSError as error:
        raise error_type(f"{path}: cannot be read ({error.strerror or error}). {advice}") from error


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises OSError if it cannot be read or is no plain file, ValueError if it is no JSON in UTF-8."""
    if path.exists() and not path.is_file():
        raise OSError(None, "no plain file", str(path))
    return parse_json(path.read_bytes().decode("utf-8-sig"))


def parse_json(text: str, object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The value of a JSON text, as the standard has it. Raises json.JSONDecodeError for anything else.

    That is also for what Python reads beyond the standard, NaN and Infinity, for nesting that exhausts its stack, and for whole numbers of
    more digits than it converts.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=object_pairs_hook)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        reason = "its values are nested too deep"
    except ValueError as error:
        reason = str(error).partition(";")[0]
    raise json.JSONDecodeError(reason, text, 0)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
