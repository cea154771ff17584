"""Reading a corpus's files, and finding its videos; every problem goes to `on_problem` (see problems.py)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stap.corpora.corpus import Clip
from stap.corpora.problems import OnProblem, Problem, listed, refuse
from stap.errors import CorpusError

__all__ = [
    "check_folder",
    "find_files",
    "find_video_files",
    "read_each",
    "read_json",
    "read_rows",
    "read_text",
    "with_video_files",
]

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
LONGEST_FIELD = 10_000_000  # characters in a cell; Python's own limit, 131,072, is for files that are no tables


def check_folder(root: Path, expected: str) -> Path:
    """The folder, if it is one."""
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder. Expected {expected}.")
    return root


def find_files(root: Path | None, given: Sequence[Path], expected: str) -> list[Path]:
    """The given caption files, relative ones inside `root`. Raises CorpusError if one is missing."""
    paths = [file if root is None or file.is_absolute() else root / file for file in given]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise CorpusError(f"{listed(missing)}: no such file. Expected {expected}.")
    return paths


def read_text(path: Path, expected: str, on_problem: OnProblem = refuse) -> str:
    """A whole UTF-8 file (a byte-order mark at the start is dropped). Raises CorpusError if it cannot be read at all.

    Where `on_problem` returns, the rest is read: what is not UTF-8 comes as U+FFFD, a file in UTF-16 as it was meant.
    """
    content = _read_bytes(path, expected)
    if content[:2] in UTF16_MARKS:
        on_problem(_utf16(path, f"it begins with {content[0]:#04x} {content[1]:#04x}", expected, "UTF-16"))
        return content.decode("utf-16", errors="replace")
    if b"\0" in content:
        place = content.index(b"\0")
        order = "UTF-16LE" if place % 2 else "UTF-16BE"
        on_problem(_utf16(path, f"it holds zero bytes, the first at {place}", expected, order))
        return content.decode(order, errors="replace").removeprefix("\ufeff")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        for problem in _not_utf8(path, content, expected):
            on_problem(problem)
        return content.decode("utf-8-sig", errors="replace")


def read_json(path: Path, expected: str, on_problem: OnProblem = refuse) -> Any:
    """The value in a JSON file. Raises CorpusError if it is none."""
    try:
        return json.loads(read_text(path, expected, on_problem))
    except json.JSONDecodeError as error:
        raise CorpusError(f"{path}: not JSON (line {error.lineno}: {error.msg}). Expected {expected}.") from error


def read_each(files: Iterable[Path], read: Callable[[Path], Iterable[Clip]], on_problem: OnProblem) -> list[Clip]:
    """The clips of all files; one that cannot be read is a problem, and leaves the others."""
    clips: list[Clip] = []
    for file in files:
        try:
            clips += read(file)
        except CorpusError as error:
            on_problem(Problem("file", str(error)))
    return clips


def read_rows(
    path: Path, columns: Sequence[str], expected: str, on_problem: OnProblem = refuse, *, separator: str = ","
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The rows of a table whose first line names its columns, each with the number of its (last) line.

    columns: those that must be there. Raises CorpusError without them; a row of another length is a problem and left out.
    """
    csv.field_size_limit(LONGEST_FIELD)
    rows = csv.reader(io.StringIO(read_text(path, expected, on_problem), newline=""), delimiter=separator, strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        missing = [name for name in columns if name not in header]
        if missing:
            found = ", ".join(header[:10]) or "nothing"
            raise CorpusError(
                f"{path}: no column {' and no column '.join(missing)} (the first line: {found}). Expected {expected}."
            )
        for row in rows:
            if len(row) == len(header):
                yield rows.line_num, dict(zip(header, row, strict=True))
            elif row:
                on_problem(Problem("line", _wrong_length(path, rows.line_num, len(row), len(header))))
    except csv.Error as error:
        raise CorpusError(f"{path}, line {rows.line_num}: not a table ({error}). Expected {expected}.") from error


def with_video_files(
    clips: Sequence[Clip], name: str, *, available_only: bool, on_problem: OnProblem = refuse
) -> tuple[Clip, ...]:
    """The clips that have a video file, each with its path.

    A clip's path may lack its suffix or have another: without the very file, one beside it with the same stem is taken. A clip
    without one is left out, and is a problem unless available_only. Raises CorpusError if no clip has one.
    """
    here, missing = find_video_files(clips)
    if missing and not available_only:
        on_problem(_no_video(name, [clip.path for clip in missing], len(clips)))
    if not here:
        folders = sorted({str(clip.path.parent) for clip in clips})
        raise CorpusError(f"{name}: no clip has a video file. Expected them in {listed(folders)}.")
    return tuple(here)


def find_video_files(clips: Sequence[Clip]) -> tuple[list[Clip], list[Clip]]:
    """The clips that have a video file, each with its path; and those that have none."""
    found = _files_by_stem({clip.path.parent for clip in clips})
    here, missing = [], []
    for clip in clips:
        files = found.get(clip.path.with_suffix(""), [])
        if files:
            here.append(replace(clip, path=clip.path if clip.path in files else files[-1]))
        else:
            missing.append(clip)
    return here, missing


def _no_video(name: str, missing: Sequence[Path], of: int) -> Problem:
    return Problem(
        "no video",
        f"{name}: {len(missing)} of {of} clips have no video file: {listed([str(path) for path in missing])}. "
        "Put the files there, or set corpus.available_only=true to use only the clips that have one.",
    )


def _files_by_stem(folders: Iterable[Path]) -> dict[Path, list[Path]]:
    from stap.video.files import VIDEO_SUFFIXES

    found: dict[Path, list[Path]] = {}
    for folder in sorted(folders):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.suffix.lower() in VIDEO_SUFFIXES:
                found.setdefault(path.with_suffix(""), []).append(path)
    return found


def _read_bytes(path: Path, expected: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CorpusError(f"{path}: no such file. Expected {expected}.") from error
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}). Expected {expected}.") from error


def _utf16(path: Path, sign: str, expected: str, encoding: str) -> Problem:
    return Problem(
        "encoding",
        f"{path}: UTF-16 ({sign}). Expected {expected}, in UTF-8. "
        f"Convert it, for example: iconv -f {encoding} -t UTF-8 {path.name}",
    )


def _not_utf8(path: Path, content: bytes, expected: str) -> Iterator[Problem]:
    """A problem a line that is not UTF-8."""
    for number, line in enumerate(content.split(b"\n"), start=1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            yield Problem(
                "encoding",
                f"{path}, line {number}: not UTF-8 (byte {line[error.start]:#04x} at {error.start} of the line). Expected {expected}. "
                f"Convert it, for example: iconv -f latin1 -t utf-8 {path.name}",
            )


def _wrong_length(path: Path, line: int, found: int, expected: int) -> str:
    return (
        f"{path}, line {line}: {found} columns, and {expected} were expected, as in the first line. "
        "Put quotation marks around a caption that holds the separator."
    )
