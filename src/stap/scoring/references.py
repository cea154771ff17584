"""References from files of a published corpus, or your own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from stap.errors import ScoringError
from stap.files import shortened
from stap.scoring.files import entries, entries_of_lines, fields, lines, read_json, texts, unwrap
from stap.scoring.matching import distinct_ids, video_id

__all__ = ["read_references"]

_SPLITS = {"train": "train", "validation": "validation", "validate": "validation", "val": "validation", "test": "test"}
_MSVD_LAST_TRAIN, _MSVD_LAST_VALIDATION = 1200, 1300  # vid1 to vid1200 train, to vid1300 validation, the rest test

SHAPES = (
    'Expected MSR-VTT\'s videodatainfo.json, MSVD\'s AllVideoDescriptions.txt, or JSON: {"video1": ["a caption", ...], ...} '
    'or [{"video_id": "video1", "caption": "a caption"}, ...].'
)


def read_references(path: str | Path, *, split: str | None = None, like: Collection[str] | None = None) -> dict[str, list[str]]:
    """Video id -> captions, in the order of the file's list of videos; of MSVD in the order vid1, vid2 ...

    By the file's suffix: .txt is MSVD's, .jsonl a JSON object per line, .tsv a video id, a tab and a caption per line, all
    others JSON. A video may come several times.

    split: 'train', 'validation' or 'test': only that part of MSR-VTT or MSVD. Other files have no splits.
    like: ids that the caller has. MSVD calls a clip by two names (-4wsuPCjDBc_5_15 and, in youtube_mapping.txt next to the
        captions, vid1); the answer uses vid1, unless `like` has only the other kind.

    Raises ScoringError for a file that cannot be read, another shape, or a split that the file does not have.
    """
    path = Path(path)
    if split is not None and split not in _SPLITS:
        raise ScoringError(f"there is no split {split!r}. The splits are train, validation and test.")
    part = None if split is None else _SPLITS[split]
    if path.suffix.lower() == ".txt":
        return _msvd(path, part, like)
    if path.suffix.lower() in (".jsonl", ".ndjson", ".tsv"):
        _check_no_split(path, part)
        return _grouped(path, fields(path) if path.suffix.lower() == ".tsv" else entries_of_lines(path, SHAPES))
    content = unwrap(read_json(path, SHAPES), ("references",))
    if isinstance(content, dict) and {"videos", "sentences"} <= content.keys():
        return _msrvtt(path, content, part)
    _check_no_split(path, part)
    return _grouped(path, entries(path, unwrap(content, ("annotations",)), SHAPES))


def _check_no_split(path: Path, part: str | None) -> None:
    if part is not None:
        raise ScoringError(f"{path}: these references have no splits. Leave the split out, or give a corpus' own file.")


def _grouped(path: Path, pairs: Iterable[tuple[str, Any]]) -> dict[str, list[str]]:
    """By id, see `distinct_ids`. Raises ScoringError for two files of one name and folder, such as a.avi and a.gif."""
    named: dict[str, list[str]] = {}
    for name, given in pairs:
        captions = texts(given)
        if captions is None:
            raise ScoringError(f"{path}: the references of video {video_id(name)} are {given!r}. {SHAPES}")
        named.setdefault(name, []).extend(captions)
    ids = distinct_ids(named)
    files: dict[str, str] = {}
    references: dict[str, list[str]] = {}
    for name, captions in named.items():
        if name != ids[name] and (other := files.setdefault(ids[name], name)) != name:
            raise ScoringError(f"{path}: {other} and {name} are two files of one name. Give each video a name of its own.")
        references.setdefault(ids[name], []).extend(captions)
    return references


def _msrvtt(path: Path, content: Mapping[str, Any], part: str | None) -> dict[str, list[str]]:
    """MSR-VTT's layout: videos with their splits in one list, sentences in another."""
    try:
        splits = {str(video["video_id"]): _SPLITS[video["split"]] for video in content["videos"]}
        sentences = [(str(sentence["video_id"]), str(sentence["caption"])) for sentence in content["sentences"]]
    except (KeyError, TypeError) as error:
        raise ScoringError(f"{path}: not in MSR-VTT's layout ({type(error).__name__}: {error}). {SHAPES}") from error
    return _chosen(path, sentences, part, splits)


def _msvd(path: Path, part: str | None, like: Collection[str] | None) -> dict[str, list[str]]:
    """MSVD's layout: a clip name and a caption a line; youtube_mapping.txt has the names vid1 to vid1970, and so the splits."""
    sentences = [_two_fields(path, number, line) for number, line in lines(path) if not line.startswith("#")]
    mapping_path = path.with_name("youtube_mapping.txt")
    if not mapping_path.is_file():
        if part is not None:
            raise ScoringError(
                f"{path}: the splits of MSVD are in {mapping_path.name}, which is not in {path.parent}. Put it there."
            )
        return _chosen(path, sentences, None, {})
    names = dict(_two_fields(mapping_path, number, line) for number, line in lines(mapping_path))
    unknown = next((clip for clip, _ in sentences if clip not in names), None)
    if unknown is not None:
        raise ScoringError(f"{path}: clip {unknown} is not in {mapping_path}. Use the two files of one release.")
    by_number = sorted(names, key=lambda clip: _msvd_number(mapping_path, names[clip]))
    splits = {clip: _msvd_split(_msvd_number(mapping_path, names[clip])) for clip in by_number}
    if like is not None and not set(like) & set(names.values()) and set(like) & set(names):
        return _chosen(path, sentences, part, splits)
    renamed = [(names[clip], caption) for clip, caption in sentences]
    return _chosen(path, renamed, part, {names[clip]: split for clip, split in splits.items()})


def _msvd_number(path: Path, name: str) -> int:
    number = name.removeprefix("vid")
    if not number.isdecimal():
        raise ScoringError(f"{path}: {name!r} is not a name of MSVD, such as vid1301.")
    return int(number)


def _msvd_split(number: int) -> str:
    if number <= _MSVD_LAST_TRAIN:
        return "train"
    return "validation" if number <= _MSVD_LAST_VALIDATION else "test"


def _chosen(
    path: Path, sentences: Iterable[tuple[str, str]], part: str | None, splits: Mapping[str, str]
) -> dict[str, list[str]]:
    """The captions of the videos of a part, in the order of the videos; without captions too, which the scorer refuses."""
    references: dict[str, list[str]] = {name: [] for name, split in splits.items() if part in (None, split)}
    for clip, caption in sentences:
        if splits and clip not in splits:
            raise ScoringError(f"{path}: a caption belongs to {clip}, which is not among the videos. Use a whole file.")
        if part is None or splits[clip] == part:
            references.setdefault(clip, []).append(caption)
    if part is not None and not references:
        raise ScoringError(f"{path}: no caption of split {part!r} (it has {', '.join(sorted(set(splits.values())))}).")
    return references


def _two_fields(path: Path, number: int, line: str) -> tuple[str, str]:
    first, space, rest = line.partition(" ")
    if not first or not space:
        raise ScoringError(f"{path}, line {number}: {shortened(line)!r} is not a clip name, a space and a caption.")
    return first, rest
