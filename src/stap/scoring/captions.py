"""Captions from files: the predictions of any system, and the references of a corpus or of one's own.

Text is split at line feeds only: Python's own line splitting also cuts at U+0085 and U+2028, which occur inside captions.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stap.errors import ScoringError

__all__ = ["read_predictions", "read_references"]

_ID_KEYS = ("video_id", "image_id", "id", "path")
_SPLITS = {"train": "train", "validation": "validation", "validate": "validation", "val": "validation", "test": "test"}
_MSVD_LAST_TRAIN, _MSVD_LAST_VALIDATION = 1200, 1300  # vid1 to vid1200 train, to vid1300 validation, the rest test

_PREDICTION_SHAPES = (
    'Expected JSON: {"video1": "a caption", ...}, {"video1": ["a caption"], ...}, '
    '[{"video_id": "video1", "caption": "a caption"}, ...], or one of these under "predictions" or "captions".'
)
_REFERENCE_SHAPES = (
    'Expected MSR-VTT\'s videodatainfo.json, MSVD\'s AllVideoDescriptions.txt, or JSON: {"video1": ["a caption", ...], ...} '
    'or [{"video_id": "video1", "caption": "a caption"}, ...].'
)


def read_predictions(path: str | Path) -> dict[str, str]:
    """Video id -> caption, from JSON of any of the shapes that systems write.

    An entry of a list is named by its 'video_id', 'image_id' or 'id', or by the file name in its 'path', without suffix.

    Raises ScoringError for a file that cannot be read, another shape, or a video with two captions or none.
    """
    path = Path(path)
    content = _unwrap(_read_json(path, _PREDICTION_SHAPES), ("predictions", "captions"))
    predictions: dict[str, str] = {}
    for video_id, caption in _entries(path, content, _PREDICTION_SHAPES):
        captions = [caption] if isinstance(caption, str) else caption
        if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
            raise ScoringError(f"{path}: the prediction for video {video_id} is {caption!r}. {_PREDICTION_SHAPES}")
        if len(captions) != 1 or video_id in predictions:
            number = "no caption" if not captions else "more than one caption"
            raise ScoringError(f"{path}: video {video_id} has {number}. Give exactly one a video.")
        predictions[video_id] = captions[0]
    return predictions


def read_references(path: str | Path, *, split: str | None = None, like: Collection[str] | None = None) -> dict[str, list[str]]:
    """Video id -> captions, in the order of the file.

    split: 'train', 'validation' or 'test': only that part of MSR-VTT or MSVD. Other files have no splits.
    like: ids that the caller has. MSVD calls a clip by two names (-4wsuPCjDBc_5_15 and, in youtube_mapping.txt beside the
        captions, vid1); the answer uses vid1, unless `like` has only the other kind.

    Raises ScoringError for a file that cannot be read, another shape, or a split that the file does not have.
    """
    path = Path(path)
    if split is not None and split not in _SPLITS:
        raise ScoringError(f"there is no split {split!r}. The splits are train, validation and test.")
    part = None if split is None else _SPLITS[split]
    if path.suffix.lower() == ".txt":
        return _msvd(path, part, like)
    content = _unwrap(_read_json(path, _REFERENCE_SHAPES), ("references",))
    if isinstance(content, dict) and {"videos", "sentences"} <= content.keys():
        return _msrvtt(path, content, part)
    if part is not None:
        raise ScoringError(f"{path}: these references have no splits. Leave the split out, or give a corpus' own file.")
    return _grouped(path, _unwrap(content, ("annotations",)))


def _grouped(path: Path, content: Any) -> dict[str, list[str]]:
    references: dict[str, list[str]] = {}
    for video_id, given in _entries(path, content, _REFERENCE_SHAPES):
        captions = [given] if isinstance(given, str) else given
        if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
            raise ScoringError(f"{path}: the references of video {video_id} are {given!r}. {_REFERENCE_SHAPES}")
        references.setdefault(video_id, []).extend(captions)
    return references


def _msrvtt(path: Path, content: Mapping[str, Any], part: str | None) -> dict[str, list[str]]:
    """MSR-VTT's layout: videos with their splits in one list, sentences in another."""
    try:
        splits = {str(video["video_id"]): _SPLITS[video["split"]] for video in content["videos"]}
        sentences = [(str(sentence["video_id"]), str(sentence["caption"])) for sentence in content["sentences"]]
    except (KeyError, TypeError) as error:
        raise ScoringError(f"{path}: not in MSR-VTT's layout ({type(error).__name__}: {error}). {_REFERENCE_SHAPES}") from error
    return _chosen(path, sentences, part, splits)


def _msvd(path: Path, part: str | None, like: Collection[str] | None) -> dict[str, list[str]]:
    """MSVD's layout: a clip name and a caption a line; youtube_mapping.txt has the names vid1 to vid1970, and so the splits."""
    sentences = [_two_fields(path, number, line) for number, line in _lines(path) if not line.startswith("#")]
    mapping_path = path.with_name("youtube_mapping.txt")
    if not mapping_path.is_file():
        if part is not None:
            raise ScoringError(
                f"{path}: the splits of MSVD are in {mapping_path.name}, which is not in {path.parent}. Put it there."
            )
        return _chosen(path, sentences, None, {})
    names = dict(_two_fields(mapping_path, number, line) for number, line in _lines(mapping_path))
    unknown = next((clip for clip, _ in sentences if clip not in names), None)
    if unknown is not None:
        raise ScoringError(f"{path}: clip {unknown} is not in {mapping_path}. Use the two files of one release.")
    splits = {clip: _msvd_split(mapping_path, name) for clip, name in names.items()}
    if like is not None and not set(like) & set(names.values()) and set(like) & set(names):
        return _chosen(path, sentences, part, splits)
    renamed = [(names[clip], caption) for clip, caption in sentences]
    return _chosen(path, renamed, part, {names[clip]: split for clip, split in splits.items()})


def _msvd_split(path: Path, name: str) -> str:
    number = name.removeprefix("vid")
    if not number.isdecimal():
        raise ScoringError(f"{path}: {name!r} is not a name of MSVD, such as vid1301.")
    if int(number) <= _MSVD_LAST_TRAIN:
        return "train"
    return "validation" if int(number) <= _MSVD_LAST_VALIDATION else "test"


def _chosen(
    path: Path, sentences: Sequence[tuple[str, str]], part: str | None, splits: Mapping[str, str]
) -> dict[str, list[str]]:
    references: dict[str, list[str]] = {}
    for video_id, caption in sentences:
        if part is None or splits.get(video_id) == part:
            references.setdefault(video_id, []).append(caption)
    if part is not None and not references:
        raise ScoringError(f"{path}: no caption of split {part!r} (it has {', '.join(sorted(set(splits.values())))}).")
    return references


def _entries(path: Path, content: Any, shapes: str) -> Iterator[tuple[str, Any]]:
    """Pairs of video id and whatever is given for it, of an object or of a list of objects."""
    if isinstance(content, dict):
        yield from content.items()
        return
    if not isinstance(content, list):
        raise ScoringError(f"{path}: holds {_named(content)}. {shapes}")
    for number, entry in enumerate(content):
        key = next((key for key in _ID_KEYS if key in entry), None) if isinstance(entry, dict) else None
        if key is None or "caption" not in entry:
            raise ScoringError(f"{path}: entry {number} of the list has no video id and caption. {shapes}")
        yield Path(entry[key]).stem if key == "path" else str(entry[key]), entry["caption"]


def _unwrap(content: Any, keys: Sequence[str]) -> Any:
    """What is under the first of these keys, if it holds captions and not the one caption of a video of that name."""
    for key in keys:
        if isinstance(content, dict) and isinstance(content.get(key), (dict, list)):
            return content[key]
    return content


def _read_json(path: Path, shapes: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen:
                raise ScoringError(f"{path}: {key!r} occurs twice in one object. Give each video once.")
            seen[key] = value
        return seen

    try:
        return json.loads(_read_text(path), object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise ScoringError(f"{path}: not JSON ({error}). {shapes}") from error


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ScoringError(f"{path}: cannot be read ({error.strerror}). Name a file with captions.") from error
    except UnicodeDecodeError as error:
        raise ScoringError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8.") from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, without empty ones."""
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if line.strip():
            yield number, line.removesuffix("\r")


def _two_fields(path: Path, number: int, line: str) -> tuple[str, str]:
    first, space, rest = line.partition(" ")
    if not first or not space:
        raise ScoringError(f"{path}, line {number}: {line!r} is not a clip name, a space and a caption.")
    return first, rest


def _named(content: Any) -> str:
    names: dict[type, str] = {str: "a string", int: "a number", float: "a number", bool: "true or false", type(None): "null"}
    return names.get(type(content), f"a {type(content).__name__}")
