"""Folders of videos: which file becomes which, what is done already, and a manifest of it all."""

from __future__ import annotations

import glob
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from stap.errors import StapError
from stap.files import sha256_of_file
from stap.video import find_videos

__all__ = ["Entry", "Job", "Manifest", "jobs_of", "key_of", "named_videos"]

Status = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class Job:
    """A video, and the file of its captions.   name: its path below the folder that was given."""

    video: Path
    output: Path
    name: str = ""


@dataclass(frozen=True)
class Content:
    """What a video held when its file had this size and modification time.   sha256: of its bytes."""

    sha256: str
    size: int
    modified_ns: int

    @classmethod
    def of(cls, video: Path) -> Content:
        """Read the file. Raises OSError."""
        status = video.stat()
        return cls(sha256_of_file(video), status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Entry:
    """A line of the manifest.

    reason: why a video was skipped or failed.   seconds: that it took.   key: of the video's content and all that its captions depend
    on.   output_sha256: of the output as it was written.   content: None of a video that failed.
    """

    input: str
    status: Status
    output: str
    reason: str = ""
    seconds: float = 0.0
    key: str = ""
    output_sha256: str = ""
    content: Content | None = None


def jobs_of(
    paths: Iterable[Path], suffix: str, into: Path | None = None, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> list[Job]:
    """A job for each video in these files and folders; one for a video that is in several of them.

    suffix: of the outputs, such as '.srt'. They lie next to the videos, or in folders below `into` like those of the videos.
    include, exclude: patterns of file names, or of paths below a given folder; without `include` all videos are taken.

    Videos of one folder that differ in their suffix only keep it in the output's name. Raises VideoError as `find_videos` does, and
    StapError where two videos would have one output.
    """
    found: dict[Path, tuple[Path, Path, Path]] = {}  # absolute: a video, its path in the folder, its output less the suffix
    for path in paths:
        for video, below in named_videos(path):
            if (not include or _matches(below, include)) and not _matches(below, exclude):
                found.setdefault(video.absolute(), (video, below, video if into is None else into / below))
    stems = Counter(place.with_suffix("") for _, _, place in found.values())
    jobs = [
        Job(
            video, place.with_name((place.stem if stems[place.with_suffix("")] == 1 else place.name) + suffix), below.as_posix()
        )
        for video, below, place in found.values()
    ]
    by_output: dict[Path, Path] = {}
    for job in jobs:
        if by_output.setdefault(job.output, job.video) != job.video:
            raise StapError(
                f"{job.output}: would hold the captions of {by_output[job.output]} and of {job.video}. Caption them into two folders."
            )
    return jobs


def named_videos(path: Path) -> list[tuple[Path, Path]]:
    """The videos of a file or a folder, each with its path below the folder. Raises VideoError as `find_videos` does."""
    root = path if path.is_dir() else path.parent
    return [(video, video.relative_to(root)) for video in find_videos([path])]


def _matches(below: Path, patterns: Sequence[str]) -> bool:
    return any(fnmatch(below.name, pattern) or fnmatch(below.as_posix(), pattern) for pattern in patterns)


def key_of(content: Content, made_by: Mapping[str, Any]) -> str:
    """The identity of a job: the content of the video, whatever its name, and all that its captions depend on."""
    described = json.dumps([content.sha256, made_by], sort_keys=True, default=str)
    return hashlib.sha256(described.encode("utf-8", "backslashreplace")).hexdigest()


class Manifest:
    """JSON lines, one for each video that was looked at; read while it grows, never rewritten."""

    def __init__(self, path: Path, part: str = "") -> None:
        """Read what is there. Lines that are no entries, such as one that a full disk cut off, are passed over.

        part: of several machines this one does one part, such as '3-of-8', and has a file of its own for it: two machines that append to
        one file on a network lose lines. All parts are read, however many there were.
        """
        self.path = path.with_name(f"{path.stem}.{part}{path.suffix}") if part else path
        self._by_output: dict[str, dict[str, Entry]] = {}  # by key: the last one may be in another part
        self._by_key: dict[str, Entry] = {}
        self._contents: dict[str, Content] = {}  # by input
        parts = sorted(path.parent.glob(f"{glob.escape(path.stem)}.*-of-*{glob.escape(path.suffix)}"))
        for one in dict.fromkeys([path, *parts]):
            lines = one.read_text(encoding="utf-8", errors="replace").splitlines() if one.is_file() else []
            for line in lines:
                try:
                    self._remember(_entry(json.loads(line)))
                except (ValueError, TypeError, AttributeError):
                    continue

    def _remember(self, entry: Entry) -> None:
        if entry.content is not None:
            self._contents[entry.input] = entry.content
        if entry.status == "done":
            self._by_output.setdefault(entry.output, {})[entry.key] = self._by_key[entry.key] = entry

    def add(self, entry: Entry) -> None:
        """Append a line. Raises OSError."""
        self._remember(entry)
        with self.path.open("ab+") as file:
            if file.tell():
                file.seek(-1, 2)
            starts_a_line = file.read(1) in (b"", b"\n")
            file.write(b"" if starts_a_line else b"\n")
            file.write(json.dumps(asdict(entry)).encode() + b"\n")

    def known_content(self, video: Path) -> Content | None:
        """The video's content, if its size and modification time are those of when it was read. Raises OSError."""
        status = video.stat()
        known = self._contents.get(str(video))
        is_as_before = known is not None and (known.size, known.modified_ns) == (status.st_size, status.st_mtime_ns)
        return known if is_as_before else None

    def is_done(self, job: Job, key: str) -> bool:
        """Whether the output is there, as it was written, of this very content."""
        entry = self._by_output.get(str(job.output), {}).get(key)
        return entry is not None and _is_as_written(entry)

    def may_replace(self, job: Job) -> bool:
        """Whether nothing is lost when the output is written: it is not there, or is as this manifest says that it was written."""
        return not job.output.exists() or any(map(_is_as_written, self._by_output.get(str(job.output), {}).values()))

    def same_elsewhere(self, key: str) -> Entry | None:
        """The entry of a video of the same content under another name, whose output is there as it was written."""
        entry = self._by_key.get(key)
        return entry if entry is not None and _is_as_written(entry) else None


def _entry(fields: dict[str, Any]) -> Entry:
    content = fields.get("content")
    return Entry(**{**fields, "content": None if content is None else Content(**content)})


def _is_as_written(entry: Entry) -> bool:
    output = Path(entry.output)
    return output.is_file() and sha256_of_file(output) == entry.output_sha256
