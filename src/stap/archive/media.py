"""The files of an archive for a browser: a video is found by what it holds, never by a path that a client sends."""

from __future__ import annotations

import mimetypes
import re
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from starlette.responses import FileResponse

from stap.archive.problems import RequestError
from stap.archive.records import ArchivedShot, ArchivedVideo
from stap.archive.store import Archive
from stap.files import one_line, printable
from stap.programmes.cues import cues_of
from stap.programmes.timed import TimedCaption
from stap.programmes.writers import vtt

__all__ = ["checked_file", "problem_with", "track", "video_response", "zipped_corrections"]

INDEX_AGAIN = "Index the folder again where it is now: stap index VIDEOS --archive DIR."
_RANGE = r"\s*(\d{1,18}-(\d{1,18})?|-\d{1,18})\s*"
_RANGES = re.compile(rf"bytes={_RANGE}(,{_RANGE})*", re.ASCII)


def checked_file(video: ArchivedVideo, roots: Sequence[Path]) -> Path:
    """Where the video lies, without links.

    Raises RequestError: 410 if it was moved or replaced since, 403 if it lies outside the roots, whatever links lead to it.
    """
    expected = "the video where it was indexed"
    try:
        path = video.path.resolve(strict=True)
        is_file = stat.S_ISREG(path.stat().st_mode)
    except (OSError, RuntimeError, ValueError):  # RuntimeError: links in a circle
        raise RequestError(410, expected, "no file: it was moved or removed since", INDEX_AGAIN) from None
    if not any(path.is_relative_to(root.resolve()) for root in roots):
        raise RequestError(403, "a video in one of the folders of this archive", "a link that leads out of them", INDEX_AGAIN)
    if not is_file or video.state != "present":
        raise RequestError(410, expected, "another file: it was replaced or changed since", INDEX_AGAIN)
    return path


def problem_with(video: ArchivedVideo, roots: Sequence[Path]) -> str:
    """Why the video cannot be played, or ''."""
    try:
        checked_file(video, roots)
    except RequestError as problem:
        return str(problem)
    return ""


def zipped_corrections(archive: Archive) -> BinaryIO:
    """A folder corpus of the corrected shots, in an archive of ZIP that vanishes when it is closed; of videos that may be served only."""
    content = tempfile.TemporaryFile()  # noqa: SIM115, who reads it closes it
    try:
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(content, "w") as written:
            out = Path(folder) / "corrections"
            _, problems = archive.export_corrections(out, lambda video: not problem_with(video, archive.roots))
            for path in sorted(out.rglob("*")):
                written.write(path, path.relative_to(folder))
            if problems:
                written.writestr("corrections/problems.txt", "\n".join(map(printable, problems)) + "\n")
    except OSError as error:
        content.close()
        to_do = "Make room in the folder for temporary files, and try again."
        raise RequestError(503, "a server with room for the clips", one_line(error), to_do) from error
    content.seek(0)
    return content


def video_response(path: Path, ranges: str | None) -> FileResponse:
    """The video, or the ranges of it that a Range header asks for. Raises RequestError: 416 for a range that it has not."""
    size = path.stat().st_size
    if ranges is not None and not (_RANGES.fullmatch(ranges) and all(_is_within(one, size) for one in ranges[6:].split(","))):
        given = f"{ranges[:100]!r} of {size} bytes"
        headers = {"Content-Range": f"bytes */{size}"}
        raise RequestError(416, "a range such as bytes=0-1023 within the file", given, "Ask for a part of the file.", headers)
    kind = mimetypes.guess_type(path.name)[0] or ""
    is_media = kind.startswith(("video/", "audio/"))  # never a page, whatever the file is called
    return FileResponse(path, media_type=kind if is_media else "application/octet-stream")


def _is_within(part: str, size: int) -> bool:
    first, _, last = part.strip().partition("-")
    if not first:
        return int(last) > 0 and size > 0
    return int(first) < size and (not last or int(first) <= int(last))


def track(shots: Iterable[ArchivedShot]) -> str:
    """Captions of a video for its player, as WebVTT: cues that can be read in time, in which markup and arrows are text."""
    cues, _ = cues_of(TimedCaption(shot.start_seconds, shot.end_seconds, shot.caption) for shot in shots)
    return vtt(cues)
