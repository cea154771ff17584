"""The shots of a long video, each with the frames that a captioner looks at, from one decoding pass in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from stap.captioning.protocol import SampledClip
from stap.errors import ConfigError
from stap.programmes.detectors import ShotDetector, build_detector
from stap.programmes.shot_frames import ShotFrames
from stap.recipes.settings import VideoLimits
from stap.video.clips import FrameStream, FrameView, ViewSizes
from stap.video.frames import Frames
from stap.video.sampling import Sampling

__all__ = [
    "THUMBNAIL_SIDE",
    "Clock",
    "Keeper",
    "SampledShot",
    "Shot",
    "ShotCutter",
    "ShotKeeper",
    "ShotRules",
    "Shots",
    "find_shots",
]

# Pixels of the longer side of the pictures that are compared; more find the same cuts and take more time.
THUMBNAIL_SIDE = 64
# A flash is followed by a picture that differs from the one before it by less than this part of what the flash did.
_AS_BEFORE = 0.3


@dataclass(frozen=True)
class ShotRules:
    """How a video is divided.

    detector: one of `detectors.DETECTORS`.   min_seconds: shorter shots are joined with the one that follows.
    max_seconds: longer shots are divided.   window_seconds: of the detector 'window'.
    """

    detector: str = "adaptive"
    min_seconds: float = 0.5
    max_seconds: float = 30.0
    window_seconds: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= 2 * self.min_seconds <= self.max_seconds:
            raise ConfigError(
                f"shots of at least {self.min_seconds:g} and at most {self.max_seconds:g} seconds: expected a longest that is twice the "
                "shortest or more. Change --min-shot or --max-shot."
            )


@dataclass(frozen=True)
class Shot:
    """A part of a video without a cut.   number: from 1.   Times count from when a player begins with the file."""

    number: int
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class SampledShot:
    """A shot, and its frames for each sampling of a captioner; their times count from the start of the shot."""

    shot: Shot
    frames: tuple[Frames, ...]

    def as_clip(self, video: Path) -> SampledClip:
        """For a captioner, with a name of its own, on which captions drawn at random depend: a media fragment, film.mp4#t=12.5."""
        return SampledClip(video.with_name(f"{video.name}#t={round(self.shot.start_seconds, 6)}"), self.frames)


class Shots:
    """The shots of a video file, found while it is decoded; iterating gives them in order.

    A video has at least one shot, and every frame belongs to exactly one. No more than one shot's frames are in memory.
    """

    def __init__(
        self,
        path: str | Path,
        samplings: Sequence[Sampling],
        rules: ShotRules | None = None,
        *,
        threads: int | None = None,
        limits: VideoLimits | None = None,
    ) -> None:
        """List the frames. Raises VideoError as FrameStream does, and ConfigError for a detector that there is not."""
        self.rules = rules or ShotRules()
        self._samplings = tuple(samplings)
        self._detector = build_detector(self.rules.detector, self.rules.window_seconds)
        sides = tuple(dict.fromkeys(sampling.short_side for sampling in samplings))
        self._stream = FrameStream(path, None, view_sizes=ViewSizes(THUMBNAIL_SIDE, sides), threads=threads, limits=limits)
        self.seconds_read = 0.0

    @property
    def duration_seconds(self) -> float:
        """Of the whole video."""
        return self._stream.duration_seconds

    @property
    def warnings(self) -> tuple[str, ...]:
        """Whole sentences about what was wrong with the file; all are known after the last shot."""
        return self._stream.warnings

    def __iter__(self) -> Iterator[SampledShot]:
        """The shots, each as soon as it is known to have ended."""
        shown = self._stream.shown
        clock = Clock(shown.start, shown.tick_seconds, self._stream.start_seconds)
        cutter = ShotCutter(self._detector, self.rules)
        found = find_shots(
            self._frames(), clock, cutter, lambda: ShotFrames(shown.tick_seconds, self._samplings), lambda: shown.end
        )
        for shot, frames, end in found:
            yield SampledShot(shot, frames.sampled(end))
        self.seconds_read = self.duration_seconds

    def _frames(self) -> Iterator[tuple[int, FrameView]]:
        for pts, view in zip(self._stream.shown.pts.tolist(), self._stream.views(), strict=True):
            self.seconds_read = self._stream.shown.seconds(pts)
            yield pts, view


@dataclass(frozen=True)
class Clock:
    """What ticks mean.   start: of the video, in ticks.   first_seconds: of the first frame, by the clock of a player."""

    start: int
    tick_seconds: Fraction
    first_seconds: float = 0.0

    def seconds(self, pts: int) -> float:
        """By the clock of a player."""
        return self.first_seconds + float((pts - self.start) * self.tick_seconds)


class ShotKeeper(Protocol):
    """What is kept of the shot that comes.   start: when its first frame appears, in ticks."""

    @property
    def start(self) -> int:
        """When the first frame appears, in ticks."""

    def add(self, pts: int, view: FrameView) -> None:
        """The next frame, which appears at this time, in ticks."""


Keeper = TypeVar("Keeper", bound=ShotKeeper)


def find_shots(
    frames: Iterable[tuple[int, FrameView]],
    clock: Clock,
    cutter: ShotCutter,
    new_shot: Callable[[], Keeper],
    end: Callable[[], int],
) -> Iterator[tuple[Shot, Keeper, int]]:
    """The shots of frames that come with their times in ticks, at least one: each with what was kept, and its end in ticks.

    new_shot: for what is to be kept of the next one.   end: when the last frame disappears, once it has come.
    """
    waiting: deque[tuple[int, FrameView]] = deque()  # not yet known to belong to the shot
    kept, number = new_shot(), 1

    def decided(begin: Iterable[bool]) -> Iterator[tuple[Shot, Keeper, int]]:
        nonlocal kept, number
        for begins in begin:
            if begins:
                yield ended(waiting[0][0])
                kept, number = new_shot(), number + 1
            kept.add(*waiting.popleft())

    def ended(until: int) -> tuple[Shot, Keeper, int]:
        return Shot(number, clock.seconds(kept.start), clock.seconds(until)), kept, until

    for pts, view in frames:
        waiting.append((pts, view))
        yield from decided(cutter.read(clock.seconds(pts), view.thumbnail))
    yield from decided(cutter.finish(clock.seconds(end())))
    yield ended(end())


class ShotCutter:
    """Decides with which frames a shot begins, `rules.min_seconds` after they were read.

    So long a look ahead shows what comes of a change: one that is soon followed by another, after which the picture is as it was
    before, was a flash; and no shot is divided just before it ends.
    """

    def __init__(self, detector: ShotDetector, rules: ShotRules) -> None:
        self._detector, self._rules = detector, rules
        self._waiting: deque[tuple[int, float, np.ndarray]] = deque()  # frames not yet decided
        self._changes: set[int] = set()
        self._read = 0
        self._start = 0.0  # of the shot to which the frames now decided belong
        self._before: np.ndarray | None = None  # the thumbnail of the last decided frame

    def read(self, seconds: float, thumbnail: np.ndarray) -> list[bool]:
        """Read the next frame; of those frames that are decided now, in order, whether a shot begins with them."""
        self._changes.update(self._detector.changes(self._read, seconds, thumbnail))
        self._waiting.append((self._read, seconds, thumbnail))
        self._read += 1
        decided = []
        while (
            self._waiting[0][1] + self._rules.min_seconds < seconds
            and self._waiting[0][0] + self._detector.behind < self._waiting[-1][0]
        ):
            decided.append(self._decide(None))
        return decided

    def finish(self, end_seconds: float) -> list[bool]:
        """The same of all frames that are left.   end_seconds: when the last one disappears."""
        self._changes.update(self._detector.rest())
        return [self._decide(end_seconds) for _ in range(len(self._waiting))]

    def _decide(self, end_seconds: float | None) -> bool:
        index, seconds, thumbnail = self._waiting.popleft()
        is_change = index in self._changes
        self._changes.discard(index)
        before, self._before = self._before, thumbnail
        if before is None:
            self._start = seconds
            return False
        lasted, rest = seconds - self._start, float("inf") if end_seconds is None else end_seconds - seconds
        least = self._rules.min_seconds
        if is_change:
            begins = lasted >= least and rest >= least and not self._is_flash(before, thumbnail, seconds)
        else:
            soon = any(later in self._changes and at - seconds < least for later, at, _ in self._waiting)
            begins = lasted >= self._rules.max_seconds and rest >= least and not soon
        if begins:
            self._start = seconds
        return begins

    def _is_flash(self, before: np.ndarray, thumbnail: np.ndarray, seconds: float) -> bool:
        """Whether the picture is soon as it was before the change. Forgets the changes until then."""
        most = _difference(before, thumbnail)
        for place, (index, at, later) in enumerate(self._waiting):
            if at - seconds >= self._rules.min_seconds:
                break
            difference = _difference(before, later)
            if index in self._changes and difference < _AS_BEFORE * most:
                self._changes -= {other for other, _, _ in list(self._waiting)[: place + 1]}
                return True
            most = max(most, difference)
        return False


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())
