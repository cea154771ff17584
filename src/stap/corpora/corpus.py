"""What is captioned: clips with their captions, in three splits; and the one way to load them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stap.config import CorpusSettings
from stap.corpora.problems import OnProblem, Problem, refuse
from stap.errors import CorpusError

__all__ = ["SPLITS", "Annotations", "Clip", "Corpus", "Split", "load_annotations", "load_corpus"]

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Clip:
    """A video file and what people wrote about it."""

    id: str
    path: Path
    split: Split
    captions: tuple[str, ...]  # as published; text.tokenize makes words of them
    facts: Mapping[str, Any] | None = None  # generated scenes: what can be seen (see scenes/facts.py)


@dataclass(frozen=True)
class Corpus:
    """Clips in the order of the corpus. The ids are distinct, and every clip has a caption."""

    name: str
    clips: tuple[Clip, ...]

    def __post_init__(self) -> None:
        if not self.clips:
            raise CorpusError(f"{self.name}: no clips. Expected at least one clip with a caption.")
        seen: set[str] = set()
        for clip in self.clips:
            if clip.id in seen:
                raise CorpusError(f"{self.name}: two clips are called {clip.id}. Expected distinct names.")
            if not clip.captions:
                raise CorpusError(
                    f"{self.name}: {clip.id} has no caption. Expected at least one; add one or leave out the clip."
                )
            seen.add(clip.id)

    def split(self, name: str) -> tuple[Clip, ...]:
        """The clips of 'train', 'validation' or 'test'; may be empty. Raises CorpusError for another name."""
        if name not in SPLITS:
            raise CorpusError(f"{name!r} is no split of {self.name}. Expected one of {', '.join(SPLITS)}.")
        return tuple(clip for clip in self.clips if clip.split == name)


@dataclass(frozen=True)
class Annotations:
    """What the caption files of a corpus say, whether the video files are there or not; a clip's path is where its file should be."""

    name: str
    clips: tuple[Clip, ...]


def load_corpus(settings: CorpusSettings) -> Corpus:
    """The corpus that a recipe names. Raises CorpusError for anything missing or inconsistent."""
    from stap.corpora import coco  # they import this module
    from stap.corpora.files import with_video_files

    if settings.kind == "coco":
        return coco.read_coco(settings)
    annotations = load_annotations(settings)
    where = str(settings.root or settings.videos or annotations.name)
    return Corpus(annotations.name, with_video_files(annotations.clips, where, available_only=settings.available_only))


def load_annotations(settings: CorpusSettings, on_problem: OnProblem = refuse) -> Annotations:
    """The same without looking for the video files. What else is wrong goes to `on_problem`, and is left out if that returns.

    Raises CorpusError where nothing can be read on: a file that is missing or of another corpus.
    """
    from stap.corpora import coco, folder, msrvtt, msvd, vatex  # they import this module

    if settings.root is None and not settings.captions:
        raise CorpusError("corpus.root is not set. Give the folder of the corpus, for example corpus.root=data/msrvtt.")
    readers = {
        "msrvtt": msrvtt.read_annotations,
        "msvd": msvd.read_annotations,
        "vatex": vatex.read_annotations,
        "folder": folder.read_annotations,
        "coco": coco.read_annotations,
    }
    annotations = readers[settings.kind](settings, on_problem)
    return Annotations(annotations.name, distinct(annotations.name, annotations.clips, on_problem))


def distinct(name: str, clips: Iterable[Clip], on_problem: OnProblem) -> tuple[Clip, ...]:
    """The clips, each id once: the first of that name stays."""
    known: dict[str, Clip] = {}
    for clip in clips:
        first = known.setdefault(clip.id, clip)
        if first is not clip:
            splits = f"both in {clip.split}" if clip.split == first.split else f"one in {first.split}, one in {clip.split}"
            sentence = f"{name}: two clips are called {clip.id}, {splits}. Expected distinct names, each in one split."
            on_problem(Problem("split" if clip.split != first.split else "name", sentence))
    return tuple(known.values())
