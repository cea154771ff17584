"""Opening a video file: the container, its picture stream, and what to say when there is none."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from stap.errors import StapError, VideoError
from stap.video.budget import Budget
from stap.video.files import check_file
from stap.video.formats import PLAYLISTS, SELF_CONTAINED, check_parts, is_playlist, opener_below
from stap.video.mp4_index import check_claims, has_wrong_edits
from stap.video.threads import available_cores

__all__ = ["Source", "TimelineMismatchError", "no_frame_error", "open_source"]

# More threads than this cost memory (each keeps frames of its own) and hardly gain time.
_MOST_THREADS = 8
_MOST_TRIES = 64  # packets in which a first frame is looked for
_MOST_STRETCH = Fraction(16)


class TimelineMismatchError(Exception):
    """The decoder does not give what the packets promised: damage, or a container whose times mean something else."""


@dataclass
class Source:
    """One opened video file, read from front to back or from where `seek` has put it."""

    path: Path
    container: InputContainer
    stream: VideoStream
    faults: int = field(default=0)  # places that could not be read or decoded so far
    budget: Budget = field(kw_only=True)
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
        demuxed = self.container.demux(self.stream)
        try:
            while packet := self.budget.timed(next, demuxed, None):
                if not packet.size:
                    self.empty_packets += packet.dts is not None  # the last one, without times, is PyAV's sign of the end
                elif skipped:
                    skipped -= 1
                else:
                    yield packet
        except av.ExitError:
            raise self.budget.too_slow() from None
        except av.FFmpegError:
            self.faults += 1

    def packets_from_the_start(self) -> "Iterator[Packet[VideoStream]]":
        """All packets of a freshly opened source; meanwhile `first_frame` is found, where only it tells how the pictures are turned.

        H.264 and HEVC may signal the orientation in an SEI message, which only some pictures carry.
        """
        tries = _MOST_TRIES if self.codec in ("h264", "hevc") else 0
        for packet in self.packets():
            if tries and not self.first_frame:
                with suppress(av.FFmpegError):
                    self.first_frame = next(iter(self.budget.timed(self.stream.decode, packet)), None)
                tries -= 1
            yield packet

    def frames(self, packets: "Iterable[Packet[VideoStream]]") -> Iterator[VideoFrame]:
        """The frames decoded from these packets, in the order they are shown; none for a packet that is damaged."""
        for packet in packets:
            yield from self._decode(packet)
        yield from self._decode(None)

    def _decode(self, packet: "Packet[VideoStream] | None") -> list[VideoFrame]:
        try:
            return self.budget.timed(self.stream.decode, packet)
        except av.FFmpegError:
            self.faults += 1
            return []


@contextmanager
def open_source(path: Path, threads: int | None = None, budget: Budget | None = None) -> Iterator[Source]:
    """Open the file for reading its pictures.

    threads: of the decoder; None for one a core, 1 makes even the repair of damaged pictures repeatable.
    budget: what the file may still cost; None for the limits' defaults.
    Raises VideoError if the file is missing, unreadable, no video, over its limits or has no picture stream, and for whatever PyAV
    raises while it is open.
    """
    check_file(path)
    budget = budget or Budget(path)
    try:
        with _open(budget) as container:
            stream = _picture_stream(budget, container)
            width, height = stream.codec_context.width, stream.codec_context.height
            if width and height:  # a GIF's are known with its first frame
                budget.check_size(width, height)
            for other in container.streams:
                if other is not stream:
                    other.discard = Discard.all  # so that its packets are not even read, where the container can
            stream.codec_context.options = _decoder_options(budget)
            stream.thread_count = threads or budget.threads(min(available_cores(), _MOST_THREADS), width, height)
            stream.thread_type = "NONE" if threads == 1 else "AUTO"
            yield Source(path, container, stream, budget=budget)
    except (StapError, TimelineMismatchError):
        raise
    except (
        Exception
    ) as problem:  # PyAV raises more than its own: UnicodeDecodeError for metadata, ValueError, OverflowError ...
        raise _unreadable(path, problem) from problem


def _decoder_options(budget: Budget) -> dict[str, str]:
    return {"max_pixels": str(budget.limits.pixels)}


@contextmanager
def _open(budget: Budget) -> Iterator[InputContainer]:
    path = budget.path
    with ExitStack() as opened:
        try:
            check_claims(path)
            open_container = _open_as_playlist if is_playlist(path) else _open_as_video
            container = opened.enter_context(budget.timed(open_container, budget, opened))
        except av.ExitError:
            raise budget.too_slow() from None
        except (av.InvalidDataError, av.ArgumentError):  # the latter also for a format that is not in the list
            raise _not_a_video(path) from None
        except (av.FFmpegError, OSError) as problem:
            raise VideoError(
                f"{path}: the file could not be opened as a video ({problem.strerror}). Check that it plays, or get it again."
            ) from None
        yield container


def _open_as_video(budget: Budget, opened: ExitStack, more: str = "", **how: Any) -> InputContainer:
    container: InputContainer = av.open(
        f"file:{budget.path}",  # "file:" keeps FFmpeg from reading a name such as "a:b.mp4" as a protocol
        "r",
        options=_decoder_options(budget),  # for the first frames, which FFmpeg decodes to know the codec
        container_options={
            "protocol_whitelist": "file",
            "format_whitelist": SELF_CONTAINED + more,
            **({"ignore_editlist": "1"} if has_wrong_edits(budget.path) else {}),
        },
        metadata_errors="replace",
        timeout=budget.left_seconds,
        **how,
    )
    return container


def _open_as_playlist(budget: Budget, opened: ExitStack) -> InputContainer:
    if not budget.limits.playlists:
        raise VideoError(
            f"{budget.path}: this is a playlist, which names other files, and one video file was expected. Give the files themselves, or "
            "allow playlists (--allow-playlists, corpus.limits.playlists=true)."
        )
    check_parts(budget.path)
    return _open_as_video(budget, opened, f",{PLAYLISTS}", io_open=opener_below(budget.path, opened))


def _picture_stream(budget: Budget, container: InputContainer) -> VideoStream:
    """FFmpeg's choice, but never a cover, nor a still where another stream has moving pictures."""
    path = budget.path
    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    if not container.streams:
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
    moving = _first_that_moves(budget, [stream.index for stream in streams])
    return next(stream for stream in streams if stream.index == moving)


def _rank(stream: VideoStream) -> tuple[bool, int, int]:
    """FFmpeg's order of preference: the stream that the file marks as default, then the largest picture, then the most bits a second."""
    size = stream.codec_context.width * stream.codec_context.height
    bits = stream.codec_context.bit_rate or stream.metadata.get(
        "variant_bitrate", ""
    )  # the latter of a variant in an HLS master
    return bool(stream.disposition & Disposition.default), size, int(bits) if str(bits).isdecimal() else 0


def _first_that_moves(budget: Budget, streams: Sequence[int]) -> int:
    """The first of these streams that has more than one frame; the very first if none has.   streams: their indices, the best first."""
    counts = dict.fromkeys(streams, 0)
    with _open(budget) as container, suppress(av.FFmpegError):
        for packet in container.demux([container.streams[index] for index in streams]):
            counts[packet.stream_index] += packet.size > 0
            if counts[streams[0]] > 1:
                break
    return next((index for index in streams if counts[index] > 1), streams[0])


def no_frame_error(source: Source) -> VideoError:
    """The error for a file none of whose frames can be decoded."""
    limit = (
        ""
        if source.stream.codec_context.width or source.codec == "webp"
        else f", or all have more than {source.budget.limits.pixels:,} pixels, which is the limit"
    )
    return VideoError(f"{source.path}: no frame could be decoded (codec '{source.codec}'){limit}. " + _re_encode(source))


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


def _re_encode(source: Source) -> str:
    """Advice that works for this codec."""
    if source.codec == "webp":  # FFmpeg knows pictures in WebP, and no films
        convert = f"Image.open({source.path.name!r}).save('out.gif', save_all=True)"
        return f'Animated WebP is decoded by Pillow: python -c "from PIL import Image; {convert}"'
    return f"Re-encode it, for example: ffmpeg -i {source.path.name} out.mp4"
