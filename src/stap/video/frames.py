"""Sampling frames from a video file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from av.video.frame import VideoFrame

from stap.errors import VideoError
from stap.recipes.settings import VideoLimits
from stap.video.budget import Budget
from stap.video.fetching import (
    fetch_as_counted,
    fetch_by_seeking,
    fetch_by_time,
    fetch_from_inventory,
    is_cheaper_to_seek,
)
from stap.video.inventory import Inventory, read_inventory
from stap.video.isolated import ask
from stap.video.picture import PictureMaker
from stap.video.remarks import remarks_on_inventory, remarks_on_shape, remarks_on_times
from stap.video.sampling import choose_frames
from stap.video.source import Source, TimelineMismatchError, open_source
from stap.video.timeline import ShownFrames, Timeline, read_timeline

__all__ = ["Frames", "sample_frames"]

Strategy = Literal["auto", "seek", "decode"]
_Fetch = Callable[[Source], Iterator[tuple[int, VideoFrame]]]


@dataclass(frozen=True)
class Frames:
    """Pictures of one video with the times at which they appear.

    rgb_uint8: (T, height, width, 3) uint8, C-contiguous.
    times_seconds: (T,) float64, ascending, counted from the moment the first frame of the video is shown.
    duration_seconds: of the whole video.
    warnings: whole sentences about what was wrong with the file.
    """

    rgb_uint8: np.ndarray
    times_seconds: np.ndarray
    duration_seconds: float
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.rgb_uint8)


def sample_frames(
    path: str | Path,
    count: int = 30,
    *,
    short_side: int | None = None,
    strategy: Strategy = "auto",
    threads: int | None = None,
    limits: VideoLimits | None = None,
) -> Frames:
    """Take `count` frames spread evenly over the time of a video: those shown at (k + 0.5) * duration / count seconds.

    A frame is taken at most once, so a long still passage gives fewer; a video of at most `count` frames gives all it has.
    short_side: pixels of the shorter side of the pictures (bicubic, proportions as shown); None for the size as shown.
    strategy: "decode" runs through the file once, "seek" jumps to the key frame before each wanted frame, "auto" takes the
        cheaper one. The frames are the same.      threads: of the decoder; None for one per core.

    Raises VideoError if the file gives no frame. One that is damaged in places gives the frames that decode, and warnings.
    """
    _check_arguments(count, short_side, strategy, threads)
    if limits and limits.isolate:
        return _sample_elsewhere(Path(path), limits, count=count, short_side=short_side, strategy=strategy, threads=threads)
    budget = Budget(Path(path), limits)
    with open_source(budget.path, threads=1, budget=budget) as source:
        timeline = read_timeline(source)
        reading = _Reading(budget, PictureMaker(short_side, source.pixel_aspect, budget, source.first_frame))
        remarks, of_times = list(remarks_on_shape(source)), list(remarks_on_times(source, timeline))
    if len(timeline) == 1:
        remarks.append(f"{path}: the video has a single frame, so there is no motion to describe.")
    places = choose_frames(timeline.pts.tolist(), timeline.start, timeline.end, count)
    shown: ShownFrames = timeline
    rgb = _take_as_listed(reading, timeline, places, strategy, threads)
    if rgb is None:
        shown = inventory = read_inventory(budget, timeline)
        places = choose_frames(inventory.pts.tolist(), inventory.start, inventory.end, count)
        rgb = _take_from_inventory(reading, timeline, inventory, places)
        remarks += remarks_on_inventory(budget.path, timeline, inventory, len(places))
        of_times = [] if inventory.clock else of_times  # of times that were replaced
    times_seconds = np.array([shown.seconds(int(stamp)) for stamp in shown.pts[places]])
    return Frames(rgb, times_seconds, shown.duration_seconds, (*of_times, *remarks))


def _sample_elsewhere(path: Path, limits: VideoLimits, **arguments: Any) -> Frames:
    [(header, rgb)] = ask(path, limits, {"is_stream": False, **arguments})
    assert rgb is not None, "the last answer holds the pictures"
    return Frames(rgb, np.array(header["times_seconds"]), header["duration_seconds"], tuple(header["warnings"]))


@dataclass(frozen=True)
class _Reading:
    """What stays the same each time the file is opened."""

    budget: Budget
    make_picture: PictureMaker

    def collect(self, fetch: _Fetch, places: Sequence[int], threads: int | None) -> np.ndarray:
        """The pictures (len(places), height, width, 3) of the frames that `fetch` gives, in the order of `places`."""
        rows = {place: row for row, place in enumerate(places)}
        pictures: np.ndarray | None = None
        with open_source(self.budget.path, threads, self.budget) as source:
            for place, frame in fetch(source):
                picture = self.make_picture(frame)
                if pictures is None:
                    self.budget.check_memory(len(places), picture.nbytes)
                    pictures = np.empty((len(places), *picture.shape), dtype=np.uint8)
                pictures[rows[place]] = picture
        assert pictures is not None, "a fetch that gives no frame raises TimelineMismatchError"
        return pictures


def _take_as_listed(
    reading: _Reading, timeline: Timeline, places: Sequence[int], strategy: Strategy, threads: int | None
) -> np.ndarray | None:
    """The pictures at these places of the timeline, or None if the decoder does not give all of them, whole and in order."""
    for fetch in _fetches(timeline, places, strategy):
        try:
            return reading.collect(fetch, places, threads)
        except TimelineMismatchError:
            continue
    return None


def _fetches(timeline: Timeline, places: Sequence[int], strategy: Strategy) -> Iterator[_Fetch]:
    if not places or timeline.clock_is_wrong:
        return
    if not timeline.has_own_times:
        yield lambda source: fetch_as_counted(source, timeline, places)
        return
    if strategy == "seek" or (strategy == "auto" and is_cheaper_to_seek(timeline, places)):
        yield lambda source: fetch_by_seeking(source, timeline, places)
    yield lambda source: fetch_by_time(source, timeline, places)


def _take_from_inventory(reading: _Reading, timeline: Timeline, inventory: Inventory, places: Sequence[int]) -> np.ndarray:
    try:
        return reading.collect(lambda source: fetch_from_inventory(source, timeline, inventory, places), places, threads=1)
    except TimelineMismatchError:
        raise VideoError(f"{reading.budget.path}: the file changed while it was read. Try again when it is complete.") from None


def _check_arguments(count: int, short_side: int | None, strategy: str, threads: int | None) -> None:
    if count < 1:
        raise ValueError(f"count is {count}, and at least 1 frame was expected.")
    if short_side is not None and short_side < 1:
        raise ValueError(f"short_side is {short_side}, and at least 1 pixel, or None, was expected.")
    if strategy not in get_args(Strategy):
        raise ValueError(f"strategy is {strategy!r}, and one of {', '.join(get_args(Strategy))} was expected.")
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}, and at least 1, or None, was expected.")
