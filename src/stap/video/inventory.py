"""What the decoder really gives of a video that does not follow its timeline."""

from dataclasses import dataclass

import numpy as np

from stap.video.source import Source
from stap.video.timeline import Timeline

__all__ = ["Inventory", "take_inventory"]


@dataclass(frozen=True)
class Inventory:
    """The usable frames, in the order they are shown.

    pts: (n,) int64 ascending ticks.      orders: (n,) int64, each frame's number (from 0) among all that the decoder gives.
    total: frames that the decoder gives.      faults: places that could not be read or decoded.
    """

    pts: np.ndarray
    orders: np.ndarray
    total: int
    faults: int

    def __len__(self) -> int:
        return len(self.pts)


def take_inventory(source: Source, timeline: Timeline) -> Inventory:
    """Decode a freshly opened source to its end and list the frames that come.

    Frames that the decoder marks as damaged count only if there are no others. Where packets have times of their own, frames
    of any other time are left out; elsewhere the times are handed out in the order of decoding, which is the order of showing.
    """
    stamps: list[int | None] = []
    is_damaged: list[bool] = []
    for frame in source.frames(source.packets()):
        stamps.append(frame.pts)
        is_damaged.append(frame.is_corrupt)
    clean = [order for order, damaged in enumerate(is_damaged) if not damaged] or list(range(len(stamps)))
    if timeline.has_own_times:
        order_at = {stamps[order]: order for order in clean}
        pts = [stamp for stamp in timeline.pts.tolist() if stamp in order_at]
        orders = [order_at[stamp] for stamp in pts]
    else:
        all_pts = _times_in_order(stamps, timeline)
        pts, orders = [all_pts[order] for order in clean], clean
    return Inventory(np.array(pts, dtype=np.int64), np.array(orders, dtype=np.int64), len(stamps), source.faults)


def _times_in_order(stamps: list[int | None], timeline: Timeline) -> list[int]:
    if len(stamps) == len(timeline):
        return [int(pts) for pts in timeline.pts]
    stated = [stamp for stamp in stamps if stamp is not None]
    if len(stated) == len(stamps):
        return sorted(stated)
    return [int(pts) for pts in np.linspace(timeline.start, timeline.end, len(stamps), endpoint=False)]
