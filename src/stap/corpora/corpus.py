"""Datasets: clips with reference captions, in three splits."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stap.corpora.problems import OnProblem, Problem
from stap.errors import CorpusError

__all__ = ["SPLITS", "Annotations", "Clip", "Corpus", "Split", "distinct"]

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Clip:
    """A video and what people wrote about it."""

    id: str
    path: Path  # of its file; where that should be, if the corpus was loaded without its files
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

    def only(self, ids: Container[str], having: str) -> Corpus:
        """The clips whose ids are among these.   having: what they have in common, for the error. Raises CorpusError if none is left."""
        clips = tuple(clip for clip in self.clips if clip.id in ids)
        if not clips:
            raise CorpusError(f"{self.name}: none of {len(self.clips):,} clips has {having}.")
        return Corpus(self.name, clips)


@dataclass(frozen=True)
class Annotations:
    """What the caption files of a corpus say, problems included; a clip's path is where its file should be."""

    name: str
    clips: tuple[Clip, ...]


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
