"""What an archive holds: videos, their shots, every version of a caption; and a query with what it finds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

__all__ = ["ArchivedShot", "ArchivedVideo", "Found", "Query", "Route", "Space", "Version", "fingerprint_of", "shot_id"]

Route = Literal["meaning", "words"]
NO_VECTOR = np.zeros(0, np.float32)


def fingerprint_of(described: Any) -> str:
    """The SHA-256 of what JSON says of it, in hexadecimal."""
    text = json.dumps(described, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def shot_id(content: str, start_seconds: float) -> str:
    """The name of a shot: it stays when the video is renamed, moved or captioned again. Letters, digits and '-' only."""
    return f"{content[:32]}-{round(start_seconds * 1e6)}"


@dataclass(frozen=True)
class Space:
    """Where the vectors of an archive lie.

    kind: 'joint': the matching space of a captioning model, where sentences and videos meet; 'text': the captions' own words.
    size: H, the numbers of a vector.   fingerprint: vectors of another one cannot be compared.   model: its name, to load it again.
    """

    kind: Literal["joint", "text"]
    size: int
    fingerprint: str
    model: str = ""


@dataclass(frozen=True)
class ArchivedVideo:
    """A video file as it was when it was indexed.

    content: SHA-256 of the file.   path: absolute.   bytes, modified_ns: of the file, to notice quickly that it is another one now.
    model: fingerprint of the captioner and its plan; see `Archive.models`.
    """

    content: str
    path: Path
    bytes: int
    modified_ns: int
    duration_seconds: float
    model: str

    @property
    def state(self) -> Literal["present", "missing", "changed"]:
        """What is at the path now: the file by its size and time, nothing, or another file."""
        try:
            found = self.path.stat()
        except (OSError, ValueError):
            return "missing"
        return "present" if (found.st_size, found.st_mtime_ns) == (self.bytes, self.modified_ns) else "changed"


@dataclass(frozen=True)
class Version:
    """A caption of a shot.   author: who wrote it, '' the model.   when: ISO 8601 in UTC, '' of the model's."""

    text: str
    author: str = ""
    when: str = ""


@dataclass(frozen=True)
class ArchivedShot:
    """A part of a video and what was said of it.

    id: see `shot_id`.   video: path of the file, absolute.   content: its SHA-256.   start_seconds, end_seconds: by the clock of a player.
    caption: the current version.   words: those of the model's caption, each with the time of the frame that it attends to most, or None.
    attention: of each word, 0 to 255: 'frames', its weights of the frames at `frame_seconds`; 'places', those of the places of the frame
    that it attends to most, `rows` x `columns`, row by row, over the central square of the video's frame whose side is the part `crop` of
    its shorter side (in `picture`: the part `picture_crop`); empty where the model shows none.
    score, confidence: of the model's caption.   model, features: fingerprints of the captioner with its plan and of its features.
    author, when: of the current version; see `Version`.
    picture: JPEG of the frame that the words attend to most, and embedding: (H,) in the archive's space, unit length. Both are left empty
    in what is read: `Archive.picture` reads a picture.
    """

    id: str
    video: Path
    content: str
    start_seconds: float
    end_seconds: float
    caption: str
    words: tuple[tuple[str, float | None], ...] = ()
    attention: Mapping[str, Any] = field(default_factory=dict)
    score: float = 0.0
    confidence: float = 1.0
    frame_seconds: tuple[float, ...] = ()
    model: str = ""
    features: str = ""
    author: str = ""
    when: str = ""
    picture: bytes = field(default=b"", repr=False)
    embedding: np.ndarray = field(default_factory=lambda: NO_VECTOR, repr=False, compare=False)


@dataclass(frozen=True)
class Query:
    """What is looked for.

    words: in the captions, by full text.   vector: (H,) in the archive's space: a sentence's (see `stap.archive.spaces`) or a shot's.
    where: a condition in SQL on the columns of a shot, such as "end_seconds - start_seconds > 5".   limit: the most that is found.
    """

    words: str = ""
    vector: np.ndarray | None = None
    where: str = ""
    limit: int = 20


@dataclass(frozen=True)
class Found:
    """A shot, how well it fits (only to be compared within a query), and the routes that found it."""

    shot: ArchivedShot
    score: float
    routes: tuple[Route, ...]
