"""Corrected captions as a folder corpus, for `stap train`: a clip a shot, and captions.csv."""

from __future__ import annotations

import csv
import io
import itertools
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from stap.archive.records import ArchivedShot, ArchivedVideo
from stap.corpora.folder import drawn_splits
from stap.errors import ArchiveError, StapError
from stap.files import write_atomically
from stap.recipes.settings import CorpusSettings
from stap.video import write_video
from stap.video.clips import FrameStream

__all__ = ["write_corpus"]

FRAME_RATE = 25  # of clips that are cut out


def write_corpus(shots: Iterable[ArchivedShot], videos: Mapping[str, ArchivedVideo], out: Path) -> tuple[int, list[str]]:
    """Write the shots and their captions; see docs/corpora.md for the layout. Splits are drawn video by video.

    videos: by content.   Returns how many shots were written, and why others were not: their video is gone or cannot be read.
    Raises ArchiveError for a folder that is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise ArchiveError(f"{out}: is not empty. Name a new folder for the corrections.")
    defaults = CorpusSettings()
    by_video = [
        (content, list(some)) for content, some in itertools.groupby(sorted(shots, key=_place), lambda one: one.content)
    ]
    splits = drawn_splits([content for content, _ in by_video], defaults.split_fractions, defaults.split_seed)
    rows, problems = [("video", "caption", "split")], list[str]()
    for content, some in by_video:
        path = some[0].video
        state = videos[content].state if content in videos else "missing"
        if state != "present":
            problems.append(f"{path}: is {state}, so {len(some)} corrections are left out. Index the folder where it is now.")
            continue
        try:
            names = _clips(videos[content], some, out / "clips")
        except (StapError, OSError) as error:
            problems.append(f"{path}: {len(some)} corrections are left out: {error}")
            continue
        rows += [(f"clips/{name}", shot.caption, splits[content]) for name, shot in zip(names, some, strict=True)]
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    write_atomically(out / "captions.csv", table.getvalue().encode("utf-8", "backslashreplace"), ArchiveError)
    return len(rows) - 1, problems


def _place(shot: ArchivedShot) -> tuple[str, float]:
    return shot.content, shot.start_seconds


def _clips(video: ArchivedVideo, shots: list[ArchivedShot], folder: Path) -> list[str]:
    """The names of files of these shots of a video, in their order in time: a copy where a shot is all of it, or cut out in one pass."""
    [first, *others] = shots
    if not others and first.end_seconds - first.start_seconds >= video.duration_seconds - 1e-3:
        folder.mkdir(parents=True, exist_ok=True)
        name = first.id + video.path.suffix.lower()
        shutil.copyfile(video.path, folder / name)
        return [name]
    stream, position = FrameStream(video.path, FRAME_RATE), 0
    pictures, times = iter(stream), stream.start_seconds + (np.arange(len(stream)) + 0.5) / FRAME_RATE
    for shot in shots:
        begin, end = (int(np.searchsorted(times, at)) for at in (shot.start_seconds, shot.end_seconds))
        begin = min(max(begin, position), len(times) - 1)
        end = max(end, begin + 1)
        part = itertools.islice(pictures, begin - position, end - position)
        write_video(folder / f"{shot.id}.mp4", map(_even, part), FRAME_RATE)
        position = end
    return [f"{shot.id}.mp4" for shot in shots]


def _even(rgb_uint8: np.ndarray) -> np.ndarray:
    """(height, width, 3) without the last row or column where their number is odd."""
    height, width = (side - side % 2 for side in rgb_uint8.shape[:2])
    return rgb_uint8[:height, :width]
