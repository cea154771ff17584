"""Files written whole or not at all, JSON, and text of strangers that is safe to show."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stap.errors import StapError

__all__ = [
    "json_text",
    "one_line",
    "printable",
    "read_json",
    "remove_unfinished",
    "replacing",
    "sha256_of_file",
    "unforeseen",
    "write_atomically",
    "write_json",
]

# What a terminal obeys or a line cannot hold: control characters, marks that turn the direction of text, line separators, and the
# surrogates that stand for the bytes of a name that is not UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_unfinished: set[Path] = set()  # temporary files of this process


@contextlib.contextmanager
def replacing(path: Path, error_type: type[StapError] = StapError) -> Iterator[Path]:
    """A temporary path next to `path`, with its suffix. What is written there replaces `path` if the block ends without an error.

    The file is on disk before it gets its name, so a reader or a crash meets the old content or the new one. Folders above are
    made. Whatever goes wrong, the temporary file is removed.   Raises error_type where the system refuses.
    """
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp{path.suffix}"
    _unfinished.add(temporary)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise error_type(
            f"{path}: cannot be written ({error.strerror or error}). What was there before is kept; "
            "make room or choose another folder, and run again."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        _unfinished.discard(temporary)


def remove_unfinished() -> None:
    """Remove the temporary files of this process, which is about to be ended."""
    for temporary in list(_unfinished):
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Bring the new name to disk too."""
    if os.name == "nt":  # Windows cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes, error_type: type[StapError] = StapError) -> None:
    """Write a file whole or not at all. Raises error_type where the system refuses."""
    with replacing(path, error_type) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Any, error_type: type[StapError] = StapError) -> None:
    """Write indented JSON, whole or not at all. Raises error_type where the system refuses."""
    write_atomically(path, (json_text(content) + "\n").encode(), error_type)


def json_text(content: Any) -> str:
    """Indented JSON that a terminal shows and UTF-8 holds: letters stay, unprintable characters are escaped (see `printable`)."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises OSError if it cannot be read, ValueError if it is not JSON in UTF-8."""
    return json.loads(path.read_text(encoding="utf-8"))


def one_line(error: BaseException) -> str:
    """What an error says, in one line without a full stop; its type where it says nothing."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def printable(text: object, keep: str = "") -> str:
    """Text for one line or cell, with escapes such as \\n, \\x1b or \\u202e for what a terminal would obey.   keep: characters that stay."""
    return _UNPRINTABLE.sub(
        lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode(), str(text)
    )


def unforeseen(path: object, error: Exception) -> str:
    """What to say of an error that nobody foresaw, of one file among many, without a full stop."""
    return f"{path}: {type(error).__name__}: {one_line(error)}"


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
