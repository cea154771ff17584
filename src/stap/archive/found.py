"""What a search found, as text, JSON, CSV or subtitles."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stap.archive.records import Found
from stap.files import json_text, printable
from stap.programmes.cues import Cue
from stap.programmes.timed import one_line_of
from stap.programmes.writers import clock, srt

__all__ = ["WRITERS"]

COLUMNS = ("path", "start_seconds", "end_seconds", "caption", "score", "confidence", "routes", "state", "author", "when", "id")
States = Mapping[str, str]  # of videos by content; see `Archive.states`


def text_of(found: Sequence[Found], states: States) -> str:
    """A line a shot: file, start, end and caption between tabs, and where its file is gone or changed, that."""
    lines = []
    for one in found:
        shot = one.shot
        state = "" if _state(one, states) == "present" else f"\t({_state(one, states)})"
        times = f"{clock(shot.start_seconds)}\t{clock(shot.end_seconds)}"
        lines.append(f"{printable(shot.video)}\t{times}\t{printable(shot.caption)}{state}\n")
    return "".join(lines)


def json_of(found: Sequence[Found], states: States) -> str:
    """A list of objects of COLUMNS."""
    return json_text([_object(one, states) for one in found]) + "\n"


def csv_of(found: Sequence[Found], states: States) -> str:
    """A record (RFC 4180) a shot, of COLUMNS."""
    written = io.StringIO()
    rows = csv.DictWriter(written, COLUMNS, lineterminator="\n")
    rows.writeheader()
    rows.writerows({**_object(one, states), "routes": " ".join(one.routes)} for one in found)
    return written.getvalue()


def srt_of(found: Sequence[Found], states: States) -> str:
    """SubRip by video and time; where the shots are of several videos, each cue begins with the name of its own."""
    shots = sorted((one.shot for one in found), key=lambda shot: (shot.video, shot.start_seconds))
    is_one = len({shot.video for shot in shots}) <= 1
    return srt(
        [
            Cue(
                round(1000 * shot.start_seconds),
                round(1000 * shot.end_seconds),
                (one_line_of(shot.caption if is_one else f"{printable(shot.video.name)}: {shot.caption}"),),
            )
            for shot in shots
        ]
    )


def _object(one: Found, states: States) -> dict[str, Any]:
    shot = one.shot
    return {
        "path": str(shot.video),
        "start_seconds": round(shot.start_seconds, 6),
        "end_seconds": round(shot.end_seconds, 6),
        "caption": shot.caption,
        "score": round(one.score, 6),
        "confidence": round(shot.confidence, 4),
        "routes": list(one.routes),
        "state": _state(one, states),
        "author": shot.author,
        "when": shot.when,
        "id": shot.id,
    }


def _state(one: Found, states: States) -> str:
    return states.get(one.shot.content, "missing")


WRITERS: Mapping[str, Callable[[Sequence[Found], States], str]] = {
    "text": text_of,
    "json": json_of,
    "csv": csv_of,
    "srt": srt_of,
}
