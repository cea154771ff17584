"""Whether the video files of a corpus can be decoded, and whether some are the same file."""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

from stap.corpora.corpus import Clip
from stap.corpora.problems import OnProblem, Problem
from stap.errors import StapError
from stap.files import unforeseen
from stap.recipes.settings import VideoLimits

__all__ = ["probe_videos", "report_same_files"]

AHEAD = 4  # videos that a worker may have begun before they are reported
SMALL_SIDE = 32  # pixels: only whether there are pictures matters


def probe_videos(
    clips: Sequence[Clip],
    on_problem: OnProblem,
    *,
    frames: int,
    workers: int,
    limits: VideoLimits | None = None,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> None:
    """Take a few frames of every video as the extraction would; what is wrong with a file goes to `on_problem`.

    frames: spread over the whole of each video.   limits: what each may cost; None for their defaults.   workers: threads, each with one video and little memory at a time.
    A video without a frame is an error; one that gives frames but is damaged or cut short is a warning.
    """
    from stap.video.threads import decoding_threads

    with decoding_threads(workers, "probe") as pool:
        for done, (clip, problems) in enumerate(
            _probed(clips, partial(_probe, frames=frames, limits=limits), pool, AHEAD * workers), start=1
        ):
            for problem in problems:
                on_problem(problem)
            if on_progress:
                on_progress(done, len(clips), clip.id)


def report_same_files(clips: Iterable[Clip], on_problem: OnProblem, *, may_leak: bool) -> None:
    """Hand clips whose files have the same content to `on_problem`.

    may_leak: two splits with the same file are a warning, because the corpus is published so.
    """
    by_size: dict[int, list[Clip]] = defaultdict(list)
    for clip in clips:
        with contextlib.suppress(OSError):  # a file that cannot be read is reported when it is probed
            by_size[clip.path.stat().st_size].append(clip)
    for alike in by_size.values():
        for clip, first in _repetitions(alike) if len(alike) > 1 else ():
            leaks = clip.split != first.split
            advice = "keep both in one split, or remove one" if leaks else "remove one, unless that is meant"
            sentence = (
                f"{clip.id} ({clip.split}) and {first.id} ({first.split}): the same video file under two names; {advice}."
            )
            on_problem(Problem("same video", sentence, is_error=leaks and not may_leak))


def _probed(
    clips: Iterable[Clip], probe: Callable[[Path], list[Problem]], pool: ThreadPoolExecutor, ahead: int
) -> Iterator[tuple[Clip, list[Problem]]]:
    """The clips in their order, while the pool is at work on those that follow."""
    waiting: deque[tuple[Clip, Future[list[Problem]]]] = deque()
    todo = iter(clips)
    while True:
        for clip in islice(todo, ahead - len(waiting)):
            waiting.append((clip, pool.submit(probe, clip.path)))
        if not waiting:
            return
        clip, future = waiting.popleft()
        yield clip, future.result()


def _probe(path: Path, frames: int, limits: VideoLimits | None) -> list[Problem]:
    from stap.video import sample_frames

    try:
        found = sample_frames(path, frames, short_side=SMALL_SIDE, threads=1, limits=limits)
    except StapError as error:
        return [Problem("video", str(error))]
    except Exception as error:  # a decoder's unforeseen failure on one file must not hide the state of ten thousand others
        return [Problem("video", f"{unforeseen(path, error)}. Check that it plays, or get it again.")]
    return [Problem("video", sentence, is_error=False) for sentence in found.warnings]


def _repetitions(clips: Iterable[Clip]) -> Iterator[tuple[Clip, Clip]]:
    """Each clip whose file repeats that of an earlier one, with that one."""
    first: dict[bytes, Clip] = {}
    for clip in clips:
        try:
            with clip.path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").digest()
        except OSError:
            continue
        if first.setdefault(digest, clip) is not clip:
            yield clip, first[digest]
