"""Files written whole or not at all, JSON, and errors in one line."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stap.errors import StapError

__all__ = ["one_line", "read_json", "replacing", "sha256_of_file", "write_atomically", "write_json"]


@contextlib.contextmanager
def replacing(path: Path, error_type: type[StapError] = StapError) -> Iterator[Path]:
    """A temporary path next to `path`, with its suffix. What is written there replaces `path` if the block ends without an error.

    The file is on disk before it gets its name, so a reader or a crash meets the old content or the new one. Folders above are
    made. Whatever goes wrong, the temporary file is removed.   Raises error_type where the system refuses.
    """
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp{path.suffix}"
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
    write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(), error_type)


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises OSError if it cannot be read, ValueError if it is not JSON in UTF-8."""
    return json.loads(path.read_text(encoding="utf-8"))


def one_line(error: BaseException) -> str:
    """What an error says, in one line without a full stop; its type where it says nothing."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
