"""Reading a corpus's text files, and finding its videos; every problem is one CorpusError."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stap.corpora.corpus import Clip
from stap.errors import CorpusError

__all__ = ["check_folder", "read_json", "read_text", "with_video_files"]

SHOWN = 3  # names listed in a message


def check_folder(root: Path, expected: str) -> Path:
    """The folder, if it is one."""
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder. Expected {expected}.")
    return root


def read_text(path: Path, expected: str) -> str:
    """A whole UTF-8 file (a byte-order mark at the start is dropped)."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise CorpusError(f"{path}: no such file. Expected {expected}.") from error
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}). Expected {expected}.") from error
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: not UTF-8 (byte {error.object[error.start]:#04x} at {error.start}). Expected {expected}. "
            f"Convert it, for example: iconv -f latin1 -t utf-8 {path.name}"
        ) from error


def read_json(path: Path, expected: str) -> Any:
    """The value in a JSON file."""
    try:
        return json.loads(read_text(path, expected))
    except json.JSONDecodeError as error:
        raise CorpusError(f"{path}: not JSON (line {error.lineno}: {error.msg}). Expected {expected}.") from error


def with_video_files(clips: Sequence[Clip], name: str, *, available_only: bool) -> tuple[Clip, ...]:
    """The clips, each with the path of a file that exists.

    A clip's path may lack its suffix or have another: the file beside it with the same stem is taken. Clips without a file are
    left out if available_only, otherwise a CorpusError counts them.
    """
    found = _files_by_stem({clip.path.parent for clip in clips})
    here = [replace(clip, path=found[clip.path.with_suffix("")]) for clip in clips if clip.path.with_suffix("") in found]
    if len(here) < len(clips) and not available_only:
        missing = [clip.path for clip in clips if clip.path.with_suffix("") not in found]
        raise CorpusError(
            f"{name}: {len(missing)} of {len(clips)} clips have no video file: {_listed(missing)}. "
            "Put the files there, or set corpus.available_only=true to use only the clips that have one."
        )
    if not here:
        folders = sorted({clip.path.parent for clip in clips})
        raise CorpusError(f"{name}: no clip has a video file. Expected them in {_listed(folders)}.")
    return tuple(here)


def _files_by_stem(folders: Iterable[Path]) -> dict[Path, Path]:
    from stap.video.files import VIDEO_SUFFIXES

    files = (path for folder in sorted(folders) if folder.is_dir() for path in sorted(folder.iterdir()))
    return {path.with_suffix(""): path for path in files if path.suffix.lower() in VIDEO_SUFFIXES}


def _listed(paths: Sequence[Path]) -> str:
    shown = ", ".join(str(path) for path in paths[:SHOWN])
    return shown if len(paths) <= SHOWN else f"{shown} and {len(paths) - SHOWN} more"
