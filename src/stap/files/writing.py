"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from stap.errors import StapError
from stap.files.printing import json_text
from stap.files.writers import remove_leftovers, temporary_beside

__all__ = ["remove_unfinished", "replacing", "write_atomically", "write_json"]

_unfinished: set[Path] = set()  # temporary files of this process


@contextlib.contextmanager
def replacing(path: Path, error_type: type[StapError] = StapError) -> Iterator[Path]:
    """A temporary path next to `path`, with its suffix. What is written there replaces `path` if the block ends without an error.

    The file is on disk before it gets its name, so a reader or a crash meets the old content or the new one. Folders above are
    made. Whatever goes wrong, the temporary file is removed; that of a process that was killed, by the next one that writes in the folder.
    Raises error_type where the system refuses.
    """
    temporary = temporary_beside(path)
    _unfinished.add(temporary)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
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


@lru_cache(maxsize=1000)  # once a process: a large folder takes a while to list
def _sweep(folder: Path) -> None:
    remove_leftovers(folder)


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
