"""Result files and folders: found unwritable before the work begins, and complete or absent after it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from stap.errors import StapError

__all__ = ["result_file", "writable_folder"]


@contextmanager
def result_file(path: Path | None) -> Iterator[TextIO]:
    """Stdout, or a file that replaces `path` when the block ends; after Ctrl-C it holds what was written until then.

    After any other exception `path` is as it was. Raises StapError at once if `path` cannot be written.
    """
    if path is None:
        yield sys.stdout
        return
    if path.exists() and not path.is_dir() and not path.is_file():  # /dev/null, a pipe: nothing that could be replaced
        with path.open("w", encoding="utf-8") as stream:
            yield stream
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    file = _open(path, temporary)
    try:
        yield file
    except KeyboardInterrupt:
        _publish(file, temporary, path)
        raise
    except BaseException:
        file.close()
        temporary.unlink()
        raise
    _publish(file, temporary, path)


def writable_folder(path: Path) -> Path:
    """The folder, made if it is not there. Raises StapError if nothing can be written in it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise StapError(f"{path}: cannot be written ({error.strerror}). Name a folder where you may write.") from error


def _open(path: Path, temporary: Path) -> TextIO:
    if path.is_dir():
        raise StapError(f"{path}: is a folder. Name a file to write.")
    try:
        return temporary.open("w", encoding="utf-8")
    except OSError as error:
        raise StapError(
            f"{path}: cannot be written ({error.strerror}). Name a file in a folder where you may write."
        ) from error


def _publish(file: TextIO, temporary: Path, path: Path) -> None:
    try:
        file.close()
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
