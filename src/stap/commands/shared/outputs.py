"""Result files and folders: checked before the work begins, and complete or absent after it."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from stap.errors import StapError
from stap.files import write_atomically

__all__ = ["check_result_file", "result_file", "writable_folder"]


@contextmanager
def result_file(path: Path | None) -> Iterator[TextIO]:
    """Stdout, or text that replaces `path` when the block ends; after Ctrl-C, the text written until then.

    After any other exception `path` is as it was. A device such as /dev/null is written directly.
    Raises StapError at once if `path` cannot be written.
    """
    if path is None:
        yield sys.stdout
        return
    check_result_file(path)
    if _is_device(path):
        with path.open("w", encoding="utf-8") as stream:
            yield stream
        return
    content = io.StringIO()
    try:
        yield content
    except KeyboardInterrupt:
        write_atomically(path, content.getvalue().encode())
        raise
    write_atomically(path, content.getvalue().encode())


def check_result_file(path: Path) -> None:
    """Make the folder of a result file. Raises StapError if the file cannot be written."""
    if path.is_dir():
        raise StapError(f"{path}: is a folder. Name a file to write.")
    if not _is_device(path):
        writable_folder(path.parent)


def _is_device(path: Path) -> bool:
    """Whether this is /dev/null or a pipe, which is written and not replaced."""
    return path.exists() and not path.is_file()


def writable_folder(path: Path) -> Path:
    """The folder, made if it does not exist. Raises StapError if nothing can be written in it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise StapError(f"{path}: cannot be written ({error.strerror}). Name a folder where you may write.") from error
