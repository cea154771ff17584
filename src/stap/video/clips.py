"""Consecutive frames of a video at an even rate, decoded as they are asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from av.video.frame import VideoFrame

from stap.errors import VideoError
from stap.recipes.settings import VideoLimits
from stap.video.budget import Budget
from stap.video.fetching import fetch_as_counted, fetch_by_time, fetch_from_inventory
from stap.video.inventory import read_inventory
from stap.video.isolated import Answers, ask
from stap.video.picture import PictureMaker, thumbnail_maker
from stap.video.remarks import remarks_on_inventory, remarks_on_shape, remarks_on_times
from stap.video.source import Source, TimelineMismatchError, no_frame_error, open_source
from stap.video.timeline import ShownFrames, Timeline, read_timeline

__all__ = ["FrameStream", "FrameView", "ViewSizes", "places_at", "start_and_duration", "targets_at"]

# The limit of time is for so much of a video: a film may take longer than a clip.
_LIMITED_SECONDS = 300
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class FrameView:
    """A decoded frame whose pictures are made when they are wanted, so that most frames of a film never become one.

    thumbnail: (height, width, 3) uint8, blue first, for comparing frames.
    picture: of one of the shorter sides that the stream was made with, (height, width, 3) uint8, red first.
    held_bytes: memory that the frame takes until the view is gone.
    """

    thumbnail: np.ndarray
    picture: Callable[[int | None], np.ndarray]
    held_bytes: int


@dataclass(frozen=True)
class ViewSizes:
    """Pixels of what the views of a stream give.   thumbnail_side: the longer side.   short_sides: of the pictures; None: as shown."""

    thumbnail_side: int
    short_sides: tuple[int | None, ...]


class FrameStream:
    """The frames of a video shown at the times (k + 0.5) / frame_rate, k = 0, 1 ...; a frame shown at several of them comes again.

    So a video of this very rate gives each of its frames once. frame_rate None: each frame as it is in the file.
    Iterating gives pictures (height, width, 3) uint8, `len(stream)` of them, one after another: a long video needs no more
    memory than a short one. It may be iterated again, which decodes again.
    """

    def __init__(
        self,
        path: str | Path,
        frame_rate: float | None,
        *,
        short_side: int | None = None,
        view_sizes: ViewSizes | None = None,
        threads: int | None = None,
        limits: VideoLimits | None = None,
    ) -> None:
        """List the frames without decoding them, unless the clock of the file is wrong: then all are decoded.

        short_side: pixels of the shorter side of the pictures; None for the size as shown.   view_sizes: for `views`, instead of pictures.
        threads: of the decoder; None for one a core.   limits: what the file may cost each time it is read (its seconds for each five
        minutes of a longer video); None for their defaults.
        Raises VideoError if the file cannot be read, lists no frame or is over its limits.
        """
        if frame_rate is not None and not frame_rate > 0:
            raise ValueError(f"frame_rate is {frame_rate}, and more than 0 frames per second, or None, was expected.")
        self.path = Path(path)
        self._threads, self._limits, self._view_sizes = threads, limits or VideoLimits(), view_sizes
        self._answers: Answers | None = None
        if self._limits.isolate:
            self._request = {
                "is_stream": True,
                "frame_rate": frame_rate,
                "short_side": short_side,
                "view_sizes": view_sizes and asdict(view_sizes),
                "threads": threads,
            }
            self._answers = ask(self.path, self._limits, self._request)
            header, _ = next(self._answers)
            self._remarks = list(header["warnings"])
            self.shown, self.start_seconds = _read_shown(header), header["start_seconds"]
        else:
            self._list(frame_rate, short_side)
        self.times_seconds = np.array([self.shown.seconds(int(pts)) for pts in self.shown.pts])
        self.duration_seconds = self.shown.duration_seconds

    def _list(self, frame_rate: float | None, short_side: int | None) -> None:
        budget = Budget(self.path, self._limits)
        with open_source(self.path, threads=1, budget=budget) as source:
            self._timeline = read_timeline(source)
            self._makers = {
                side: PictureMaker(side, source.pixel_aspect, budget, source.first_frame)
                for side in (self._view_sizes.short_sides if self._view_sizes else (short_side,))
            }
            self._remarks = [*remarks_on_shape(source), *remarks_on_times(source, self._timeline)]
            if not len(self._timeline):
                raise no_frame_error(source)
            self.start_seconds = _start_seconds(source, self._timeline)
        self._inventory = read_inventory(budget, self._timeline) if self._timeline.clock_is_wrong else None
        shown: ShownFrames = self._inventory or self._timeline
        budget.check_frames(_count(shown, frame_rate))
        self.shown = ShownFrames(np.array(targets_at(shown, frame_rate)), shown.start, shown.end, shown.tick_seconds)
        lengths = max(1.0, shown.duration_seconds / _LIMITED_SECONDS)
        self._limits = self._limits.model_copy(update={"seconds": self._limits.seconds * lengths})

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.times_seconds)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Whole sentences about what was wrong with the file; those on damage are known when the pictures have been read."""
        return tuple(self._remarks)

    def header(self) -> dict[str, object]:
        """What is known before the first picture, for JSON."""
        return {
            "pts": self.shown.pts.tolist(),
            "start": self.shown.start,
            "end": self.shown.end,
            "tick_seconds": str(self.shown.tick_seconds),
            "start_seconds": self.start_seconds,
            "warnings": self.warnings,
        }

    def __iter__(self) -> Iterator[np.ndarray]:
        """The pictures. Where the file does not follow its timeline, the rest is the last good frame before each time."""
        if self._limits.isolate:
            for _, picture in self._from_elsewhere(self._limits):
                yield picture
        else:
            [make] = self._makers.values()
            yield from self._made(make)

    def views(self) -> Iterator[FrameView]:
        """The frames as `__iter__` gives their pictures."""
        assert self._view_sizes is not None, "needed to make them"
        if self._limits.isolate:
            found = self._from_elsewhere(self._limits)
            while arrays := list(islice(found, 1 + len(self._view_sizes.short_sides))):
                [(_, thumbnail), *pictures] = arrays
                yield FrameView(thumbnail, dict(pictures).__getitem__, sum(picture.nbytes for _, picture in pictures))
        else:
            make_thumbnail = thumbnail_maker(self._view_sizes.thumbnail_side)
            yield from self._made(
                lambda frame: FrameView(
                    make_thumbnail(frame),
                    lambda side: self._makers[side](frame),
                    sum(plane.buffer_size for plane in frame.planes),
                )
            )

    def _made(self, make: Callable[[VideoFrame], _Made]) -> Iterator[_Made]:
        given = 0
        try:
            for made in self._as_listed(make):
                yield made
                given += 1
        except TimelineMismatchError:
            yield from self._what_comes(given, make)

    def _from_elsewhere(self, limits: VideoLimits) -> Iterator[tuple[int | None, np.ndarray]]:
        """The pictures and their shorter sides, from the process that listed them or, the second time, from another."""
        answers, self._answers = self._answers or ask(self.path, limits, self._request), None
        for header, picture in answers:
            self._remark(header.get("warnings", ()))
            if picture is not None:
                yield header.get("short_side"), picture

    def _as_listed(self, make: Callable[[VideoFrame], _Made]) -> Iterator[_Made]:
        if self._inventory:
            raise TimelineMismatchError
        places = places_at(self._timeline.pts, self.shown.pts.tolist())
        wanted = sorted(set(places))
        fetch = fetch_by_time if self._timeline.has_own_times else fetch_as_counted
        with open_source(self.path, self._threads, Budget(self.path, self._limits)) as source:
            yield from _made_of(fetch(source, self._timeline, wanted), places, make)

    def _what_comes(self, skipped: int, make: Callable[[VideoFrame], _Made]) -> Iterator[_Made]:
        """What is made of the frames after the first `skipped` ones, from those that can be decoded."""
        budget = Budget(self.path, self._limits)
        inventory = self._inventory or read_inventory(budget, self._timeline)
        in_order = inventory.orders == np.maximum.accumulate(inventory.orders)  # any other would come too late to be shown
        inventory = replace(inventory, pts=inventory.pts[in_order], orders=inventory.orders[in_order])
        places = places_at(inventory.pts, self.shown.pts.tolist())[skipped:]
        self._remark(remarks_on_inventory(self.path, self._timeline, inventory, len(self)))
        try:
            with open_source(self.path, threads=1, budget=budget) as source:
                frames = fetch_from_inventory(source, self._timeline, inventory, sorted(set(places)))
                yield from _made_of(frames, places, make)
        except TimelineMismatchError:
            raise VideoError(f"{self.path}: the file changed while it was read. Try again when it is complete.") from None

    def _remark(self, remarks: Iterable[str]) -> None:
        self._remarks += [remark for remark in remarks if remark not in self._remarks]


def start_and_duration(path: Path, limits: VideoLimits | None = None) -> tuple[float, float]:
    """A FrameStream's start_seconds and duration_seconds, from a file of which no frame is decoded. Raises VideoError as it does."""
    if limits and limits.isolate:
        request = {"is_stream": True, "frame_rate": None, "view_sizes": None, "is_listing": True}
        [(header, _)] = ask(path, limits, request)
        return header["start_seconds"], _read_shown(header).duration_seconds
    stream = FrameStream(path, None, limits=limits)
    return stream.start_seconds, stream.duration_seconds


def _made_of(
    frames: Iterator[tuple[int, VideoFrame]], places: Sequence[int], make: Callable[[VideoFrame], _Made]
) -> Iterator[_Made]:
    """What is made of the frame at each place; frames come with their places, ascending, each once."""
    latest, made = -1, None
    for place in places:
        if place != latest:
            latest, frame = next(frames, (-1, None))
            if latest != place or frame is None:
                raise TimelineMismatchError
            made = make(frame)
        assert made is not None, "places are not negative"
        yield made
    for _ in frames:  # to its end, where fetching compares the numbers of frames
        pass


def _read_shown(header: dict[str, Any]) -> ShownFrames:
    pts = np.array(header["pts"], dtype=np.int64)
    return ShownFrames(pts, header["start"], header["end"], Fraction(header["tick_seconds"]))


def _start_seconds(source: Source, timeline: Timeline) -> float:
    """When the first frame is shown by the clock of a player, which begins with the file: its sound may begin before its pictures."""
    begins = source.container.start_time
    if begins is None or timeline.clock_is_wrong:
        return 0.0
    return max(0.0, round(float(timeline.start * timeline.tick_seconds - Fraction(begins, av.time_base)), 6))


def _count(shown: ShownFrames, frame_rate: float | None) -> int:
    if frame_rate is None:
        return len(shown)
    return max(1, round((shown.end - shown.start) * shown.tick_seconds * Fraction(str(frame_rate))))


def targets_at(timeline: ShownFrames, frame_rate: float | None) -> list[int]:
    """The times (k + 0.5) / frame_rate from the start, or those of all frames, in whole ticks.

    A time is at or after a frame's exactly when its whole part is.
    """
    if frame_rate is None:
        return [int(pts) for pts in timeline.pts]
    rate = Fraction(str(frame_rate))
    ticks = 1 / (rate * timeline.tick_seconds)  # between two frames
    count = _count(timeline, frame_rate)
    return [timeline.start + int((2 * k + 1) * ticks / 2) for k in range(count)]


def places_at(pts: np.ndarray, targets: Sequence[int]) -> list[int]:
    """The places in pts of the frames shown at these times."""
    stamps = pts.tolist()
    return [max(0, bisect_right(stamps, target) - 1) for target in targets]
