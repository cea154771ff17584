"""Files of captions in their several shapes: text, and pairs of a video's name and the value given for it.

Text is split at line feeds only: Python's own line splitting also cuts at U+0085 and U+2028, which occur inside captions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stap.errors import ScoringError
from stap.files import parse_json, read_bytes, shortened

__all__ = ["entries", "entries_of_lines", "fields", "lines", "read_json", "read_text", "texts", "unwrap"]

ABSENT = "cannot be read (No such file or directory)"
ID_KEYS = ("video_id", "image_id", "id", "video", "path")
CAPTION_KEYS = ("caption", "sentence", "text", "description")


def entries(path: Path, content: Any, shapes: str) -> Iterator[tuple[str, Any]]:
    """Pairs of a video's name and the value given for it, from an object or a list of objects."""
    if isinstance(content, dict):
        yield from content.items()
        return
    if not isinstance(content, list):
        raise ScoringError(f"{path}: holds {_named(content)}. {shapes}")
    for number, entry in enumerate(content):
        yield _pair(f"{path}: entry {number} of the list", entry, shapes)


def entries_of_lines(path: Path, shapes: str) -> Iterator[tuple[str, Any]]:
    """The same of a file with a JSON object per line."""
    for number, line in lines(path):
        try:
            entry = parse_json(line)
        except json.JSONDecodeError as error:
            raise ScoringError(f"{path}, line {number}: not JSON ({error.msg} at column {error.colno}). {shapes}") from error
        yield _pair(f"{path}, line {number}", entry, shapes)


def _pair(where: str, entry: Any, shapes: str) -> tuple[str, Any]:
    found = entry if isinstance(entry, dict) else {}
    name = next((found[key] for key in ID_KEYS if key in found), None)
    key = next((key for key in CAPTION_KEYS if key in found), None)
    if type(name) not in (str, int) or key is None:
        raise ScoringError(f"{where} has no video id and caption. {shapes}")
    return str(name), found[key]


def fields(path: Path) -> Iterator[tuple[str, str]]:
    """Pairs of a video's name and caption from lines with a tab between them; a first line of column names is passed over."""
    for number, line in lines(path):
        name, tab, caption = line.partition("\t")
        if number == 1 and name.strip().lower() in ID_KEYS and caption.strip().lower() in CAPTION_KEYS:
            continue
        if not tab or not name.strip():
            raise ScoringError(f"{path}, line {number}: {shortened(line)!r} is not a video id, a tab and a caption.")
        yield name.strip(), caption


def texts(given: Any) -> list[str] | None:
    """The captions that are given for a video: one, or a list, as text or as objects with a caption; None for anything else."""
    found = [_text(one) for one in (given if isinstance(given, list) else [given])]
    return [text for text in found if text is not None] if None not in found else None


def _text(given: Any) -> str | None:
    if isinstance(given, dict):
        given = next((given[key] for key in CAPTION_KEYS if key in given), None)
    return given if isinstance(given, str) else None


def unwrap(content: Any, keys: Sequence[str]) -> Any:
    """What is under the first of these keys, if it holds captions and not the one caption of a video of that name."""
    for key in keys:
        if isinstance(content, dict) and isinstance(content.get(key), (dict, list)):
            return content[key]
    return content


def read_json(path: Path, shapes: str) -> Any:
    """The content of a JSON file. Raises ScoringError if it is none, or if an object has a key twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen:
                raise ScoringError(f"{path}: {key!r} occurs twice in one object. Give each video once.")
            seen[key] = value
        return seen

    try:
        return parse_json(read_text(path), once)
    except json.JSONDecodeError as error:
        raise ScoringError(f"{path}: not JSON ({error}). {shapes}") from error


def read_text(path: Path) -> str:
    """The text of a file, without a byte-order mark at its start. Raises ScoringError if it cannot be read or is not UTF-8."""
    try:
        return read_bytes(path, ScoringError, "Name a file with captions.", ABSENT).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScoringError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8.") from error


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, without empty ones."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield number, line.removesuffix("\r")


def _named(content: Any) -> str:
    names: dict[type, str] = {str: "a string", int: "a number", float: "a number", bool: "true or false", type(None): "null"}
    return names.get(type(content), f"a {type(content).__name__}")
