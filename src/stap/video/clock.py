"""The clock of a video: which steps from one frame to the next are believed, and what stands in for the others.

A step forward is how long a frame stays on the screen. Slides and screen recordings show a frame for seconds or minutes, so a long
step alone proves nothing; the rule is in `longest_step`. A step backward is never believed: a new recording begins there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

__all__ = ["FINER", "RepairedClock", "longest_step", "repair_clock"]

# Repaired times are counted in this part of a tick, so that frames of equal times can be spread between two ticks.
FINER = 1024
# MPEG transport and program streams count 90,000 ticks a second in 33 bits, and begin again at 0 after 26.5 hours.
_WRAP = 2**33

# Seconds. Longer steps are believed only of files that take several, up to the second; and of any file whose usual step is long.
_LONG_STILL, _LONGEST_STILL = 60, 600
# The same where the clock has been caught in an error. 10 s is FFmpeg's own limit for streams whose clock may jump.
_SHORT_STILL, _LONGEST_DOUBTFUL_STILL = 0.5, 10
_USUAL_TIMES, _PART_OF_ALL = 10, 0.1
# With more steps backward than this, the times say nothing.
_MOST_BACKWARD = 0.25
_DEFAULT_SECONDS = Fraction(1, 25)  # of a frame, where even the usual one cannot be right


@dataclass(frozen=True)
class RepairedClock:
    """Times in place of those of a clock that cannot be right.

    times: of each frame, ascending, in ticks / FINER.      end: when the last frame disappears.
    jumps: steps that were not believed.      is_counted: whether no time could be used, so that frames are counted out evenly.
    ties: frames whose time is that of the one before.
    """

    times: tuple[int, ...]
    end: int
    jumps: int
    ties: int
    is_counted: bool


def longest_step(steps: np.ndarray, tick_seconds: Fraction, is_doubtful: bool) -> float:
    """The longest step, in ticks, that is believed.      steps: (n,) float64, the positive ones, in ticks.

    The usual step is the one that three quarters do not exceed.
    Of a sound clock: a minute, or ten minutes where several steps are longer than one (slides are shown that long).
    Of a doubtful one: half a second, or a tenth of the video at the usual step, but not more than 10 s.
    In either, ten times the usual step is believed, so a slow show of slides is never shortened.
    """
    if not len(steps):
        return float("inf")
    tick = float(tick_seconds)
    usual = float(np.quantile(steps, 0.75, method="lower"))
    if is_doubtful:
        part = max(_SHORT_STILL / tick, _PART_OF_ALL * usual * len(steps))
        return max(_USUAL_TIMES * usual, min(part, _LONGEST_DOUBTFUL_STILL / tick))
    is_slow = np.count_nonzero((steps * tick > _LONG_STILL) & (steps * tick <= _LONGEST_STILL)) > 1
    return max(_USUAL_TIMES * usual, (_LONGEST_STILL if is_slow else _LONG_STILL) / tick)


def repair_clock(
    stamps: Sequence[int | None], last_duration: int, usual_ticks: Fraction, tick_seconds: Fraction, is_doubtful: bool
) -> RepairedClock:
    """Times for frames in the order of showing, at least one.

    A step that is not believed becomes the median of the others, so what follows it follows the frame before: recordings that were
    joined come one after another, and a gap is closed. Frames of one time are spread evenly up to the next time.
    Where all times are equal, or a quarter of the steps go back, frames are counted out by `usual_ticks`.

    stamps: in ticks; None (no time) means the time of the frame before.      last_duration: of the last frame, 0 if unknown.
    """
    times, sizes = _groups(stamps)
    steps = [_unwrapped(later - earlier, tick_seconds) for earlier, later in pairwise(times)]
    backward = sum(step < 0 for step in steps)
    ties = len(stamps) - len(times)
    if not steps or backward > _MOST_BACKWARD * len(steps):
        is_short = usual_ticks * tick_seconds <= _LONG_STILL
        step = round((usual_ticks if is_short else _DEFAULT_SECONDS / tick_seconds) * FINER)
        return RepairedClock(tuple(range(0, step * len(stamps), step)), step * len(stamps), backward, ties, len(stamps) > 1)
    per_frame = [step / size for step, size in zip(steps, sizes[:-1], strict=True)]
    limit = longest_step(np.array([step for step in per_frame if step > 0]), tick_seconds, is_doubtful or backward > 0)
    believed = [step for step in per_frame if 0 < step <= limit]
    median = float(np.median(believed)) if believed else float(usual_ticks)
    per_frame = [step if 0 < step <= limit else median for step in per_frame]
    last = last_duration if sizes[-1] == 1 and 0 < last_duration <= limit else median
    spread = [step for step, size in zip([*per_frame, last], sizes, strict=True) for _ in range(size)]
    ends = [round(FINER * end) for end in np.cumsum(spread).tolist()]
    return RepairedClock((0, *ends[:-1]), ends[-1], len(steps) - len(believed), ties, False)


def _groups(stamps: Sequence[int | None]) -> tuple[list[int], list[int]]:
    """The times, those that repeat the one before left out, and how many frames share each."""
    first = next((stamp for stamp in stamps if stamp is not None), 0)
    times, sizes = [first], [0]
    for stamp in stamps:
        if stamp is None or stamp == times[-1]:
            sizes[-1] += 1
        else:
            times.append(stamp)
            sizes.append(1)
    return times, sizes


def _unwrapped(step: int, tick_seconds: Fraction) -> int:
    return step + _WRAP if tick_seconds == Fraction(1, 90_000) and step < -_WRAP // 2 else step
