"""Captions that `stap caption --format json` wrote, read again for an archive."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from stap.archive.database import ARCHIVE_FILE
from stap.captioning.video_caption import Provenance, VideoCaption
from stap.errors import ArchiveError, StapError
from stap.files import files_below, one_line, parse_json, read_bytes
from stap.programmes.shots import Shot
from stap.programmes.timed import CaptionedVideo, TimedCaption, timed_caption
from stap.recipes.settings import VideoLimits
from stap.video.clips import start_and_duration

__all__ = ["find_results", "read_results"]

EXPECTED = "Expected what `stap caption --format json` writes."


def find_results(path: Path) -> list[Path]:
    """The file itself if it is JSON, or the JSON files below a folder; none for anything else."""
    if path.is_dir():
        found = [file for file in files_below(path) if file.suffix.lower() == ".json" and file.name != ARCHIVE_FILE]
        return [file for file in found if not any(part.endswith(".lance") for part in file.parts)]
    return [path] if path.suffix.lower() == ".json" else []


def read_results(path: Path, limits: VideoLimits | None = None) -> Iterator[CaptionedVideo | StapError]:
    """The captions of each video in a file, or why there are none of it; each brings its vector as `TimedCaption.answer`, if it has one."""
    try:
        content = parse_json(read_bytes(path, ArchiveError).decode("utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        yield ArchiveError(f"{path}: is no JSON ({one_line(error)}). {EXPECTED}")
        return
    except StapError as error:
        yield error
        return
    for number, entry in enumerate(content if isinstance(content, list) else [content], start=1):
        try:
            yield _video(entry, limits)
        except StapError as error:
            yield error
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            yield ArchiveError(f"{path}, entry {number}: is no result ({type(error).__name__}: {one_line(error)}). {EXPECTED}")


def _video(entry: Mapping[str, Any], limits: VideoLimits | None) -> CaptionedVideo:
    path, made_by = Path(entry["path"]), dict(entry.get("made_by", {}))
    if "shots" in entry:
        captions = [replace(TimedCaption.from_json(part), answer=_answer(path, part)) for part in entry["shots"]]
        return CaptionedVideo(path, float(entry["duration_seconds"]), tuple(captions), made_by)
    start, duration = start_and_duration(path, limits)
    answer = _answer(path, entry)
    caption = replace(timed_caption(Shot(1, start, start + duration), answer), answer=answer)
    return CaptionedVideo(path, duration, (caption,), made_by, whole=answer)


def _answer(path: Path, entry: Mapping[str, Any]) -> VideoCaption:
    """As far as JSON tells: attention over the frames of a whole clip only, and no pooling weights."""
    attention = [word.get("attention") for word in entry["words"]]
    times = torch.tensor(entry.get("times_seconds", entry.get("frame_seconds")), dtype=torch.float32)
    return VideoCaption(
        path,
        str(entry["caption"]),
        float(entry["score"]),
        tuple(str(word["word"]) for word in entry["words"]),
        entry.get("stream"),
        None if None in attention else torch.tensor(attention, dtype=torch.float32).reshape(len(attention), len(times)),
        times,
        None,
        (),
        provenance=Provenance(entry["model"], entry["revision"], entry["prompt"], entry["seconds"])
        if "prompt" in entry
        else None,
        embedding=torch.tensor(entry["embedding"], dtype=torch.float32) if "embedding" in entry else None,
    )
