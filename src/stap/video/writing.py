"""Writing a small video file."""

import itertools
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from stap.errors import VideoError
from stap.files import replacing

__all__ = ["write_video"]

_X264_OPTIONS = {"preset": "veryfast", "crf": "18"}
# What FFmpeg's converter uses for RGB to YUV by default; the file says so, so that every reader agrees.
_BT601, _LIMITED_RANGE = 6, 1


def write_video(
    path: str | Path,
    rgb_uint8: Iterable[np.ndarray],
    frame_rate: Fraction | int = 25,
    *,
    codec: str = "libx264",
    options: Mapping[str, str] | None = None,
) -> None:
    """Write frames as a video file, whose container follows from the suffix (.mp4, .mkv, .avi ...).

    rgb_uint8: the frames, (height, width, 3) uint8 of one even height and width (pictures are stored as yuv420p).
    frame_rate: frames per second, exact.     options: settings of the encoder, in place of preset veryfast and crf 18.

    Folders above are made. The file appears under its name only when it is complete. The same frames and options give the same bytes.
    Raises VideoError if there is no frame, a frame does not fit, or the file cannot be written.
    """
    path = Path(path)
    frames = iter(rgb_uint8)
    first = next(frames, None)
    if first is None:
        raise VideoError(f"{path}: no frame to write, and at least one was expected.")
    _check_frame(path, first, first.shape)
    if first.shape[0] % 2 or first.shape[1] % 2:
        raise VideoError(
            f"{path}: frames of {first.shape[1]}x{first.shape[0]} pixels, and an even width and height were expected. "
            "Crop or pad the frames by one pixel."
        )
    with replacing(path, VideoError) as unfinished:
        try:
            _encode(unfinished, path, itertools.chain([first], frames), Fraction(frame_rate), codec, options)
        except (av.FFmpegError, OSError, ValueError) as problem:
            reason = getattr(problem, "strerror", None) or problem
            raise VideoError(
                f"{path}: the video could not be written with the encoder '{codec}' ({reason}). "
                "Check the folder, its free space, the suffix and the encoder."
            ) from problem


def _encode(
    file: Path, path: Path, frames: Iterable[np.ndarray], frame_rate: Fraction, codec: str, options: Mapping[str, str] | None
) -> None:
    shape = None
    # Without "bitexact", Matroska files hold a random number.
    with av.open(f"file:{file}", "w", container_options={"fflags": "bitexact"}) as container:
        for rgb in frames:
            if shape is None:
                shape = rgb.shape
                stream = _add_stream(container, codec, frame_rate, shape, options)
            _check_frame(path, rgb, shape)
            container.mux(stream.encode(VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")))
        container.mux(stream.encode(None))


def _add_stream(
    container: av.container.OutputContainer,
    codec: str,
    frame_rate: Fraction,
    shape: tuple[int, ...],
    options: Mapping[str, str] | None,
) -> VideoStream:
    if options is None:
        options = _X264_OPTIONS if codec == "libx264" else {}
    stream = cast(VideoStream, container.add_stream(codec, rate=frame_rate, options=dict(options)))
    stream.height, stream.width = shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.codec_context.colorspace, stream.codec_context.color_range = _BT601, _LIMITED_RANGE
    # One thread: small pictures gain nothing from more, and the bytes then never depend on the machine.
    stream.codec_context.thread_count = 1
    return stream


def _check_frame(path: Path, rgb: np.ndarray, shape: tuple[int, ...]) -> None:
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.shape != shape:
        expected = f"{tuple(shape)} uint8" if len(shape) == 3 and shape[2] == 3 else "(height, width, 3) uint8"
        raise VideoError(f"{path}: a frame of shape {rgb.shape} {rgb.dtype}, and {expected} was expected.")
