"""What is captioned: clips with their captions, in three splits; and the one way to load them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stap.config import CorpusSettings
from stap.errors import CorpusError

__all__ = ["SPLITS", "Clip", "Corpus", "Split", "load_corpus"]

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


def load_corpus(settings: CorpusSettings) -> Corpus:
    """The corpus that a recipe names. Raises CorpusError for anything missing or inconsistent."""
    from stap.corpora import msrvtt, msvd  # they import this module

    if settings.root is None:
        raise CorpusError("corpus.root is not set. Give the folder of the corpus, for example corpus.root=data/msrvtt.")
    readers = {"msrvtt": msrvtt.read_msrvtt, "msvd": msvd.read_msvd}
    return readers[settings.kind](settings.root, videos=settings.videos, available_only=settings.available_only)
