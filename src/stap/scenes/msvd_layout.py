"""Generated scenes in MSVD's layout too, next to MSR-VTT's in the same folder, to try what is made for MSVD."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from stap.corpora.corpus import SPLITS, Clip, Corpus
from stap.corpora.loading import load_corpus_with_files
from stap.corpora.msvd import DESCRIPTIONS, FOLDER, LAST, LAST_TRAIN, LAST_VALIDATION, MAPPING
from stap.errors import CorpusError
from stap.files import folder_lock, replacing, write_atomically
from stap.recipes.settings import CorpusSettings

__all__ = ["write_msvd_layout"]

# The numbers N of vidN that each split may have, first and last.
NUMBERS = {"train": (1, LAST_TRAIN), "validation": (LAST_TRAIN + 1, LAST_VALIDATION), "test": (LAST_VALIDATION + 1, LAST)}


def write_msvd_layout(corpus: Corpus, out: Path) -> Corpus:
    """Write youtube_mapping.txt, AllVideoDescriptions.txt and YouTubeClips/ (links, or copies) into `out`, and read them back.

    MSVD has room for 1,200, 100 and 670 clips; those that go beyond are left out. The facts are not part of this layout.
    Raises CorpusError if `out` cannot be written.
    """
    numbered = [
        (clip, number)
        for split in SPLITS
        for clip, number in zip(corpus.split(split), range(NUMBERS[split][0], NUMBERS[split][1] + 1), strict=False)
    ]
    descriptions = "".join(f"{clip.id} {line}\n" for clip, _ in numbered for line in clip.captions)
    with folder_lock(out, CorpusError):
        for clip, _ in numbered:
            _link(clip, out / FOLDER)
        write_atomically(out / MAPPING, "".join(f"{clip.id} vid{number}\n" for clip, number in numbered).encode(), CorpusError)
        write_atomically(out / DESCRIPTIONS, descriptions.encode(), CorpusError)
    return load_corpus_with_files(CorpusSettings(kind="msvd", root=out))


def _link(clip: Clip, folder: Path) -> None:
    """The video file under its clip's name: a hard link, or a copy where the file system has none."""
    there = folder / f"{clip.id}{clip.path.suffix}"
    if there.exists() and there.stat().st_size == clip.path.stat().st_size:
        return
    with replacing(there, CorpusError) as unfinished:
        try:
            os.link(clip.path, unfinished)
        except OSError:
            shutil.copyfile(clip.path, unfinished)
