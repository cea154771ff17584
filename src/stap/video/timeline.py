"""When each frame of a video is shown, read from the compressed packets without decoding them."""

from array import array
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream

from stap.video.source import Source

__all__ = ["Key", "Timeline", "read_timeline"]

_DEFAULT_FRAME_RATE = Fraction(25)  # FFmpeg's own for raw streams that state none


@dataclass(frozen=True)
class Key:
    """A frame from which decoding can begin."""

    position: int  # of its packet in decoding order, from 0
    pts: int
    dts: int | None
    size_bytes: int

    def is_of(self, packet: "Packet[VideoStream]") -> bool:
        """Whether this very frame is in the packet. (Its decoding time may be told differently after a jump.)"""
        return (packet.pts, packet.size) == (self.pts, self.size_bytes)


@dataclass(frozen=True)
class Timeline:
    """Every frame that is shown, in the order of showing. Times are whole ticks of `tick_seconds`.

    pts: (n,) int64, ascending.      positions: (n,) int64, place of each frame's packet in decoding order, from 0.
    start, end: when the first frame appears and when the last one disappears.
    has_own_times: each packet states the time of its frame, no two alike, so a decoded frame is known by its time. If not,
        frames are known by their order, and pts holds the sorted times that the packets (or the frame rate) offer.
    packets: how many there are, with those of frames that are decoded and not shown.
    """

    pts: np.ndarray
    positions: np.ndarray
    keys: tuple[Key, ...]
    start: int
    end: int
    tick_seconds: Fraction
    has_own_times: bool
    packets: int

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def duration_seconds(self) -> float:
        """From the first frame's appearance to the last one's disappearance."""
        return float((self.end - self.start) * self.tick_seconds)

    def seconds(self, pts: int) -> float:
        """A time in ticks as seconds from the start of the video."""
        return float((pts - self.start) * self.tick_seconds)


def read_timeline(source: Source) -> Timeline:
    """Run through the packets of a freshly opened source. A timeline of no frames is possible."""
    stamps, keys = _Stamps(), []
    position = 0
    for packet in source.packets():
        if packet.is_keyframe and packet.pts is not None:
            keys.append(Key(position, packet.pts, packet.dts, packet.size))
        if not packet.is_discard:  # an edit list cuts it away; it is decoded only because others need it
            stamps.add(position, packet.pts, packet.dts, packet.duration)
        position += 1
    times, tick_seconds = stamps.times(source.stream)
    order = np.argsort(times, kind="stable")
    pts = times[order]
    has_own_times = not stamps.without_pts and bool(np.all(np.diff(pts) > 0)) and not _are_guesses(source)
    return Timeline(
        pts=pts,
        positions=np.array(stamps.positions, dtype=np.int64)[order],
        keys=tuple(keys) if _keeps_times_when_seeking(source) else (),
        start=int(pts[0]) if len(pts) else 0,
        end=_end(pts, int(stamps.durations[order[-1]])) if len(pts) else 0,
        tick_seconds=tick_seconds,
        has_own_times=has_own_times,
        packets=position,
    )


class _Stamps:
    """What the packets of the shown frames say, in decoding order, in 32 bytes each (a film has some 200,000)."""

    def __init__(self) -> None:
        self.positions, self.pts, self.dts, self.durations = (array("q") for _ in range(4))
        self.without_pts = self.without_dts = 0

    def add(self, position: int, pts: int | None, dts: int | None, duration: int | None) -> None:
        self.without_pts += pts is None
        self.without_dts += dts is None
        self.positions.append(position)
        self.pts.append(pts or 0)
        self.dts.append(dts or 0)
        self.durations.append(duration or 0)

    def times(self, stream: VideoStream) -> tuple[np.ndarray, Fraction]:
        """A time for each frame and the seconds of a tick: presentation times, else decoding times, else counted out."""
        if self.without_pts and self.without_dts:
            rate = stream.average_rate or stream.guessed_rate or _DEFAULT_FRAME_RATE
            self.durations = array("q", [1]) * len(self.positions)
            return np.arange(len(self.positions), dtype=np.int64), 1 / Fraction(rate)
        assert stream.time_base is not None, "FFmpeg gives every input stream a time base"
        return np.array(self.dts if self.without_pts else self.pts, dtype=np.int64), stream.time_base


def _are_guesses(source: Source) -> bool:
    """AVI stores no presentation times, so FFmpeg's are guesses wherever the codec reorders frames."""
    return source.container.format.name == "avi" and bool(source.stream.codec_context.has_b_frames)


def _keeps_times_when_seeking(source: Source) -> bool:
    """MPEG program streams (.mpg, .vob) time only some frames; after a jump FFmpeg guesses the others, and differently."""
    return source.container.format.name != "mpeg"


def _end(pts: np.ndarray, last_duration: int) -> int:
    """When the last frame disappears: after its duration or, where the file does not say, after the gap before it."""
    gap = int(pts[-1] - pts[-2]) if len(pts) > 1 else 0
    return int(pts[-1]) + (last_duration if last_duration > 0 else gap)
