"""Consecutive frames of a video at an even rate, decoded as they are asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from stap.errors import VideoError
from stap.recipes.settings import VideoLimits
from stap.video.budget import Budget
from stap.video.fetching import fetch_as_counted, fetch_by_time, fetch_from_inventory
from stap.video.inventory import read_inventory
from stap.video.isolated import Answers, ask
from stap.video.picture import PictureMaker
from stap.video.remarks import remarks_on_inventory, remarks_on_shape, remarks_on_times
from stap.video.source import TimelineMismatchError, no_frame_error, open_source
from stap.video.timeline import ShownFrames, read_timeline

__all__ = ["FrameStream"]


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
        threads: int | None = None,
        limits: VideoLimits | None = None,
    ) -> None:
        """List the frames without decoding them, unless the clock of the file is wrong: then all are decoded.

        short_side: pixels of the shorter side of the pictures; None for the size as shown.   threads: of the decoder; None for one a
        core.   limits: what the file may cost each time it is read; None for their defaults.
        Raises VideoError if the file cannot be read, lists no frame or is over its limits.
        """
        if frame_rate is not None and not frame_rate > 0:
            raise ValueError(f"frame_rate is {frame_rate}, and more than 0 frames per second, or None, was expected.")
        self.path = Path(path)
        self._threads, self._limits = threads, limits
        self._answers: Answers | None = None
        if limits and limits.isolate:
            self._request = {"is_stream": True, "frame_rate": frame_rate, "short_side": short_side, "threads": threads}
            self._answers = ask(self.path, limits, self._request)
            header, _ = next(self._answers)
            self.duration_seconds, self.times_seconds = header["duration_seconds"], np.array(header["times_seconds"])
            self._remarks = list(header["warnings"])
            return
        budget = Budget(self.path, limits)
        with open_source(self.path, threads=1, budget=budget) as source:
            self._timeline = read_timeline(source)
            self._make_picture = PictureMaker(short_side, source.pixel_aspect, budget, source.first_frame)
            self._remarks = [*remarks_on_shape(source), *remarks_on_times(source, self._timeline)]
            if not len(self._timeline):
                raise no_frame_error(source)
        self._inventory = read_inventory(budget, self._timeline) if self._timeline.clock_is_wrong else None
        shown: ShownFrames = self._inventory or self._timeline
        budget.check_frames(_count(shown, frame_rate))
        self._targets = _targets(shown, frame_rate)  # ticks
        self.duration_seconds = shown.duration_seconds
        self.times_seconds = np.array([shown.seconds(target) for target in self._targets])

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.times_seconds)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Whole sentences about what was wrong with the file; those on damage are known when the pictures have been read."""
        return tuple(self._remarks)

    def __iter__(self) -> Iterator[np.ndarray]:
        """The pictures. Where the file does not follow its timeline, the rest is the last good frame before each time."""
        if self._limits and self._limits.isolate:
            yield from self._from_elsewhere(self._limits)
            return
        given = 0
        try:
            for picture in self._as_listed():
                yield picture
                given += 1
        except TimelineMismatchError:
            yield from self._what_comes(given)

    def _from_elsewhere(self, limits: VideoLimits) -> Iterator[np.ndarray]:
        """The pictures, from the process that listed them or, the second time, from another."""
        answers, self._answers = self._answers or ask(self.path, limits, self._request), None
        for header, picture in answers:
            self._remark(header.get("warnings", ()))
            if picture is not None:
                yield picture

    def _as_listed(self) -> Iterator[np.ndarray]:
        if self._inventory:
            raise TimelineMismatchError
        places = _places(self._timeline.pts, self._targets)
        wanted = sorted(set(places))
        fetch = fetch_by_time if self._timeline.has_own_times else fetch_as_counted
        with open_source(self.path, self._threads, Budget(self.path, self._limits)) as source:
            yield from self._pictures(fetch(source, self._timeline, wanted), places)

    def _what_comes(self, skipped: int) -> Iterator[np.ndarray]:
        """The pictures after the first `skipped` ones, from the frames that can be decoded."""
        budget = Budget(self.path, self._limits)
        inventory = self._inventory or read_inventory(budget, self._timeline)
        in_order = inventory.orders == np.maximum.accumulate(inventory.orders)  # any other would come too late to be shown
        inventory = replace(inventory, pts=inventory.pts[in_order], orders=inventory.orders[in_order])
        places = _places(inventory.pts, self._targets)[skipped:]
        self._remark(remarks_on_inventory(self.path, self._timeline, inventory, len(self)))
        try:
            with open_source(self.path, threads=1, budget=budget) as source:
                frames = fetch_from_inventory(source, self._timeline, inventory, sorted(set(places)))
                yield from self._pictures(frames, places)
        except TimelineMismatchError:
            raise VideoError(f"{self.path}: the file changed while it was read. Try again when it is complete.") from None

    def _pictures(self, frames: Iterator[tuple[int, VideoFrame]], places: Sequence[int]) -> Iterator[np.ndarray]:
        """The picture of each place; frames come with their places, ascending, each once."""
        latest, picture = -1, None
        for place in places:
            if place != latest:
                latest, frame = next(frames, (-1, None))
                if latest != place or frame is None:
                    raise TimelineMismatchError
                picture = self._make_picture(frame)
            assert picture is not None, "places are not negative"
            yield picture
        for _ in frames:  # to its end, where fetching compares the numbers of frames
            pass

    def _remark(self, remarks: Iterable[str]) -> None:
        self._remarks += [remark for remark in remarks if remark not in self._remarks]


def _count(shown: ShownFrames, frame_rate: float | None) -> int:
    if frame_rate is None:
        return len(shown)
    return max(1, round((shown.end - shown.start) * shown.tick_seconds * Fraction(str(frame_rate))))


def _targets(timeline: ShownFrames, frame_rate: float | None) -> list[int]:
    """The times, in whole ticks. A time is at or after a frame's exactly when its whole part is."""
    if frame_rate is None:
        return [int(pts) for pts in timeline.pts]
    rate = Fraction(str(frame_rate))
    ticks = 1 / (rate * timeline.tick_seconds)  # between two frames
    count = _count(timeline, frame_rate)
    return [timeline.start + int((2 * k + 1) * ticks / 2) for k in range(count)]


def _places(pts: np.ndarray, targets: Sequence[int]) -> list[int]:
    stamps = pts.tolist()
    return [max(0, bisect_right(stamps, target) - 1) for target in targets]
