"""A page of one video: the player, its shots as a list to choose from, captions, key frames and attention.

One HTML file that opens from disk and refers to the video only.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from stap.files import html_bytes
from stap.programmes.cues import Cue
from stap.programmes.timed import CaptionedVideo, TimedCaption
from stap.programmes.writers import clock, vtt
from stap.reports.page import environment

__all__ = ["html"]


@dataclass(frozen=True)
class _ShotView:
    start: str
    end: str
    when: str
    text: str
    sure: str
    picture: str  # a data URI, or ''
    words: tuple[tuple[str, str, str], ...]  # the word, the seconds that it attends to, and these for people


@dataclass(frozen=True)
class _PageView:
    title: str
    intro: str
    source: str
    track: str
    shots: list[_ShotView]
    made_by: list[tuple[str, str]]


def html(video: CaptionedVideo, cues: Sequence[Cue], folder: Path | None = None) -> str:
    """The page.   folder: where it will lie, from which it names the video; None: it names the whole path of the video."""
    path = Path(video.path).absolute()
    where = path.as_uri() if folder is None else quote(Path(os.path.relpath(path, folder.absolute())).as_posix())
    view = _PageView(
        title=Path(video.path).name,
        intro=f"{len(video.captions)} captions in {clock(video.duration_seconds)}.",
        source=where,
        track="data:text/vtt;base64," + base64.b64encode(vtt(cues).encode()).decode(),
        shots=[_shot(caption) for caption in video.captions],
        made_by=[(name, json.dumps(made, default=str)) for name, made in video.made_by.items()],
    )
    return html_bytes(environment().get_template("programme.html.j2").render(page=view)).decode()


def _shot(caption: TimedCaption) -> _ShotView:
    return _ShotView(
        start=f"{caption.start_seconds:.3f}",
        end=f"{caption.end_seconds:.3f}",
        when=f"{clock(caption.start_seconds)} to {clock(caption.end_seconds)}",
        text=caption.text,
        sure=f"confidence {100 * caption.confidence:.0f} percent",
        picture="data:image/jpeg;base64," + base64.b64encode(caption.picture).decode() if caption.picture else "",
        words=tuple((word, f"{at:.3f}", clock(at)) for word, at in caption.words if at is not None),
    )
