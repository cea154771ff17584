"""Your own: a folder of videos and a table of captions.

root/captions.csv      or .tsv, or .jsonl: a line (an object) a caption, with
    video              the file, inside root or the folder `videos`; its suffix may be left out (also: file)
    caption            the sentence (also, .jsonl only: captions, a list of them)
    split              train, validation or test; may be left out: then it is drawn, video by video

Drawing: the videos are put in the order of a hash of their name, and the fractions are cut off in turn. So the split depends on the
names and `split_seed` only, neither on the order of lines nor on the machine.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from stap.corpora.corpus import SPLITS, Annotations, Clip, Split
from stap.corpora.files import check_folder, find_files, read_rows, read_text
from stap.corpora.problems import OnProblem, Problem, listed
from stap.errors import CorpusError
from stap.files import parse_json
from stap.recipes.settings import CorpusSettings

__all__ = ["drawn_splits", "read_annotations"]

TABLES = ("captions.csv", "captions.tsv", "captions.jsonl")
SEPARATORS = {".csv": ",", ".tsv": "\t"}
LAYOUT = "a table of captions (.csv, .tsv or .jsonl) with the columns video and caption, and split if you like"
VIDEO_COLUMNS = ("video", "file")
CAPTION_COLUMN = re.compile(r"captions?([ _-]?\d+)?")
SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train", "training": "train", "validation": "validation", "validate": "validation", "valid": "validation",
    "val": "validation", "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True)
class _Row:
    """One caption. split: as it is written; empty if none is."""

    where: str
    video: str
    caption: str
    split: str


@dataclass
class _Video:
    """A video's captions, and its split where the table names one."""

    captions: list[str] = field(default_factory=list)
    split: Split | None = None


def read_annotations(settings: CorpusSettings, on_problem: OnProblem) -> Annotations:
    """The videos of the table; see `loading.load_annotations`."""
    root, files = _caption_files(settings)
    videos = settings.videos or root
    rows = [row for file in files for row in _rows(file, on_problem) if _is_usable(row, on_problem)]
    found: dict[str, _Video] = {}
    for row in rows:
        _add(found, row, on_problem)
    drawn = drawn_splits(
        [name for name, video in found.items() if video.split is None], settings.split_fractions, settings.split_seed
    )
    if drawn and len(drawn) < len(found):
        sentence = f"{files[0]}: {len(drawn)} of {len(found)} videos have no split. Name the split of every video, or of none."
        on_problem(Problem("split", sentence))
    clips = [
        Clip(
            _stem(name),
            videos / name,
            video.split or drawn[name],
            tuple(video.captions),
        )
        for name, video in found.items()
    ]
    return Annotations(root.resolve().name or "folder", tuple(clips))


def drawn_splits(names: Sequence[str], fractions: tuple[float, float, float], seed: int) -> dict[str, Split]:
    """A split for each video, in the given fractions (rounded), the same for the same names and seed."""
    order = sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    first, second = round(len(order) * fractions[0]), round(len(order) * (fractions[0] + fractions[1]))
    parts = (order[:first], order[first:second], order[second:])
    return {name: split for split, part in zip(SPLITS, parts, strict=True) for name in part}


def _caption_files(settings: CorpusSettings) -> tuple[Path, list[Path]]:
    """The folder in which everything else is, and the tables."""
    root = check_folder(settings.root, f"a folder of videos with {LAYOUT}") if settings.root is not None else None
    if settings.captions:
        files = find_files(root, settings.captions, LAYOUT)
        return root or settings.videos or files[0].parent, files
    assert root is not None, "load_annotations asks for a root or captions"
    there = [root / name for name in TABLES if (root / name).is_file()]
    if len(there) != 1:
        found = f"{len(there)} of them are there" if there else "none of them is there"
        raise CorpusError(f"{root}: {found}: {', '.join(TABLES)}. Expected one, or its name in corpus.captions.")
    return root, there


def _rows(file: Path, on_problem: OnProblem) -> Iterator[_Row]:
    if file.suffix.lower() == ".jsonl":
        yield from _json_rows(file, on_problem)
    elif file.suffix.lower() in SEPARATORS:
        yield from _table_rows(file, on_problem)
    else:
        raise CorpusError(f"{file}: the suffix {file.suffix or '(none)'} is not known. Expected {LAYOUT}.")


def _table_rows(file: Path, on_problem: OnProblem) -> Iterator[_Row]:
    unread: list[str] = []
    for line, row in read_rows(file, (), LAYOUT, on_problem, separator=SEPARATORS[file.suffix.lower()]):
        where = f"{file}, line {line}"
        if not row.keys() & set(VIDEO_COLUMNS) or not _captions(row):
            on_problem(_without_columns(where, row))  # once: the first line is to blame for all the others
            return
        unread = [name for name in row if name not in (*VIDEO_COLUMNS, "split") and not CAPTION_COLUMN.fullmatch(name)]
        yield from _row(where, row, on_problem)
    if unread:
        sentence = f"{file}: {listed(unread)} in the first line: not read. Captions are read from caption, caption2 ..."
        on_problem(Problem("line", sentence, is_error=False))


def _captions(content: Mapping[str, Any]) -> list[Any]:
    """What stands under caption, captions, caption2, caption_3 ...: the captions of a line."""
    given = [value for name, value in content.items() if CAPTION_COLUMN.fullmatch(str(name))]
    return [one for value in given for one in (value if isinstance(value, list) else [value])]


def _without_columns(where: str, content: Mapping[str, Any]) -> Problem:
    names = ", ".join(map(str, content)) or "nothing"
    return Problem("line", f"{where}: {names} where text in video and caption was expected. Expected {LAYOUT}.")


def _json_rows(file: Path, on_problem: OnProblem) -> Iterator[_Row]:
    for number, line in enumerate(read_text(file, LAYOUT, on_problem).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            content = parse_json(line)
        except json.JSONDecodeError as error:
            on_problem(Problem("line", f"{where}: not JSON ({error.msg}). Expected an object per line with video and caption."))
            continue
        yield from _row(where, content if isinstance(content, dict) else {}, on_problem)


def _row(where: str, content: Mapping[str, Any], on_problem: OnProblem) -> Iterator[_Row]:
    """The captions of a line: one, or several of a list or of several columns, of which some may be empty."""
    video = next((content[name] for name in VIDEO_COLUMNS if name in content), None)
    captions = _captions(content)
    split = content.get("split") or ""
    if not all(isinstance(value, str) for value in (video, split, *captions)) or not captions:
        on_problem(_without_columns(where, content))
        return
    for caption in [one for one in captions if one.strip()] or captions[:1]:
        yield _Row(where, str(video).strip(), caption, split.strip().lower())


def _is_usable(row: _Row, on_problem: OnProblem) -> bool:
    path = PurePosixPath(row.video.replace("\\", "/"))
    if not row.video or path.is_absolute() or ".." in path.parts:
        sentence = f"{row.where}: the video is {row.video!r}. Expected a path inside the folder of the videos."
        on_problem(Problem("line", sentence))
    elif row.split and row.split not in SPLIT_NAMES:
        sentence = f"{row.where}: {row.video} is in split {row.split!r}. Expected one of {', '.join(SPLITS)}."
        on_problem(Problem("split", sentence))
    elif not row.caption.strip():
        on_problem(Problem("caption", f"{row.where}: the caption of {row.video} is empty. Write one, or remove the line."))
    else:
        return True
    return False


def _add(found: dict[str, _Video], row: _Row, on_problem: OnProblem) -> None:
    video = found.setdefault(PurePosixPath(row.video.replace("\\", "/")).as_posix(), _Video())
    split = SPLIT_NAMES[row.split] if row.split else None
    if video.captions and split != video.split:
        sentence = (
            f"{row.where}: {row.video} is in {split or 'no split'}, and in {video.split or 'no split'} further up. "
            "Expected one split a video, so that no video is trained on and tested."
        )
        on_problem(Problem("split", sentence))
        return
    video.split = split
    video.captions.append(row.caption)


def _has_suffix(name: str) -> bool:
    from stap.video.files import VIDEO_SUFFIXES  # its package is heavy

    return PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix() if _has_suffix(name) else name
