"""What the decoder really gives of a video that does not follow its timeline."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stap.video.budget import Budget
from stap.video.clock import FINER, RepairedClock, repair_clock
from stap.video.source import Source, no_frame_error, open_source
from stap.video.timeline import ShownFrames, Timeline

__all__ = ["Inventory", "read_inventory", "take_inventory"]


@dataclass(frozen=True)
class Inventory(ShownFrames):
    """The usable frames.

    orders: (n,) int64, each frame's number (from 0) among all that the decoder gives.
    total: frames that the decoder gives.      faults: places that could not be read or decoded.
    is_damaged: whether there was a fault, or a frame that the decoder marks as damaged. Without either, frames that do not come are
        those that the file hides, or could not be decoded because the file begins in the middle of a group of pictures.
    clock: what was done to the clock, None where it is right.
    """

    orders: np.ndarray
    total: int
    faults: int
    is_damaged: bool
    clock: RepairedClock | None = None


def read_inventory(budget: Budget, timeline: Timeline) -> Inventory:
    """Open the file again and take the inventory. One thread, so that damaged pictures are repaired alike each time.

    Raises VideoError if no frame can be decoded.
    """
    with open_source(budget.path, threads=1, budget=budget) as source:
        inventory = take_inventory(source, timeline)
        if not len(inventory):
            raise no_frame_error(source)
    return inventory


def take_inventory(source: Source, timeline: Timeline) -> Inventory:
    """Decode a freshly opened source to its end and list the frames that come.

    Frames that the decoder marks as damaged count only if there are no others. Where packets have times of their own, frames
    of any other time are left out; where the clock is wrong it is repaired; elsewhere the times are handed out in the order of
    decoding, which is the order of showing.
    """
    stamps: list[int | None] = []
    durations: list[int] = []
    is_damaged: list[bool] = []
    for frame in source.frames(source.packets(timeline.skipped)):
        stamps.append(frame.pts)
        durations.append(frame.duration or 0)
        is_damaged.append(frame.is_corrupt)
    clean = [order for order, damaged in enumerate(is_damaged) if not damaged] or list(range(len(stamps)))
    has_damage = bool(source.faults or any(is_damaged[clean[0] :] if clean else is_damaged))
    clock = None
    in_order = [stamps[order] for order in clean]
    if clean and (timeline.clock_is_wrong or (timeline.has_own_times and not has_damage and _goes_back(in_order))):
        clock = repair_clock(
            in_order, durations[clean[-1]], timeline.usual_ticks, timeline.tick_seconds, timeline.clock_is_doubtful
        )
        pts, orders, start, end = _int64(clock.times), _int64(clean), 0, clock.end
    else:
        pts, orders = _listed(stamps, clean, timeline)
        start, end = timeline.start if has_damage or not len(pts) else int(pts[0]), timeline.end
    return Inventory(
        pts=pts,
        start=start,
        end=end,
        tick_seconds=timeline.tick_seconds / FINER if clock else timeline.tick_seconds,
        orders=orders,
        total=len(stamps),
        faults=source.faults,
        is_damaged=has_damage,
        clock=clock,
    )


def _goes_back(stamps: Sequence[int | None]) -> bool:
    """Whether the order of showing, which the decoder of a sound file knows, is not that of the times."""
    stated = [stamp for stamp in stamps if stamp is not None]
    return any(later < earlier for earlier, later in pairwise(stated))


def _listed(stamps: list[int | None], clean: list[int], timeline: Timeline) -> tuple[np.ndarray, np.ndarray]:
    """Times and numbers of the clean frames of a clock that is right."""
    if not timeline.has_own_times:
        all_pts = _times_in_order(stamps, timeline)
        return _int64([all_pts[order] for order in clean]), _int64(clean)
    order_at = {stamps[order]: order for order in clean}
    pts = [stamp for stamp in timeline.pts.tolist() if stamp in order_at]
    return _int64(pts), _int64([order_at[stamp] for stamp in pts])


def _int64(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def _times_in_order(stamps: list[int | None], timeline: Timeline) -> list[int]:
    if len(stamps) == len(timeline):
        return [int(pts) for pts in timeline.pts]
    stated = [stamp for stamp in stamps if stamp is not None]
    if len(stated) == len(stamps):
        return sorted(stated)
    return [int(pts) for pts in np.linspace(timeline.start, timeline.end, len(stamps), endpoint=False)]
