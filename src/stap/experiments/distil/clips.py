"""The videos to distil on: their human captions, where there are any, and their splits by source video."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from stap.corpora.corpus import Clip, Split
from stap.corpora.loading import load_corpus
from stap.errors import CorpusError
from stap.recipes.settings import CorpusSettings
from stap.video import VIDEO_SUFFIXES, find_videos

__all__ = ["Said", "SourceClip", "find_clips", "source_of", "splits_of_sources"]

FEWEST_SOURCES = 3
SHARE = 0.1  # of the sources, for validation and for testing each


@dataclass(frozen=True)
class Said:
    """A caption of the teacher.   score: mean log-probability of its tokens, the end included.   seconds: that it took."""

    caption: str
    score: float
    by: Literal["beam", "sample"]
    seconds: float


@dataclass(frozen=True)
class SourceClip:
    """A video file.   id: its path below the folder, without suffix.   human: its clip in a corpus, with captions; or None."""

    id: str
    path: Path
    split: Split
    human: Clip | None = None


def find_clips(videos: Path, captions: str | None, source: str, seed: int) -> tuple[SourceClip, ...]:
    """The clips of a folder, in the order of their paths.

    Where the human captions come with splits, those decide for their sources, and all other sources are for training. Otherwise a tenth
    of the sources is drawn for validation and a tenth for testing.
    Raises CorpusError where two files have one id, a source would be in two splits, a split would be empty, or no human caption is of these videos.
    """
    paths: dict[str, Path] = {}
    for path in find_videos([videos]):
        if (first := paths.setdefault(_id(videos, path), path)) is not path:
            raise CorpusError(
                f"{first} and {path} differ in their suffix alone, and a clip is known by the rest. Rename one of them."
            )
    human, has_splits = _human(captions, videos) if captions else ({}, False)
    found = {video: clip for video in paths if (clip := human.get(video) or human.get(video.rpartition("/")[2]))}
    if captions and not found:
        raise CorpusError(
            f"{captions}: none of its {len(human)} clips is among the {len(paths)} videos of {videos}. Check the names."
        )
    sources = {video: source_of(video, source) for video in paths}
    given = _splits_given(found, sources) if has_splits else {}
    splits = (
        {name: given.get(name, "train") for name in sources.values()} if given else splits_of_sources(sources.values(), seed)
    )
    if "test" not in splits.values() or "train" not in splits.values():
        raise CorpusError(
            f"{videos}: {len(set(splits))} source videos, none of them for {'testing' if 'train' in splits.values() else 'training'}. Add videos, or name another split in the captions."
        )
    return tuple(SourceClip(video, path, splits[sources[video]], found.get(video)) for video, path in paths.items())


def source_of(video: str, pattern: str) -> str:
    """The source of a clip: what the pattern's group finds in its whole id, or the id itself."""
    match = re.fullmatch(pattern, video, re.IGNORECASE)
    return match.group(1) if match else video


def splits_of_sources(names: Iterable[str], seed: int) -> dict[str, Split]:
    """A split for each source, in the order of a hash of its name. Raises CorpusError for too few."""
    order = sorted(set(names), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest())
    if len(order) < FEWEST_SOURCES:
        raise CorpusError(
            f"{len(order)} source videos ({', '.join(order)}): expected at least {FEWEST_SOURCES}, one each for training, validation and testing. "
            "Add videos, or say by --source what the source of a clip is."
        )
    held = max(1, round(SHARE * len(order)))
    return {name: "test" if place < held else "validation" if place < 2 * held else "train" for place, name in enumerate(order)}


def _splits_given(found: Mapping[str, Clip], sources: Mapping[str, str]) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    for video, clip in found.items():
        if splits.setdefault(sources[video], clip.split) != clip.split:
            raise CorpusError(
                f"{video}: is in {clip.split}, and another clip of its source {sources[video]} in {splits[sources[video]]}. Put all clips of a "
                "source into one split, or say by --source what the source of a clip is."
            )
    return splits


def _human(captions: str, videos: Path) -> tuple[dict[str, Clip], bool]:
    """The clips with human captions by id, and whether they come with splits."""
    kind, colon, folder = captions.partition(":")
    settings: dict[str, Any] = {"kind": "folder", "captions": (captions,), "videos": videos, "split_fractions": (1, 0, 0)}
    if colon and kind in get_args(CorpusSettings.model_fields["kind"].annotation):
        settings = {"kind": kind, "root": folder, "split_fractions": (1, 0, 0)}
    clips = load_corpus(CorpusSettings.model_validate(settings)).clips
    return {clip.id: clip for clip in clips}, any(clip.split != "train" for clip in clips)


def _id(folder: Path, path: Path) -> str:
    name = PurePosixPath((path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)).as_posix())
    return str(name.with_suffix("") if name.suffix.lower() in VIDEO_SUFFIXES else name)
