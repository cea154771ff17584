"""Decoding the chosen frames of a video: all of it once, or only what lies between key frames and the choice.

Seeking is our own, on PyAV, because PyAV brings FFmpeg with it; TorchCodec needs an FFmpeg that is installed on the machine.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import dropwhile, groupby

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from stap.video.inventory import Inventory
from stap.video.source import Source, TimelineMismatchError
from stap.video.timeline import Key, Timeline

__all__ = [
    "fetch_as_counted",
    "fetch_by_seeking",
    "fetch_by_time",
    "fetch_from_inventory",
    "is_cheaper_to_seek",
]

# What a jump costs besides the frames it decodes, counted in frames: finding the place and filling the decoder again.
_JUMP_COST = 8


def fetch_by_time(source: Source, timeline: Timeline, wanted: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
    """Decode from the front and give each wanted frame with its place in the timeline.

    wanted: places in the timeline, ascending.      Needs a timeline that has_own_times.
    Raises TimelineMismatchError as soon as the frames are seen not to follow the timeline.
    """
    yield from _frames_at(sound_frames(source, source.packets(timeline.skipped)), _by_time(timeline, wanted))


def fetch_by_seeking(source: Source, timeline: Timeline, wanted: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
    """The same frames as fetch_by_time, jumping to the key frame before each of them."""
    for key, group in groupby(wanted, lambda place: _key_before(timeline, place)):
        if key is None:
            raise TimelineMismatchError
        frames = sound_frames(source, _packets_from(source, timeline, key), since=key.pts)
        yield from _frames_at(frames, _by_time(timeline, list(group)))


def fetch_as_counted(source: Source, timeline: Timeline, wanted: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
    """The same for a timeline without own times: the frame that comes as number n (from 0) is at place n.

    Raises TimelineMismatchError at the end if more or fewer frames came.
    """
    frames = sound_frames(source, source.packets(timeline.skipped))
    yield from _frames_of_order(frames, {place: place for place in wanted}, len(timeline))


def fetch_from_inventory(
    source: Source, timeline: Timeline, inventory: Inventory, wanted: Sequence[int]
) -> Iterator[tuple[int, VideoFrame]]:
    """Decode again what the inventory was taken of, and give the frames at these of its places, damage or not.

    wanted: places in the inventory.      Raises TimelineMismatchError if frames come in another number than before.
    """
    frames = source.frames(source.packets(timeline.skipped))
    yield from _frames_of_order(frames, {int(inventory.orders[place]): place for place in wanted}, inventory.total)


def _frames_of_order(frames: Iterable[VideoFrame], places: Mapping[int, int], total: int) -> Iterator[tuple[int, VideoFrame]]:
    """The frames that come as the numbers `places` has, with their places."""
    count = 0
    for order, frame in enumerate(frames):
        count += 1
        if order in places:
            yield places[order], frame
    if count != total:
        raise TimelineMismatchError


def sound_frames(source: Source, packets: "Iterable[Packet[VideoStream]]", since: int | None = None) -> Iterator[VideoFrame]:
    """The decoded frames, raising TimelineMismatchError at the first sign of damage.

    since: frames before this time are passed over. After a jump they may lack the pictures that they are built on.
    """
    for frame in source.frames(packets):
        if since is not None and frame.pts is not None and frame.pts < since:
            continue
        if frame.is_corrupt or source.faults:
            raise TimelineMismatchError
        yield frame
    if source.faults:
        raise TimelineMismatchError


def is_cheaper_to_seek(timeline: Timeline, wanted: Sequence[int]) -> bool:
    """Whether jumping to key frames decodes less than one run from the front to the last wanted frame."""
    if not timeline.has_own_times:
        return False
    cost = 0
    for key, group in groupby(wanted, lambda place: _key_before(timeline, place)):
        if key is None:
            return False
        cost += _JUMP_COST + max(int(timeline.positions[place]) for place in group) - key.position
    return cost < max(int(timeline.positions[place]) for place in wanted)


def _by_time(timeline: Timeline, wanted: Sequence[int]) -> dict[int, int]:
    return {int(timeline.pts[place]): place for place in wanted}


def _frames_at(frames: Iterable[VideoFrame], places: dict[int, int]) -> Iterator[tuple[int, VideoFrame]]:
    """The frames whose times are wanted, with their places; stops when it has all of them."""
    latest, last = None, max(places)
    for frame in frames:
        if frame.pts is None or (latest is not None and frame.pts <= latest):
            raise TimelineMismatchError
        latest = frame.pts
        if latest in places:
            yield places.pop(latest), frame
        if latest >= last:
            break
    if places:
        raise TimelineMismatchError


def _key_before(timeline: Timeline, place: int) -> Key | None:
    """The last key frame that is both decoded and shown no later than this frame.

    A frame decoded after a key frame but shown before it may need pictures from before the key frame.
    """
    position, pts = timeline.positions[place], timeline.pts[place]
    index = bisect_right(timeline.keys, position, key=lambda key: key.position) - 1
    while index >= 0 and timeline.keys[index].pts > pts:
        index -= 1
    return timeline.keys[index] if index >= 0 else None


def _packets_from(source: Source, timeline: Timeline, key: Key) -> "Iterator[Packet[VideoStream]]":
    """The packets from this key frame on, or from an earlier one if the container brings us there.

    Some containers seek by decoding times, so a jump may land behind the key frame; then its own decoding time is tried.
    """
    for stamp in (key.pts, key.dts):
        if stamp is not None:
            packets = _packets_after_jump(source, stamp)
            first = next(packets, None)
            if first is not None and _is_at_or_before(first, key, timeline):
                yield first
                yield from packets
                return
    raise TimelineMismatchError


def _packets_after_jump(source: Source, stamp: int) -> "Iterator[Packet[VideoStream]]":
    """The packets from the first key frame after a jump."""
    try:
        source.container.seek(stamp, stream=source.stream)
    except av.FFmpegError:
        raise TimelineMismatchError from None
    yield from dropwhile(lambda packet: not packet.is_keyframe, source.packets())


def _is_at_or_before(packet: "Packet[VideoStream]", key: Key, timeline: Timeline) -> bool:
    return any(known.is_of(packet) for known in timeline.keys if known.position <= key.position)
