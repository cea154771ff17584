"""The two spaces of an archive's vectors: a model's joint space of videos and sentences, and hashed words for captioners without one."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from stap.archive.records import Space, fingerprint_of
from stap.archive.store import Archive
from stap.captioning.captioner import Captioner
from stap.captioning.protocol import VideoCaptioner
from stap.errors import ArchiveError
from stap.text.words import tokenize

__all__ = ["TEXT_SPACE", "check_model", "joint_space", "query_vector", "sentence_encoder", "space_of", "text_vector", "unit"]

_TEXT_SIZE = 512
TEXT_SPACE = Space(
    "text", _TEXT_SIZE, fingerprint_of("words, pairs of words and 4 letters in a row, CRC-32 into 512 with a sign")
)
# Of a captioner's fingerprint, what its joint space depends on.
_OF_THE_SPACE = ("weights_sha256", "vocabulary_sha256", "streams")


def space_of(captioner: VideoCaptioner, name: str) -> Space:
    """The joint space of a model that has one, otherwise the space of words.   name: how the model is loaded again."""
    if isinstance(captioner, Captioner) and captioner.model.has_joint_space:
        return joint_space(captioner.fingerprint, captioner.run.recipe.model.hidden_size, name)
    return replace(TEXT_SPACE, model=name)


def joint_space(fingerprint: Mapping[str, Any], size: int, name: str = "") -> Space:
    """The joint space of the model with this `VideoCaptioner.fingerprint`."""
    return Space("joint", size, fingerprint_of({part: fingerprint.get(part) for part in _OF_THE_SPACE}), name)


def check_model(archive: Archive, space: Space) -> None:
    """Raise ArchiveError unless vectors of this space can be compared with those of the archive."""
    if (space.kind, space.size, space.fingerprint) != (archive.space.kind, archive.space.size, archive.space.fingerprint):
        holds = {"joint": f"vectors of the model {archive.space.model or '?'}", "text": "vectors of words"}[archive.space.kind]
        given = {"joint": f"those of {space.model or 'another model'}", "text": "vectors of words"}[space.kind]
        raise ArchiveError(
            f"{archive.folder}: an archive of another model: it holds {holds}, and {given} cannot be compared with them. "
            "Use the model of the archive, or make a new archive."
        )


def sentence_encoder(archive: Archive, load: Callable[[str], VideoCaptioner]) -> Callable[[str], np.ndarray]:
    """From a sentence to its vector in the archive's space, 0 where no word is known.

    load: from a model's name to the captioner; called once, for a joint space only. Raises ArchiveError for another model than the archive's.
    """
    if archive.space.kind == "text":
        return text_vector
    captioner = _of_archive(archive, load)
    assert isinstance(captioner, Captioner), "it has a joint space"
    return lambda sentence: unit(captioner.embed([sentence])[0].numpy())


def query_vector(archive: Archive, words: str, like: Path | None, load: Callable[[str], VideoCaptioner]) -> np.ndarray:
    """(H,) the vector of a sentence, of a clip, or half-way between the two.   load: as for `sentence_encoder`.

    Raises VideoError for a clip that cannot be read.
    """
    captioners = functools.cache(load)
    found = [sentence_encoder(archive, captioners)(words)] if words.strip() else []
    if like is not None:
        caption = _of_archive(archive, captioners).caption(like)
        found.append(
            text_vector(caption.caption)
            if archive.space.kind == "text" or caption.embedding is None
            else unit(caption.embedding.numpy())
        )
    return unit(np.sum(found, axis=0))


def _of_archive(archive: Archive, load: Callable[[str], VideoCaptioner]) -> VideoCaptioner:
    captioner = load(archive.space.model)
    if archive.space.kind == "joint":
        check_model(archive, space_of(captioner, archive.space.model))
    return captioner


def text_vector(sentence: str) -> np.ndarray:
    """(512,) float32 of unit length: words, pairs of words and parts of words of a sentence, hashed; 0 without words."""
    vector = np.zeros(_TEXT_SIZE, np.float32)
    for part in _parts(tokenize(sentence)):
        code = zlib.crc32(part.encode("utf-8", "backslashreplace"))
        vector[code % _TEXT_SIZE] += 1 if code & (1 << 31) else -1
    return unit(vector)


def _parts(words: list[str]) -> Iterable[str]:
    yield from words
    yield from (f"{one} {other}" for one, other in pairwise(words))
    for word in words:
        padded = f"<{word}>"
        yield from (padded[first : first + 4] for first in range(len(padded) - 3))


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector in float32 at unit length; 0 stays 0."""
    length = float(np.linalg.norm(vector))
    return (vector / length if length else vector).astype(np.float32)
