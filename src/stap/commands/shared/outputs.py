"""Result files and folders: checked before the work begins, and complete or absent after it; files that grow row by row."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TextIO

from stap.errors import StapError
from stap.files import write_atomically

__all__ = ["JSON_LIST", "LINES", "Form", "Rows", "check_result_file", "growing_rows", "result_file", "writable_folder"]


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
        with path.open("w", encoding="utf-8", errors="backslashreplace") as stream:
            yield stream
        return
    content = io.StringIO()
    try:
        yield content
    except KeyboardInterrupt:
        write_atomically(path, _encoded(content.getvalue()))
        raise
    write_atomically(path, _encoded(content.getvalue()))


@dataclass(frozen=True)
class Form:
    """What stands around rows of text.   empty: the whole of no rows."""

    opening: str = ""
    between: str = ""
    closing: str = ""
    empty: str = ""


LINES = Form(between="\n", closing="\n")
JSON_LIST = Form("[\n", ",\n", "\n]\n", "[]\n")


class Rows(Protocol):
    """Rows that are written as they are made."""

    def add(self, row: str) -> None:
        """Write a row."""

    def finish(self) -> None:
        """Write what comes after the last row, or stands for no rows."""


@contextmanager
def growing_rows(path: Path | None, form: Form) -> Iterator[Rows]:
    """Rows on stdout or in a file, each there whole as soon as it is added, whatever comes later.

    A file is replaced when the first row comes, or when the block ends without one; it is a whole document after every row. Where the
    disk is full it ends with the last row that fitted. Raises StapError at once if `path` cannot be written.
    """
    if path is None:
        yield from _finished(_StreamRows(sys.stdout, form))
        return
    check_result_file(path)
    if _is_device(path):
        with path.open("w", encoding="utf-8", errors="backslashreplace") as stream:
            yield from _finished(_StreamRows(stream, form))
        return
    rows = _FileRows(path, form)
    try:
        yield rows
        rows.finish()
    finally:
        rows.close()


def _finished(rows: _StreamRows) -> Iterator[Rows]:
    try:
        yield rows
    except (Exception, KeyboardInterrupt):
        if rows.count:
            rows.finish()  # what is there is a whole document
        raise
    rows.finish()


class _StreamRows:
    """On a stream, which cannot go back: what comes after the last row is written at the end."""

    def __init__(self, stream: TextIO, form: Form) -> None:
        self.stream, self.form, self.count = stream, form, 0

    def add(self, row: str) -> None:
        line_by_line = self.form == LINES  # a reader of a pipe gets each line as it is made
        head = "" if line_by_line else self.form.between if self.count else self.form.opening
        self.stream.write(head + row + ("\n" if line_by_line else ""))
        self.stream.flush()
        self.count += 1

    def finish(self) -> None:
        self.stream.write("" if self.form == LINES else self.form.closing if self.count else self.form.empty)
        self.stream.flush()


class _FileRows:
    """In a file: what comes after the last row is written over by the next one."""

    def __init__(self, path: Path, form: Form) -> None:
        self.path, self.form, self.count, self.end = path, form, 0, 0  # end: of the last row, in bytes
        self._file: BinaryIO | None = None

    def add(self, row: str) -> None:
        grown = _encoded((self.form.between if self.count else self.form.opening) + row)
        self._write(grown, _encoded(self.form.closing))
        self.end += len(grown)
        self.count += 1

    def finish(self) -> None:
        if not self.count:
            self._write(b"", _encoded(self.form.empty))

    def close(self) -> None:
        if self._file is not None:
            with self._file as file:
                os.fsync(file.fileno())

    def _write(self, grown: bytes, closing: bytes) -> None:
        try:
            self._file = self._file or _open(self.path)
            self._file.seek(self.end)
            rest = memoryview(grown + closing)
            while rest:
                rest = rest[self._file.write(rest) :]
        except BaseException as error:
            self._restore()
            if isinstance(error, OSError):
                raise StapError(
                    f"{self.path}: cannot be written ({error.strerror}). It ends with the last result that fitted ({self.count} are there); "
                    "make room or name another file, and run again."
                ) from error
            raise

    def _restore(self) -> None:
        """End with the last whole row again. There is room for that: it was there before."""
        if self._file is not None:
            self._file.seek(self.end)
            closing = _encoded(self.form.closing if self.count else "")
            self._file.write(closing)
            self._file.truncate(self.end + len(closing))


def _open(path: Path) -> BinaryIO:
    return path.open("wb", buffering=0)


def _encoded(text: str) -> bytes:
    """In UTF-8, which has no surrogates: the bytes of a name that is not UTF-8 come out as escapes, those of JSON."""
    return text.encode("utf-8", "backslashreplace")


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
