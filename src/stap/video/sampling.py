"""Which frames to take: those shown at evenly spread times."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Sampling", "choose_frames"]


@dataclass(frozen=True)
class Sampling:
    """Which frames of a clip somebody looks at.

    count: that many at evenly spread times, as `choose_frames` chooses them; None for consecutive frames at `frame_rate`, as a
    FrameStream gives them (None there too: every frame).
    short_side: pixels of the shorter side of the pictures; None for the size as shown.
    """

    count: int | None
    short_side: int | None
    frame_rate: float | None = None


def choose_frames(pts: Sequence[int], start: int, end: int, count: int) -> list[int]:
    """Places in pts of the frames shown at the times start + (k + 0.5) * (end - start) / count, k = 0 .. count - 1.

    pts: when each frame appears, ascending; a frame is shown until the next one appears. All times are whole ticks, so the
    choice is exact. A frame shown at several of these times is taken once. With at most `count` frames, all are taken.
    """
    if len(pts) <= count:
        return list(range(len(pts)))
    # A time is at or after pts[i] exactly when its whole part is, because pts[i] is whole.
    targets = (start + (2 * k + 1) * (end - start) // (2 * count) for k in range(count))
    return sorted({max(0, bisect_right(pts, target) - 1) for target in targets})
