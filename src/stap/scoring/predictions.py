"""Predictions from files, in the shapes that systems write: one caption per video."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stap.errors import ScoringError
from stap.scoring.files import entries, entries_of_lines, fields, read_json, read_text, texts, unwrap
from stap.scoring.matching import distinct_ids, match_names

__all__ = ["predicted_names", "read_predictions"]

WRAPPERS = ("predictions", "captions", "results", "result", "annotations")
SHAPES = (
    'Expected JSON: {"video1": "a caption", ...}, {"video1": ["a caption"], ...}, '
    '[{"video_id": "video1", "caption": "a caption"}, ...], or one of these under "predictions", "captions" or "results".'
)
SHAPES_OF_LINES = 'Expected a line {"video_id": "video1", "caption": "a caption"} for each video.'


def read_predictions(path: str | Path, order: Sequence[str] | None = None) -> dict[str, str]:
    """Video id -> caption.

    By the file's suffix: .jsonl is a JSON object a line, .tsv a video id, a tab and a caption a line, .txt a caption a line (or a
    .tsv, if every line has a tab), anything else JSON, or such lines with tabs.

    order: the ids of all videos in the order of the split. The lines of plain text belong to them one by one; other names are matched
        with them (`match_names`), so that films/kitchen/0001.mp4 is the clip kitchen/0001. Without it, the name of a video file stands
        for its name without folder and suffix, or without suffix alone where two folders have files of one name.
    Raises ScoringError for a file that cannot be read, another shape, a video with two captions or none, or an ambiguous name.
    """
    path = Path(path)
    named = _named_captions(path)
    if named is None:
        return _in_order(path, order)
    pairs, shapes = named
    names = [name for name, _ in pairs]
    try:
        matched = {} if order is None else match_names(dict.fromkeys(names), order)
    except ScoringError as error:
        raise ScoringError(f"{path}: {error}") from error
    return _one_each(path, pairs, distinct_ids(names) | matched, shapes)


def predicted_names(path: str | Path) -> list[str] | None:
    """The names of the videos as a file gives them; None of plain text. Raises ScoringError as `read_predictions` does."""
    named = _named_captions(Path(path))
    return None if named is None else [name for name, _ in named[0]]


def _named_captions(path: Path) -> tuple[list[tuple[str, Any]], str] | None:
    """Names with what is given for them, and the shapes that messages expect; None of plain text."""
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return list(entries_of_lines(path, SHAPES_OF_LINES)), SHAPES_OF_LINES
    if suffix == ".tsv" or (suffix != ".json" and _has_ids(path)):
        return list(fields(path)), SHAPES
    if suffix == ".txt":
        return None
    return list(entries(path, unwrap(read_json(path, SHAPES), WRAPPERS), SHAPES)), SHAPES


def _one_each(path: Path, pairs: Iterable[tuple[str, Any]], ids: Mapping[str, str], shapes: str) -> dict[str, str]:
    predictions: dict[str, str] = {}
    for name, given in pairs:
        captions = texts(given)
        if captions is None:
            raise ScoringError(f"{path}: the prediction for video {ids[name]} is {given!r}. {shapes}")
        if len(captions) != 1 or ids[name] in predictions:
            number = "no caption" if not captions else "more than one caption"
            raise ScoringError(f"{path}: video {ids[name]} has {number}. Give exactly one per video.")
        predictions[ids[name]] = captions[0]
    return predictions


def _has_ids(path: Path) -> bool:
    given = [line for line in read_text(path).split("\n") if line.strip()]
    return bool(given) and all("\t" in line.strip("\t") for line in given)


def _in_order(path: Path, order: Sequence[str] | None) -> dict[str, str]:
    """A caption a line. An empty line is an empty caption; the line feed at the end of the file begins no line."""
    if order is None:
        raise ScoringError(
            f"{path}: plain text has no video ids, so the order of the videos must be given. Give it, or a .tsv file."
        )
    captions = read_text(path).removesuffix("\n").split("\n")
    if len(captions) != len(order):
        raise ScoringError(
            f"{path}: {len(captions)} lines, and the references have {len(order)} videos. Expected one caption per line, ordered as "
            f"the references, {order[0]} to {order[-1]}; or a .tsv file with ids."
        )
    return {video_id: caption.removesuffix("\r") for video_id, caption in zip(order, captions, strict=True)}
