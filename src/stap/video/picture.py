"""A decoded frame -> the picture a viewer would see, as RGB: colours, pixel shape, size and orientation."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from stap.video.budget import Budget

__all__ = ["PictureMaker", "display_size", "orient", "thumbnail_maker"]

# The frame's own name of its matrix (ITU-T H.273, table 4) -> the converter's. A frame that names none takes FFmpeg's default,
# BT.601, whatever its size, as every reader built on FFmpeg does.
_CONVERTER_MATRIX = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
# Exact rounding and full chroma: the same result on every processor.
_BICUBIC = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT


class PictureMaker:
    """Makes the pictures of one video, all of the size and orientation of the first.

    short_side: pixels of the shorter side, None for the size at which the video is shown.
    pixel_aspect: width of a stored pixel over its height; the pixels of the pictures are square.
    first_frame: of the video, which says how its pictures are turned; None if any frame says so.
    budget: of the file; a picture beyond its limits raises VideoError.
    """

    def __init__(
        self, short_side: int | None, pixel_aspect: Fraction, budget: Budget, first_frame: VideoFrame | None = None
    ) -> None:
        self._budget = budget
        self._short_side = short_side
        self._pixel_aspect = pixel_aspect
        self._converter = VideoReformatter()
        self._size: tuple[int, int] | None = None
        self._first_frame = first_frame
        self._matrix: np.ndarray | None = None

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        """The frame as (height, width, 3) uint8."""
        if self._size is None:
            self._size = display_size(frame.width, frame.height, self._pixel_aspect, self._short_side)
            self._budget.check_size(*self._size)
            self._matrix = _display_matrix(self._first_frame or frame)
        width, height = self._size
        rgb = self._converter.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=_CONVERTER_MATRIX.get(frame.colorspace),
            src_color_range=frame.color_range or None,
            dst_color_range=ColorRange.JPEG,
            interpolation=_BICUBIC,
            threads=1,
        ).to_ndarray()
        return rgb if self._matrix is None else orient(rgb, self._matrix)


def thumbnail_maker(long_side: int) -> Callable[[VideoFrame], np.ndarray]:
    """Makes thumbnails (height, width, 3) uint8, blue first, of the frames of one video, in a tenth of a picture's time.

    For comparing frames with each other: as stored (neither turned nor stretched), and all of the size of the first.
    """
    converter = VideoReformatter()
    size: tuple[int, int] | None = None

    def make(frame: VideoFrame) -> np.ndarray:
        nonlocal size
        if size is None:
            scale = min(1.0, long_side / max(frame.width, frame.height))
            size = max(1, round(scale * frame.width)), max(1, round(scale * frame.height))
        small = converter.reformat(
            frame, width=size[0], height=size[1], format="bgr24", interpolation=Interpolation.FAST_BILINEAR, threads=1
        )
        return small.to_ndarray()

    return make


def display_size(width: int, height: int, pixel_aspect: Fraction, short_side: int | None) -> tuple[int, int]:
    """Width and height in square pixels: stored sizes are stretched, never shrunk, then scaled to the short side if there is one."""
    shown_width, shown_height = width * max(pixel_aspect, Fraction(1)), height / min(pixel_aspect, Fraction(1))
    scale = Fraction(short_side) / min(shown_width, shown_height) if short_side else Fraction(1)
    return max(1, round(shown_width * scale)), max(1, round(shown_height * scale))


def orient(rgb: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Turn and mirror a picture (height, width, 3) as a display matrix says, to the nearest quarter turn.

    matrix: (2, 2); a point (x, y), y downwards, goes to (x, y) @ matrix.
    """
    (a, b), (c, d) = matrix.tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return rgb[:: _direction(d), :: _direction(a)]
    return rgb.transpose(1, 0, 2)[:: _direction(b), :: _direction(c)]


def _direction(scale: int) -> int:
    return -1 if scale < 0 else 1


def _display_matrix(frame: VideoFrame) -> np.ndarray | None:
    """The part of the frame's 3 x 3 matrix that turns and mirrors, in units of 1/65536; None if there is no matrix."""
    side_data: Any = frame.side_data  # its type stubs know less than it does
    if SideDataType.DISPLAYMATRIX not in side_data:
        return None
    matrix = bytes(side_data[SideDataType.DISPLAYMATRIX])
    return np.frombuffer(matrix, dtype=np.int32).reshape(3, 3)[:2, :2]
