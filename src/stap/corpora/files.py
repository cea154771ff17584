"""Reading a corpus's files, and finding its videos; every problem goes to `on_problem` (see problems.py)."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from stap.corpora.corpus import Clip
from stap.corpora.problems import OnProblem, Problem, listed, refuse
from stap.errors import CorpusError
from stap.files import is_folder, parse_json, printable, read_bytes, shortened

__all__ = [
    "check_folder",
    "find_files",
    "find_video_files",
    "read_each",
    "read_json",
    "read_rows",
    "read_text",
    "with_files",
]

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
LONGEST_FIELD = 10_000_000  # characters in a cell; Python's own limit, 131,072, is for files that are no tables


def check_folder(root: Path, expected: str) -> Path:
    """The folder, if it is one."""
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder. Expected {expected}.")
    return root


def find_files(root: Path | None, given: Sequence[Path], expected: str) -> list[Path]:
    """The given caption files, relative ones inside `root`. Raises CorpusError if one is missing."""
    paths = [file if root is None or file.is_absolute() else root / file for file in given]
    missing = [str(path) for path in paths if not path.exists()]  # what is no file is refused when it is read
    if missing:
        raise CorpusError(f"{listed(missing)}: no such file. Expected {expected}.")
    for first, second in combinations(paths, 2):
        if first.samefile(second):
            raise CorpusError(f"{second}: this caption file is given twice, and its captions would count twice. Name it once.")
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
        return parse_json(read_text(path, expected, on_problem))
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

    columns: those that must be there. A name that comes again gets a number: caption, caption2. Raises CorpusError without them; a row of another length is a problem and left out.
    """
    csv.field_size_limit(LONGEST_FIELD)
    rows = csv.reader(io.StringIO(read_text(path, expected, on_problem), newline=""), delimiter=separator, strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        _check_separator(path, header, separator)
        missing = [name for name in columns if name not in header]
        if missing:
            found = printable(shortened(", ".join(header[:10]))) or "nothing"
            raise CorpusError(
                f"{path}: no column {' and no column '.join(missing)} (the first line: {found}). Expected {expected}."
            )
        names = _numbered(header)
        for row in rows:
            if len(row) == len(header):
                yield rows.line_num, dict(zip(names, row, strict=True))
            elif row:
                on_problem(Problem("line", _wrong_length(path, rows.line_num, len(row), len(header))))
    except csv.Error as error:
        raise CorpusError(f"{path}, line {rows.line_num}: not a table ({error}). Expected {expected}.") from error


def with_files(clips: Sequence[Clip], where: str, *, what: str, available_only: bool) -> tuple[Clip, ...]:
    """The clips that have a file, each with its path; see `find_video_files`.

    where, what: how messages call the corpus, and its files.   available_only: leave the others out.
    Raises CorpusError if a clip has no file and must have one, or if none has.
    """
    found, missing = find_video_files(clips)
    if missing and not available_only:
        raise CorpusError(
            f"{where}: {len(missing)} of {len(clips)} clips have no {what} file: {listed([str(clip.path) for clip in missing])}. "
            "Put the files there, or set corpus.available_only=true to use only the clips that have one."
        )
    if not found:
        folders = sorted({str(clip.path.parent) for clip in clips})
        raise CorpusError(f"{where}: no clip has {_article(what)} {what} file. Expected them in {listed(folders)}.")
    return tuple(found)


def find_video_files(clips: Sequence[Clip], on_problem: OnProblem = refuse) -> tuple[list[Clip], list[Clip]]:
    """The clips that have a file, each with its path; and those that have none.

    A clip's path may lack its suffix or have another: without the very file, the video file with the same stem next to it is taken.
    Two such files are a problem that names both, and the clip is left out.
    """
    files = _files_in({clip.path.parent for clip in clips})
    same_stem = _videos_by_stem(files)
    found, missing = [], []
    for clip in clips:
        videos = same_stem.get(_without_video_suffix(clip.path), [])
        if clip.path in files:
            found.append(clip)
        elif len(videos) > 1:
            sentence = (
                f"{clip.id}: {videos[0]} and {videos[1].name} may both be its file. "
                "Name the file with its suffix in the captions, or remove one."
            )
            on_problem(Problem("name", sentence))
        elif videos:
            found.append(replace(clip, path=videos[0]))
        else:
            missing.append(clip)
    return found, missing


def _files_in(folders: Iterable[Path]) -> set[Path]:
    return {Path(entry) for folder in folders if folder.is_dir() for entry in os.scandir(folder) if not is_folder(entry)}


def _without_video_suffix(path: Path) -> Path:
    from stap.video.files import VIDEO_SUFFIXES

    return path.with_suffix("") if path.suffix.lower() in VIDEO_SUFFIXES else path


def _videos_by_stem(files: Iterable[Path]) -> dict[Path, list[Path]]:
    from stap.video.files import VIDEO_SUFFIXES

    by_stem: dict[Path, list[Path]] = {}
    for path in sorted(files):
        if path.suffix.lower() in VIDEO_SUFFIXES:
            by_stem.setdefault(path.with_suffix(""), []).append(path)
    return by_stem


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _read_bytes(path: Path, expected: str) -> bytes:
    return read_bytes(path, CorpusError, f"Expected {expected}.")


def _utf16(path: Path, sign: str, expected: str, encoding: str) -> Problem:
    return Problem(
        "encoding",
        f"{path}: UTF-16 ({sign}). Expected {expected}, in UTF-8. "
        f"Convert it, for example: iconv -f {encoding} -t UTF-8 {path.name}",
    )


def _not_utf8(path: Path, content: bytes, expected: str) -> Iterator[Problem]:
    """A problem per line that is not UTF-8."""
    wrong: list[tuple[int, bytes, UnicodeDecodeError]] = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            wrong.append((number, line, error))
    # Latin-1 has control characters where Windows' code page has quotation marks and dashes, which texts hold.
    encoding = "cp1252" if any(re.search(rb"[\x80-\x9f]", line) for _, line, _ in wrong) else "latin1"
    for number, line, problem in wrong:
        yield Problem(
            "encoding",
            f"{path}, line {number}: not UTF-8 (byte {line[problem.start]:#04x} at {problem.start} of the line). Expected {expected}. "
            f"Convert it, for example: iconv -f {encoding} -t utf-8 {path.name}",
        )


def _check_separator(path: Path, header: Sequence[str], separator: str) -> None:
    """Raise CorpusError for a table with another separator, whose first line is then a single name."""
    other = next((mark for mark in SEPARATORS if len(header) == 1 and mark != separator and mark in header[0]), None)
    if other is not None:
        raise CorpusError(
            f"{path}: the first line, {shortened(header[0])!r}, has {SEPARATORS[other]} between its columns. "
            f"Expected {SEPARATORS[separator]} in a {path.suffix} file. Save the table with {SEPARATORS[separator]}."
        )


def _numbered(header: Sequence[str]) -> list[str]:
    return [name if (count := header[:place].count(name)) == 0 else f"{name}{count + 1}" for place, name in enumerate(header)]


def _wrong_length(path: Path, line: int, found: int, expected: int) -> str:
    return (
        f"{path}, line {line}: {found} columns, and {expected} were expected, as in the first line. "
        "Put quotation marks around a caption that holds the separator."
    )
