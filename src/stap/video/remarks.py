"""What a user should know about a file that gives frames and yet is not in order, in whole sentences."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from stap.video.inventory import Inventory
from stap.video.source import Source
from stap.video.timeline import Timeline

__all__ = ["remarks_on_damage", "remarks_on_holes", "remarks_on_length", "remarks_on_shape"]

# Pictures may well end a little before the sound does.
_WHOLE = 0.9
# A frame rate counts as constant if at most this share of the gaps between frames is longer than the others.
_FEW_HOLES = 0.03


def remarks_on_shape(source: Source) -> Iterator[str]:
    """Whether the shape of the pixels had to be guessed."""
    stated = source.stream.sample_aspect_ratio
    if stated and stated != source.pixel_aspect:
        yield f"{source.path}: its pixels are said to be {float(stated):g} times as wide as high; they are taken as square."


def remarks_on_length(source: Source, timeline: Timeline) -> Iterator[str]:
    """Whether the file is shorter than its header says: in frames or, in containers that count none, in seconds."""
    announced_frames, announced_seconds = source.stream.frames, (source.container.duration or 0) / av.time_base
    # Headers count from the clock's zero or from the first frame; the later of the two ends raises no false alarm.
    end_seconds = float(timeline.end * timeline.tick_seconds)
    if timeline.packets < announced_frames:
        yield (
            f"{source.path}: only {timeline.packets} of the {announced_frames} frames that its header announces are in the file; "
            "the samples are taken from those."
        )
    elif not announced_frames and end_seconds < _WHOLE * announced_seconds:
        yield (
            f"{source.path}: its pictures end after {end_seconds:.1f} of the {announced_seconds:.1f} seconds that its header "
            "announces; the samples are taken from those."
        )


def remarks_on_damage(path: Path, timeline: Timeline, inventory: Inventory, taken: int) -> Iterator[str]:
    """What decoding everything has shown; `taken` samples come of it."""
    missing = len(timeline) - len(inventory)
    if missing > 0:
        yield (
            f"{path}: {missing} of {len(timeline)} frames could not be decoded; the samples ({taken}) are taken from the others, "
            "and those soon after the damage may be smeared."
        )
    elif inventory.faults:
        yield f"{path}: damaged in {_times(inventory.faults, 'place')}; the pictures soon after may be smeared."


def remarks_on_holes(path: Path, timeline: Timeline) -> Iterator[str]:
    """Whether frames are missing inside: some containers pass over damage in silence, and a constant frame rate betrays it."""
    gaps = np.diff(timeline.pts)
    if not len(gaps) or not timeline.has_own_times:
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
