"""An archive of two small films, in which every hostile thing is only text."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from PIL import Image

from films import scene, scenes
from stap.archive.records import ArchivedShot, ArchivedVideo, Space, shot_id
from stap.archive.store import Archive
from stap.files import sha256_of_file

__all__ = ["HOSTILE", "NAME", "SECONDS", "captioned", "make_archive", "serving"]

NAME = "a <b>film & #1 \u202egepj.webm"
SECONDS = 2.0  # of a shot
HOSTILE = "<script>document.title = 'taken'</script> --> a \u202egnidloh\u202c man"
SAID = ("a man repairs a bicycle", "a dog runs on the beach", HOSTILE)


def make_archive(folder: Path, make_video_in: Callable[..., Path]) -> Path:
    """folder/archive, of the films in folder/films: NAME, of three shots, and 'other.webm', of one."""
    films = folder / "films"
    first = make_video_in(films, NAME, scenes(50, 50, 50), codec="libvpx")
    other = make_video_in(films, "other.webm", scene(7, 25), codec="libvpx")
    with Archive.create(folder / "archive", Space("text", 4, "f" * 64)) as archive:
        archive.add([captioned(first, SAID), captioned(other, ("a woman rides a bicycle",))])
        archive.note([films], {"m" * 64: {}})
        archive.optimize()
    return folder / "archive"


def captioned(path: Path, said: Sequence[str]) -> tuple[ArchivedVideo, list[ArchivedShot]]:
    """A video of shots that say these."""
    content, about = sha256_of_file(path), path.stat()
    video = ArchivedVideo(content, path, about.st_size, about.st_mtime_ns, SECONDS * len(said), "m" * 64)
    return video, [_shot(path, content, number, text) for number, text in enumerate(said)]


def _shot(path: Path, content: str, number: int, text: str) -> ArchivedShot:
    """Word w attends most to frame w of four, and there to place w of a grid of 2 by 3."""
    start, words = SECONDS * number, text.split()
    frames = tuple(start + SECONDS * (frame + 0.5) / 4 for frame in range(4))
    most = [place % 4 for place in range(len(words))]
    attention: dict[str, Any] = {
        "frames": [[255 if frame == at else 40 for frame in range(4)] for at in most],
        "rows": 2,
        "columns": 3,
        "places": [[255 if place == word % 6 else 20 for place in range(6)] for word in range(len(words))],
    }
    written = io.BytesIO()
    Image.fromarray(next(scene(number, 1))).save(written, "jpeg")
    return ArchivedShot(
        shot_id(content, start), path, content, start, start + SECONDS, text,
        words=tuple((word, frames[at]) for word, at in zip(words, most, strict=True)),
        attention=attention, confidence=0.7, frame_seconds=frames, model="m" * 64, features="e" * 64,
        picture=written.getvalue(), embedding=np.eye(4, dtype=np.float32)[number % 4],
    )  # fmt: skip


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The address of the application while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", lifespan="off", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
