"""The folder of an archive: archive.json, the connection to LanceDB, the lock of its writers, and error messages."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from stap.archive.records import Space
from stap.errors import ArchiveError, MissingDependencyError
from stap.files import folder_lock, one_line, read_json

__all__ = [
    "ARCHIVE_FILE",
    "FORMAT",
    "SHOTS",
    "VIDEOS",
    "connected",
    "errors_as_sentences",
    "import_lancedb",
    "read_about",
    "turn",
]

ARCHIVE_FILE = "archive.json"
FORMAT = 1
SHOTS, VIDEOS = "shots", "videos"
CAPTION_AGAIN = "Index the videos into a new archive."
PATIENCE_SECONDS = 1_200.0  # for one's turn to write: longer than the lock of a process that died can last


def read_about(folder: Path) -> dict[str, Any]:
    """What archive.json says. Raises ArchiveError where it is none of ours."""
    if not (folder / ARCHIVE_FILE).is_file():
        what = "is not there" if not folder.exists() else "is no archive"
        if (folder / f"{SHOTS}.lance").exists():
            what = "is an archive whose making was interrupted"
        raise ArchiveError(f"{folder}: {what}: it has no {ARCHIVE_FILE}. Make one: stap index VIDEOS --archive {folder}")
    try:
        about: dict[str, Any] = read_json(folder / ARCHIVE_FILE)
        if about["format"] != FORMAT:
            raise ArchiveError(
                f"{folder}: an archive of format {about['format']}, and this stap reads format {FORMAT}. {CAPTION_AGAIN}"
            )
        Space(**about["space"]), about["roots"], about["models"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArchiveError(f"{folder / ARCHIVE_FILE}: is damaged ({one_line(error)}). {CAPTION_AGAIN}") from error
    return about


def import_lancedb() -> Any:
    """The package. Raises MissingDependencyError that says how to install it."""
    os.environ.setdefault("LANCEDB_LOG", "error")  # it prints warnings about its own groups of vectors
    try:
        import lancedb
    except ImportError:
        raise MissingDependencyError(
            "an archive needs the package lancedb, which is not installed. Install it with: pip install 'stap[archive]'"
        ) from None
    return lancedb


def connected(folder: Path) -> Any:
    """The tables of the folder. Every read sees what was written before it."""
    return import_lancedb().connect(str(folder), read_consistency_interval=timedelta(0))


@contextmanager
def errors_as_sentences(folder: Path, where: str = "") -> Iterator[None]:
    """Errors of LanceDB as sentences.   where: a condition that came from outside."""
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        reason = one_line(error)
        if where and isinstance(error, ValueError):
            raise ArchiveError(
                f"{where!r} is no condition on shots: {reason}. Expected SQL, such as: confidence > 0.5"
            ) from None
        if "No space left" in reason or "os error 28" in reason:
            raise ArchiveError(
                f"{folder}: the disk is full. What was complete is kept: make room, and run the same line again."
            ) from error
        raise ArchiveError(f"{folder}: the archive cannot be used ({reason[:300]}). {CAPTION_AGAIN}") from error


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """The lock of the folder, which others hold for a moment only."""
    until = time.monotonic() + PATIENCE_SECONDS
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(folder_lock(folder, ArchiveError))
                break
            except ArchiveError as error:
                if (
                    isinstance(error.__cause__, OSError) or time.monotonic() > until
                ):  # it cannot be written, or is held all the time
                    raise
                time.sleep(random.uniform(0.05, 0.2))
        yield
