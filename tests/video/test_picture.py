"""From a decoded frame to RGB: colours, orientation, pixel shape and size, each against its definition."""

from fractions import Fraction

import numpy as np
import pytest
from av.video.frame import VideoFrame

from stap.video import sample_frames
from stap.video.picture import display_size, orient

KR_KB = {"bt709": (1, 0.2126, 0.0722), "bt601": (6, 0.299, 0.114), "bt2020": (9, 0.2627, 0.0593), "unstated": (2, 0.299, 0.114)}
RANGES = {"limited": (1, 16, 219, 224), "full": (2, 0, 255, 255)}


def rgb_by_definition(yuv: np.ndarray, kr: float, kb: float, black: float, luma: float, chroma: float) -> np.ndarray:
    """ITU-T H.273, section 8.3: from 8-bit Y, Cb, Cr (3, H, W) to RGB in 0 .. 255."""
    y, cb, cr = (yuv[0] - black) / luma, (yuv[1] - 128) / chroma, (yuv[2] - 128) / chroma
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return 255 * np.clip(np.stack([red, green, blue], axis=-1), 0, 1)


def yuv_patches(depth: int) -> np.ndarray:
    """Random colours in 8 x 8 squares: (3, 48, 64) of 8 or more bits."""
    small = np.random.default_rng(3).integers(40 << (depth - 8), 210 << (depth - 8), (3, 6, 8))
    return small.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8 if depth == 8 else np.uint16)


def planar_frame(yuv: np.ndarray, pix_fmt: str) -> VideoFrame:
    frame = VideoFrame(yuv.shape[2], yuv.shape[1], pix_fmt)
    for plane, values in zip(frame.planes, yuv, strict=True):
        rows = np.zeros((values.shape[0], plane.line_size // values.itemsize), values.dtype)
        rows[:, : values.shape[1]] = values
        plane.update(rows.tobytes())
    return frame


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("colour_range", RANGES)
@pytest.mark.parametrize("matrix", KR_KB)
def test_colours_follow_what_the_file_states(make_video, matrix, colour_range, depth):
    number, kr, kb = KR_KB[matrix]
    range_number, black, luma, chroma = RANGES[colour_range]
    pix_fmt = "yuv444p" if depth == 8 else "yuv444p10le"
    yuv = yuv_patches(depth)
    frame = planar_frame(yuv, pix_fmt)
    path = make_video(frames=[frame] * 2, pix_fmt=pix_fmt, options={"qp": "0"}, colour=(number, range_number))
    expected = rgb_by_definition(yuv / (1 << (depth - 8)), kr, kb, black, luma, chroma)
    taken = sample_frames(path, 1).rgb_uint8[0]
    # In 10 bits full range ends at 1023, not at 4 x 255: a quarter of a level more.
    assert np.abs(taken - expected).max() <= (0.6 if depth == 8 else 1.6)


def test_colours_do_not_depend_on_the_size_of_the_picture(make_video):
    frame = planar_frame(yuv_patches(8), "yuv444p")
    path = make_video(frames=[frame], pix_fmt="yuv444p", options={"qp": "0"}, colour=(1, 2))
    expected = rgb_by_definition(yuv_patches(8).astype(float), 0.2126, 0.0722, 0, 255, 255)
    taken = sample_frames(path, 1, short_side=144).rgb_uint8[0]  # three times as large: compare the middles of the squares
    assert np.abs(taken[12::24, 12::24] - expected[4::8, 4::8]).max() <= 1.5


def quarter() -> np.ndarray:
    """A picture (32, 64, 3) whose upper left quarter is white, the rest black."""
    rgb = np.zeros((32, 64, 3), dtype=np.uint8)
    rgb[:16, :32] = 255
    return rgb


@pytest.mark.parametrize(
    ("rotation", "mirrored", "shape", "white_corner"),
    [
        (0, False, (32, 64), (0, 0)),
        (90, False, (64, 32), (1, 0)),
        (180, False, (32, 64), (1, 1)),
        (-90, False, (64, 32), (0, 1)),
        (0, True, (32, 64), (0, 1)),
        (90, True, (64, 32), (1, 1)),
        (180, True, (32, 64), (1, 0)),
        (-90, True, (64, 32), (0, 0)),
    ],
)
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov"])
def test_pictures_are_turned_and_mirrored_as_they_are_shown(make_video, name, rotation, mirrored, shape, white_corner):
    path = make_video(name, frames=[quarter()] * 3, rotation=rotation, mirrored=mirrored)
    rgb = sample_frames(path, 1).rgb_uint8[0]
    assert rgb.shape == (*shape, 3)
    height, width = shape
    corners = [
        [rgb[: height // 2, : width // 2].mean(), rgb[: height // 2, width // 2 :].mean()],
        [rgb[height // 2 :, : width // 2].mean(), rgb[height // 2 :, width // 2 :].mean()],
    ]
    bright = [(row, column) for row in (0, 1) for column in (0, 1) if corners[row][column] > 200]
    assert bright == [white_corner]


@pytest.mark.parametrize("matrix", [(1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, 1), (0, 1, 1, 0), (0, -1, -1, 0), (-1, 0, 0, -1)])
def test_orient_moves_points_as_the_matrix_says(matrix):
    a, b, c, d = matrix
    picture = np.arange(2 * 3 * 3).reshape(2, 3, 3)
    moved = {(a * x + c * y, b * x + d * y): picture[y, x] for y in range(2) for x in range(3)}
    left, top = min(x for x, _ in moved), min(y for _, y in moved)
    turned = orient(picture, np.array(matrix).reshape(2, 2))
    assert turned.shape[0] * turned.shape[1] == len(moved)
    for (x, y), colour in moved.items():
        assert turned[y - top, x - left].tolist() == colour.tolist()


@pytest.mark.parametrize(
    ("stored", "pixel_aspect", "short_side", "expected"),
    [
        ((640, 360), Fraction(1), None, (640, 360)),
        ((640, 360), Fraction(1), 180, (320, 180)),
        ((360, 640), Fraction(1), 180, (180, 320)),
        ((340, 256), Fraction(64, 51), None, (427, 256)),
        ((720, 576), Fraction(16, 15), 288, (384, 288)),
        ((720, 480), Fraction(8, 9), None, (720, 540)),
        ((321, 241), Fraction(1), 241, (321, 241)),
        ((1000, 1), Fraction(1), 1, (1000, 1)),
        ((64, 64), Fraction(2), 32, (64, 32)),
        ((64, 64), Fraction(1, 2), 32, (32, 64)),
    ],
)
def test_size_of_the_picture(stored, pixel_aspect, short_side, expected):
    assert display_size(*stored, pixel_aspect, short_side) == expected


def test_pixels_that_are_not_square_are_stretched(make_video):
    circle = np.hypot(*np.mgrid[-31.5:32, -31.5:32]) < 24
    squeezed = np.repeat(circle[:, ::2, None], 3, axis=2).astype(np.uint8) * 255  # (64, 32): pixels twice as wide as high
    path = make_video(frames=[squeezed] * 3, pixel_aspect=Fraction(2))
    rgb = sample_frames(path, 1).rgb_uint8[0]
    assert rgb.shape == (64, 64, 3)
    assert np.mean((rgb[:, :, 1] > 128) == circle) > 0.97
    turned = make_video("turned.mp4", frames=[squeezed] * 3, pixel_aspect=Fraction(2), rotation=90)
    assert sample_frames(turned, 1, short_side=32).rgb_uint8.shape == (1, 32, 32, 3)


def test_a_pixel_shape_beyond_belief_is_ignored(make_video):
    path = make_video(frames=[quarter()] * 3, pixel_aspect=Fraction(2))
    data = bytearray(path.read_bytes())
    box = data.index(b"pasp")
    data[box + 4 : box + 12] = (1000).to_bytes(4, "big") + (1).to_bytes(4, "big")
    path.write_bytes(data)
    frames = sample_frames(path, 1)
    assert frames.rgb_uint8.shape == (1, 32, 64, 3)
    assert frames.warnings == (f"{path}: its pixels are said to be 1000 times as wide as high; they are taken as square.",)


@pytest.mark.parametrize(("width", "height"), [(33, 31), (33, 32), (32, 31)])
@pytest.mark.parametrize("short_side", [None, 17])
def test_odd_sizes(make_video, width, height, short_side):
    ramp = np.linspace(20, 230, width)[None, :, None].repeat(height, 0).repeat(3, 2).astype(np.uint8)
    path = make_video("clip.webm", frames=[ramp] * 2, codec="libvpx-vp9", options={"lossless": "1", "cpu-used": "8"})
    rgb = sample_frames(path, 1, short_side=short_side).rgb_uint8[0]
    short = short_side or min(width, height)
    assert min(rgb.shape[:2]) == short
    expected = np.interp((np.arange(rgb.shape[1]) + 0.5) * width / rgb.shape[1] - 0.5, np.arange(width), ramp[0, :, 0])
    assert np.abs(rgb[:, 2:-2].mean(axis=(0, 2)) - expected[2:-2]).max() < 3


def test_frames_of_several_sizes_are_brought_to_the_first_ones(make_video, tmp_path):
    parts = [
        make_video(f"{width}.264", frames=[np.full((width, width, 3), 90, np.uint8)] * 5).read_bytes() for width in (32, 48)
    ]
    path = tmp_path / "both.264"
    path.write_bytes(b"".join(parts))
    frames = sample_frames(path, 10)
    assert frames.rgb_uint8.shape == (10, 32, 32, 3)
    assert np.abs(frames.rgb_uint8.astype(int) - 90).max() <= 4
