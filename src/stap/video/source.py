"""Opening a video file: the container, its picture stream, and what to say when there is none."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from stap.errors import StapError, VideoError
from stap.video.files import check_file

__all__ = ["Source", "TimelineMismatchError", "no_frame_error", "open_source"]

# More threads than this cost memory (each keeps frames of its own) and hardly gain time.
_MOST_THREADS = 8
_MOST_TRIES = 64  # packets in which a first frame is looked for
_MOST_STRETCH = Fraction(16)
# A file may be a playlist: it may name other files, but never send us to the network.
_LOCAL_ONLY = {"protocol_whitelist": "file"}


class TimelineMismatchError(Exception):
    """The decoder does not give what the packets promised: damage, or a container whose times mean something else."""


@dataclass
class Source:
    """One opened video file, read from front to back or from where `seek` has put it."""

    path: Path
    container: InputContainer
    stream: VideoStream
    faults: int = field(default=0)  # places that could not be read or decoded so far
    empty_packets: int = field(default=0)  # that were read so far: they mean "show the frame before for longer"
    first_frame: VideoFrame | None = None

    @property
    def codec(self) -> str:
        """Name of the decoder."""
        return self.stream.codec_context.name

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a stored pixel over its height; 1 where the file says nothing, or nothing believable."""
        stated = self.stream.sample_aspect_ratio or Fraction(1)
        return stated if 1 / _MOST_STRETCH <= stated <= _MOST_STRETCH else Fraction(1)

    def packets(self, skipped: int = 0) -> "Iterator[Packet[VideoStream]]":
        """The compressed frames from here on, without the first `skipped`, in decoding order, up to the end or to where the file
        cannot be read on."""
        try:
            for packet in self.container.demux(self.stream):
                if not packet.size:
                    self.empty_packets += packet.dts is not None  # the last one, without times, is PyAV's sign of the end
                elif skipped:
                    skipped -= 1
                else:
                    yield packet
        except av.FFmpegError:
            self.faults += 1

    def packets_from_the_start(self) -> "Iterator[Packet[VideoStream]]":
        """All packets of a freshly opened source; meanwhile `first_frame` is found, where only it tells how the pictures are turned.

        H.264 and HEVC may say so beside the pictures, in few of them (SEI, display orientation).
        """
        tries = _MOST_TRIES if self.codec in ("h264", "hevc") else 0
        for packet in self.packets():
            if tries and not self.first_frame:
                with suppress(av.FFmpegError):
                    self.first_frame = next(iter(self.stream.decode(packet)), None)
                tries -= 1
            yield packet

    def frames(self, packets: "Iterable[Packet[VideoStream]]") -> Iterator[VideoFrame]:
        """The frames decoded from these packets, in the order they are shown; none for a packet that is damaged."""
        for packet in packets:
            yield from self._decode(packet)
        yield from self._decode(None)

    def _decode(self, packet: "Packet[VideoStream] | None") -> list[VideoFrame]:
        try:
            return self.stream.decode(packet)
        except av.FFmpegError:
            self.faults += 1
            return []


@contextmanager
def open_source(path: Path, threads: int | None = None) -> Iterator[Source]:
    """Open the file for reading its pictures.

    threads: of the decoder; None for one a core, 1 makes even the repair of damaged pictures repeatable.
    Raises VideoError if the file is missing, unreadable, no video, or has no picture stream, and for whatever PyAV raises while it
    is open.
    """
    check_file(path)
    try:
        with _open(path) as container:
            stream = _picture_stream(path, container)
            for other in container.streams:
                if other is not stream:
                    other.discard = Discard.all  # so that its packets are not even read, where the container can
            stream.thread_count = threads or min(os.cpu_count() or 1, _MOST_THREADS)
            stream.thread_type = "NONE" if threads == 1 else "AUTO"
            yield Source(path, container, stream)
    except (StapError, TimelineMismatchError):
        raise
    except (
        Exception
    ) as problem:  # PyAV raises more than its own: UnicodeDecodeError for metadata, ValueError, OverflowError ...
        raise _unreadable(path, problem) from problem


def _open(path: Path) -> InputContainer:
    try:
        # "file:" keeps FFmpeg from reading a name such as "a:b.mp4" as a protocol.
        return av.open(f"file:{path}", "r", container_options=_LOCAL_ONLY, metadata_errors="replace")
    except av.InvalidDataError:
        raise _not_a_video(path) from None
    except (av.FFmpegError, OSError) as problem:
        raise VideoError(
            f"{path}: the file could not be opened as a video ({problem.strerror}). Check that it plays, or get it again."
        ) from None


def _picture_stream(path: Path, container: InputContainer) -> VideoStream:
    """FFmpeg's choice, but never a cover, nor a still where another stream has moving pictures."""
    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    if not container.streams or container.format.name == "tty":  # to FFmpeg any .txt or .nfo file is an animated text screen
        raise _not_a_video(path)
    streams = [stream for stream in container.streams.video if not stream.disposition & covers]
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams}))
        raise VideoError(
            f"{path}: there are no moving pictures in this file (it holds: {kinds}), and a video was expected. "
            "Give a file with a picture stream."
        )
    streams = [stream for stream in streams if stream.codec_context is not None]
    if not streams:
        raise VideoError(
            f"{path}: this build of FFmpeg has no decoder for its pictures. Re-encode it, for example: ffmpeg -i {path.name} out.mp4"
        )
    streams.sort(key=_rank, reverse=True)
    if len(streams) == 1:
        return streams[0]
    moving = _first_that_moves(path, [stream.index for stream in streams])
    return next(stream for stream in streams if stream.index == moving)


def _rank(stream: VideoStream) -> tuple[bool, int, int]:
    """FFmpeg's order of preference: the stream that the file marks as default, then the largest picture, then the most bits a second."""
    size = stream.codec_context.width * stream.codec_context.height
    return bool(stream.disposition & Disposition.default), size, stream.codec_context.bit_rate or 0


def _first_that_moves(path: Path, streams: Sequence[int]) -> int:
    """The first of these streams that has more than one frame; the very first if none has.   streams: their indices, the best first."""
    counts = dict.fromkeys(streams, 0)
    with _open(path) as container, suppress(av.FFmpegError):
        for packet in container.demux([container.streams[index] for index in streams]):
            counts[packet.stream_index] += packet.size > 0
            if counts[streams[0]] > 1:
                break
    return next((index for index in streams if counts[index] > 1), streams[0])


def no_frame_error(source: Source) -> VideoError:
    """The error for a file none of whose frames can be decoded."""
    return VideoError(
        f"{source.path}: no frame could be decoded (codec '{source.codec}'). "
        f"Re-encode it, for example: ffmpeg -i {source.path.name} out.mp4"
    )


def _unreadable(path: Path, problem: Exception) -> VideoError:
    if isinstance(problem, MemoryError):
        return VideoError(
            f"{path}: its pictures do not fit into memory. Make them smaller, for example: ffmpeg -i {path.name} -vf scale=-2:720 out.mp4"
        )
    reason = " ".join(str(getattr(problem, "strerror", None) or problem).split()) or type(problem).__name__
    return VideoError(f"{path}: the file could not be read as a video ({reason}). Check that it plays, or get it again.")


def _not_a_video(path: Path) -> VideoError:
    return VideoError(
        f"{path}: this is not a video that FFmpeg can read, or its header or index is missing (a download cut short, "
        "or another kind of file). Check that it plays, or get it again."
    )
