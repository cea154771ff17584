"""What a user should know about a file that gives frames and yet is not in order, in whole sentences."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from stap.video.clock import RepairedClock
from stap.video.inventory import Inventory
from stap.video.source import Source
from stap.video.timeline import Timeline

__all__ = ["remarks_on_inventory", "remarks_on_shape", "remarks_on_times"]

# Pictures may well end a little before the sound does.
_WHOLE = 0.9
# A frame rate counts as constant if at most this share of the gaps between frames is longer than the others.
_FEW_HOLES = 0.03
_FEW_TIES = 0.1


def remarks_on_shape(source: Source) -> Iterator[str]:
    """Whether the shape of the pixels had to be guessed."""
    stated = source.stream.sample_aspect_ratio
    if stated and stated != source.pixel_aspect:
        yield f"{source.path}: its pixels are said to be {float(stated):g} times as wide as high; they are taken as square."


def remarks_on_times(source: Source, timeline: Timeline) -> Iterator[str]:
    """What the packets' times betray: a header that cannot be right, a file that is shorter than it says, or holes.

    Of a wrong clock they betray nothing.
    """
    if timeline.clock_is_wrong:
        return
    if "ignore_editlist" in source.container.container_options:
        yield f"{source.path}: its edit list contradicts the rest of its index and is not followed; all its frames are shown."
    else:
        yield from _on_length(source, timeline)
        yield from _on_holes(source.path, timeline)


def remarks_on_inventory(path: Path, timeline: Timeline, inventory: Inventory, taken: int) -> Iterator[str]:
    """What decoding everything has shown of the clock and of damage; `taken` samples come of it."""
    if inventory.clock:
        yield from _on_clock(path, inventory.clock, len(inventory), inventory.duration_seconds)
    if inventory.is_damaged:
        yield from _on_damage(path, timeline, inventory, taken)


def _on_clock(path: Path, clock: RepairedClock, frames: int, duration_seconds: float) -> Iterator[str]:
    """Whether times had to be replaced. A clock that wraps around, or a few frames of the same time, need no word."""
    if clock.is_counted:
        yield (
            f"{path}: the times of its frames cannot be used; the samples are taken by the order of the frames, at "
            f"{frames / duration_seconds:.4g} frames a second."
        )
    elif clock.jumps:
        yield (
            f"{path}: its clock jumps back or far ahead in {_times(clock.jumps, 'place')}; what follows a jump is taken to follow the frame "
            f"before it, which makes {duration_seconds:.1f} seconds."
        )
    elif clock.ties > _FEW_TIES * frames:
        yield f"{path}: {clock.ties} of {frames} frames have the time of the frame before them; they are spread evenly up to the next time."


def _on_length(source: Source, timeline: Timeline) -> Iterator[str]:
    """Whether the file is shorter than its header says: in frames or, in containers that count none, in seconds."""
    announced_frames, announced_seconds = source.stream.frames, (source.container.duration or 0) / av.time_base
    # Headers count from the clock's zero or from the first frame (the clock of one that wraps around begins below zero); the later of
    # the two ends raises no false alarm.
    end_seconds = float(max(timeline.end, timeline.end - timeline.start) * timeline.tick_seconds)
    # An AVI counts empty frames too, which FFmpeg passes over. Each lasts a tick, as the others do.
    has_empty = source.container.format.name == "avi" and timeline.end > timeline.packets
    there = announced_frames if has_empty and timeline.end >= _WHOLE * announced_frames else timeline.packets
    if there < announced_frames:
        yield (
            f"{source.path}: only {timeline.packets} of the {announced_frames} frames that its header announces are in the file; "
            "the samples are taken from those."
        )
    elif not announced_frames and end_seconds < _WHOLE * announced_seconds:
        yield (
            f"{source.path}: its pictures end after {end_seconds:.1f} of the {announced_seconds:.1f} seconds that its header "
            "announces; the samples are taken from those."
        )


def _on_damage(path: Path, timeline: Timeline, inventory: Inventory, taken: int) -> Iterator[str]:
    """What decoding everything has shown; `taken` samples come of it."""
    missing = len(timeline) - len(inventory)
    if missing > 0:
        yield (
            f"{path}: {missing} of {len(timeline)} frames could not be decoded; the samples ({taken}) are taken from the others, "
            "and those soon after the damage may be smeared."
        )
    elif inventory.faults:
        yield f"{path}: damaged in {_times(inventory.faults, 'place')}; the pictures soon after may be smeared."


def _on_holes(path: Path, timeline: Timeline) -> Iterator[str]:
    """Whether frames are missing inside: some containers pass over damage in silence, and a constant frame rate betrays it."""
    gaps = np.diff(timeline.pts)
    if not len(gaps) or not timeline.has_own_times or timeline.has_gaps:
        return
    usual = np.median(gaps)
    is_hole = gaps > 1.5 * usual + 1
    is_constant = bool(np.all(np.abs(gaps[~is_hole] - usual) <= 1)) and 0 < is_hole.sum() <= _FEW_HOLES * len(gaps)
    if is_constant:
        missing = int(np.sum(np.round(gaps[is_hole] / usual) - 1))
        yield (
            f"{path}: about {_times(missing, 'frame')} missing in {_times(int(is_hole.sum()), 'place')} (or the picture stands still there); "
            "the samples are taken from the others."
        )


def _times(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
