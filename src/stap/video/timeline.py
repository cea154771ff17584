"""When each frame of a video is shown, read from the compressed packets without decoding them."""

from array import array
from dataclasses import dataclass
from fractions import Fraction

import av
import av.format
import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream

from stap.video.clock import longest_step
from stap.video.source import Source

__all__ = ["Key", "ShownFrames", "Timeline", "is_hidden", "read_timeline"]

_DEFAULT_FRAME_RATE = Fraction(25)  # FFmpeg's own for raw streams that state none
# H.264 and HEVC hold back at most 16 frames, so a frame's place in time is at most so far from its place in the file.
_MOST_REORDERED = 16
# A step that is longer than the others by more than half is no rounding; a frame rate is constant if this part of the steps has none such.
_HALF_MORE, _MOSTLY = 1.5, 0.9


@dataclass(frozen=True)
class Key:
    """A frame from which decoding can begin."""

    position: int  # of its packet in decoding order, from 0
    pts: int
    dts: int | None
    size_bytes: int

    def is_of(self, packet: "Packet[VideoStream]") -> bool:
        """Whether this very frame is in the packet. (Its decoding time may differ after a jump.)"""
        return (packet.pts, packet.size) == (self.pts, self.size_bytes)


@dataclass(frozen=True)
class ShownFrames:
    """Frames in the order of showing. Times are whole ticks of `tick_seconds`.

    pts: (n,) int64, ascending.      start, end: when the first frame of the video appears and when the last one disappears.
    """

    pts: np.ndarray
    start: int
    end: int
    tick_seconds: Fraction

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def duration_seconds(self) -> float:
        """From the first frame's appearance to the last one's disappearance."""
        return float((self.end - self.start) * self.tick_seconds)

    def seconds(self, pts: int) -> float:
        """A time in ticks as seconds from the start of the video."""
        return float((pts - self.start) * self.tick_seconds)


@dataclass(frozen=True)
class Timeline(ShownFrames):
    """Every frame that is shown, as the packets say.

    positions: (n,) int64, place of each frame's packet in decoding order, from 0.
    has_own_times: each packet states the time of its frame, no two alike, so a decoded frame is known by its time. If not,
        frames are known by their order, and pts holds the sorted times that the packets (or the frame rate) offer.
    packets: how many there are, with empty ones and those of frames that are decoded and not shown.
    has_gaps: some packets are empty, or their frames not shown.
    skipped: packets before the first key frame. Nothing can be decoded from them.
    clock_is_wrong: the times go back or jump ahead, so only decoding shows the order of the frames (see `clock.py`).
    clock_is_doubtful: the file or its kind gives reason to doubt long steps.      usual_ticks: of a frame at the rate that the file states.
    """

    positions: np.ndarray
    keys: tuple[Key, ...]
    has_own_times: bool
    packets: int
    usual_ticks: Fraction = Fraction(1)
    has_gaps: bool = False
    skipped: int = 0
    clock_is_wrong: bool = False
    clock_is_doubtful: bool = False


def read_timeline(source: Source) -> Timeline:
    """Run through the packets of a freshly opened source. A timeline of no frames is possible."""
    stamps = _Stamps()
    keys: list[Key] = []
    position = skipped = 0
    has_begun = _is_indexed_from_the_start(source.stream)
    for packet in source.packets_from_the_start():
        if packet.is_keyframe and not has_begun:
            has_begun, skipped, stamps = True, position, _Stamps()
        if packet.is_keyframe and packet.pts is not None:
            keys.append(Key(position, packet.pts, packet.dts, packet.size))
        if not (packet.is_discard or is_hidden(packet, source.codec)):
            stamps.add(position, packet)
        position += 1
        source.budget.check_frames(position)
    states_pts = _states_times(source, stamps)
    times, tick_seconds = stamps.times(source.stream, states_pts)
    order = np.argsort(times, kind="stable")
    pts = times[order]
    is_doubtful = _is_doubtful(source, stamps, pts, tick_seconds)
    steps = np.diff(pts.astype(np.float64))
    limit = longest_step(steps[steps > 0], tick_seconds, is_doubtful)
    clock_is_wrong = not bool(np.all((steps > 0) & (steps <= limit))) or not stamps.are_in_order(order, states_pts)
    has_own_times = states_pts and not clock_is_wrong
    return Timeline(
        pts=pts,
        positions=np.array(stamps.positions, dtype=np.int64)[order],
        keys=tuple(keys) if has_own_times and _keeps_times_when_seeking(source) else (),
        start=int(pts[0]) if len(pts) else 0,
        end=_end(pts, int(stamps.durations[order[-1]]), limit) if len(pts) else 0,
        tick_seconds=tick_seconds,
        has_own_times=has_own_times,
        packets=position + source.empty_packets,
        usual_ticks=stamps.usual_ticks(source.stream, tick_seconds),
        has_gaps=source.empty_packets > 0 or len(pts) < position - skipped,
        skipped=skipped,
        clock_is_wrong=clock_is_wrong,
        clock_is_doubtful=is_doubtful,
    )


class _Stamps:
    """What the packets of the shown frames say, in decoding order, in 33 bytes each (a film has some 200,000)."""

    def __init__(self) -> None:
        self.positions, self.pts, self.dts, self.durations = (array("q") for _ in range(4))
        self.is_key = array("b")
        self.without_pts = self.without_dts = 0

    def add(self, position: int, packet: "Packet[VideoStream]") -> None:
        self.without_pts += packet.pts is None
        self.without_dts += packet.dts is None
        self.positions.append(position)
        self.pts.append(packet.pts or 0)
        self.dts.append(packet.dts or 0)
        self.durations.append(packet.duration or 0)
        self.is_key.append(packet.is_keyframe)

    def times(self, stream: VideoStream, states_pts: bool) -> tuple[np.ndarray, Fraction]:
        """A time for each frame and the seconds of a tick: presentation times, else decoding times, else counted out."""
        if not states_pts and self.without_dts:
            self.durations = array("q", [1]) * len(self.positions)
            return np.arange(len(self.positions), dtype=np.int64), 1 / _frame_rate(stream)
        assert stream.time_base is not None, "FFmpeg gives every input stream a time base"
        return np.array(self.pts if states_pts else self.dts, dtype=np.int64), stream.time_base

    def usual_ticks(self, stream: VideoStream, tick_seconds: Fraction) -> Fraction:
        """How long a frame lasts: the median of what the packets say, else by the frame rate of the header."""
        stated = [duration for duration in self.durations if duration > 0]
        return Fraction(sorted(stated)[len(stated) // 2]) if stated else 1 / (_frame_rate(stream) * tick_seconds)

    def are_in_order(self, order: np.ndarray, states_pts: bool) -> bool:
        """Whether frames are decoded in time, and shown no further from their place than decoders can hold them back.

        A key frame is shown after all that is decoded before it: one that is not begins another recording.
        order: of the presentation times.
        """
        if not self.without_dts and np.any(np.diff(np.array(self.dts, dtype=np.float64)) < 0):
            return False
        if not states_pts:
            return True
        if np.any(np.abs(order - np.arange(len(order))) > _MOST_REORDERED):
            return False
        pts, is_key = np.array(self.pts), np.array(self.is_key, dtype=bool)
        return bool(np.all((pts[1:] > np.maximum.accumulate(pts)[:-1])[is_key[1:]]))

    def are_uncovered(self) -> bool:
        """Whether a frame is decoded later than the one before it is said to last."""
        steps, durations = np.diff(np.array(self.dts, dtype=np.float64)), np.array(self.durations)[:-1]
        return not self.without_dts and bool(np.any((durations > 0) & (steps > _HALF_MORE * durations + 1)))


def _frame_rate(stream: VideoStream) -> Fraction:
    return Fraction(stream.average_rate or stream.guessed_rate or _DEFAULT_FRAME_RATE)


def is_hidden(packet: "Packet[VideoStream] | bytes", codec: str) -> bool:
    """Whether the frame is only for others to refer to: an alternate reference of VP8 or VP9 (RFC 6386, 9.1; VP9, 6.2)."""
    first, last = memoryview(packet)[0], memoryview(packet)[-1]
    if codec in ("vp8", "libvpx"):
        return not first & 0x10
    if codec in ("vp9", "libvpx-vp9") and last & 0xE0 != 0xC0:  # a superframe has a shown frame among its own
        flags = first << 1 if first & 0x30 == 0x30 else first  # profile 3 has one bit more
        return not flags & 0x0A  # neither an existing frame nor this one is shown
    return False


def _is_doubtful(source: Source, stamps: _Stamps, pts: np.ndarray, tick_seconds: Fraction) -> bool:
    """Whether long steps are to be doubted.

    That is so of MPEG streams of an otherwise constant frame rate, of an MP4 whose frames end before the next one comes, and where
    the header announces less.
    """
    container = source.container
    steps = np.diff(pts.astype(np.float64))
    is_constant = len(steps) > 0 and np.mean(steps <= _HALF_MORE * np.median(steps)) >= _MOSTLY
    announced_seconds = (container.duration or 0) / av.time_base
    seconds = (float(pts[-1]) - float(pts[0])) * float(tick_seconds) if len(pts) else 0.0
    return bool(
        (is_constant and av.format.Flags.ts_discont in av.format.Flags(container.format.flags))
        or (container.format.name.startswith("mov,mp4") and stamps.are_uncovered())
        or (announced_seconds > 0 and seconds > 1.1 * announced_seconds + 0.5)
    )


def _is_indexed_from_the_start(stream: VideoStream) -> bool:
    """Whether the file's own index calls its first frame a key frame. If the frame itself does not, it is damaged."""
    entries = stream.index_entries
    return len(entries) > 0 and bool(entries[0].is_keyframe)


def _states_times(source: Source, stamps: _Stamps) -> bool:
    """Whether each packet states when its frame is shown.

    AVI stores no presentation times, so FFmpeg's are guesses wherever the codec reorders frames.
    """
    are_guesses = source.container.format.name == "avi" and bool(source.stream.codec_context.has_b_frames)
    return not stamps.without_pts and not are_guesses


def _keeps_times_when_seeking(source: Source) -> bool:
    """MPEG program streams (.mpg, .vob) time only some frames; after a jump FFmpeg guesses the others, and differently."""
    return source.container.format.name != "mpeg"


def _end(pts: np.ndarray, last_duration: int, longest: float) -> int:
    """When the last frame disappears: after its duration or, where the file does not say (or not believably), after the gap before it."""
    gap = int(pts[-1] - pts[-2]) if len(pts) > 1 else 0
    return int(pts[-1]) + (last_duration if 0 < last_duration <= longest else gap)
