"""The frames of one shot, from which a captioner's are chosen once its end is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial

import numpy as np

from stap.video.clips import FrameView, places_at, targets_at
from stap.video.frames import Frames
from stap.video.sampling import Sampling, choose_frames
from stap.video.timeline import ShownFrames

__all__ = ["ShotFrames"]

HELD_BYTES = 256 << 20  # of decoded frames: 6 seconds of 720p at 30 a second
_KEPT_PER_FRAME = 4  # frames kept for each that is sampled, where not all can be


class ShotFrames:
    """Keeps the decoded frames of a shot, and makes pictures of those that are sampled only.

    Where the decoded frames would take more than HELD_BYTES, every second one is let go; where few are left, the others become the
    small pictures that the samplings ask for.
    """

    def __init__(self, tick_seconds: Fraction, samplings: Sequence[Sampling]) -> None:
        """No frame yet.   tick_seconds: of the frames' times."""
        self._tick_seconds, self._samplings = tick_seconds, samplings
        self._least = _KEPT_PER_FRAME * max((sampling.count or 0 for sampling in samplings), default=0)
        self._pts: list[int] = []
        self._views: list[FrameView] = []
        self._given, self._held_bytes, self._step, self._are_pictures = 0, 0, 1, False

    @property
    def start(self) -> int:
        """When the first frame appears, in ticks."""
        return self._pts[0]

    def add(self, pts: int, view: FrameView) -> None:
        """Keep the next frame, which appears at this time, in ticks."""
        self._given += 1
        if (self._given - 1) % self._step:
            return
        self._keep(pts, view)
        if self._held_bytes > HELD_BYTES:
            kept = list(zip(self._pts, self._views, strict=True))
            if len(kept) >= self._least:
                self._step *= 2
                kept = kept[::2]
            elif self._are_pictures:
                return  # no more of them than are needed
            else:
                self._are_pictures = True
            self._pts, self._views, self._held_bytes = [], [], 0
            for old_pts, old in kept:
                self._keep(old_pts, old)

    def _keep(self, pts: int, view: FrameView) -> None:
        if self._are_pictures:
            pictures = {sampling.short_side: view.picture(sampling.short_side) for sampling in self._samplings}
            view = FrameView(view.thumbnail, pictures.__getitem__, sum(picture.nbytes for picture in pictures.values()))
        self._pts.append(pts)
        self._views.append(view)
        self._held_bytes += view.held_bytes

    def sampled(self, end: int) -> tuple[Frames, ...]:
        """The frames of each sampling, with times from the start of the shot.   end: of the shot, in ticks."""
        of_shot = ShownFrames(np.array(self._pts), self.start, end, self._tick_seconds)
        made: dict[tuple[int, int | None], np.ndarray] = {}

        def picture(place: int, side: int | None) -> np.ndarray:
            if (place, side) not in made:
                made[place, side] = self._views[place].picture(side)
            return made[place, side]

        return tuple(_sample(of_shot, sampling, partial(picture, side=sampling.short_side)) for sampling in self._samplings)


def _sample(of_shot: ShownFrames, sampling: Sampling, picture: Callable[[int], np.ndarray]) -> Frames:
    if sampling.count is None:
        targets = targets_at(of_shot, sampling.frame_rate)
        places = places_at(of_shot.pts, targets)
    else:
        places = choose_frames(of_shot.pts.tolist(), of_shot.start, of_shot.end, sampling.count)
        targets = of_shot.pts[places].tolist()
    times = np.array([of_shot.seconds(target) for target in targets])
    return Frames(np.stack([picture(place) for place in places]), times, of_shot.duration_seconds)
