"""Every file of the folder of real videos: the frames by definition, and seeking equal to decoding."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stap.video import find_videos, sample_frames

FOLDERS = ("videos", "msvd/YouTubeClips", "msrvtt/TrainValVideo", "msrvtt/TestVideo")
ROOT = os.environ.get("STAP_DATA")
LARGE_BYTES = 60_000


def real_files() -> list:
    if not ROOT:
        return [pytest.param(None, marks=pytest.mark.skip("STAP_DATA is not set: the folder of real videos is not here"))]
    paths = find_videos(Path(ROOT, folder) for folder in FOLDERS)
    large = [path.stat().st_size > LARGE_BYTES for path in paths]
    return [
        pytest.param(path, id=path.name, marks=pytest.mark.slow if is_large else ())
        for path, is_large in zip(paths, large, strict=True)
    ]


def wanted_by_hand(path: Path, count: int) -> tuple[list[float], list[np.ndarray]]:
    """Seconds and small grey pictures of the frames shown at the wanted times, by decoding everything."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        greys, stamps, lasting = [], [], 0
        for frame in container.decode(stream):
            greys.append(frame.reformat(64, 48, "gray").to_ndarray())
            stamps.append(frame.pts)
        tick = stream.time_base
    with av.open(str(path)) as container:
        packets = [
            packet for packet in container.demux(container.streams.best("video")) if packet.size and not packet.is_discard
        ]
        lasting = max(packets, key=lambda packet: packet.pts).duration
    times = sorted(stamps)
    end = times[-1] + lasting - times[0]
    targets = [times[0] + (k + Fraction(1, 2)) * end / count for k in range(count)]
    places = sorted({max(place for place, time in enumerate(times) if time <= target) for target in targets})
    if len(times) <= count:
        places = list(range(len(times)))
    return [float((times[place] - times[0]) * tick) for place in places], [greys[place] for place in places]


@pytest.mark.parametrize("path", real_files())
@pytest.mark.slow
def test_frames_of_a_real_file(path):
    decoded = sample_frames(path, 5, strategy="decode")
    sought = sample_frames(path, 5, strategy="seek")
    assert np.array_equal(decoded.rgb_uint8, sought.rgb_uint8)
    assert np.array_equal(decoded.times_seconds, sought.times_seconds)
    seconds, greys = wanted_by_hand(path, 5)
    assert decoded.times_seconds.tolist() == pytest.approx(seconds, abs=1e-9)
    for rgb, grey in zip(decoded.rgb_uint8, greys, strict=True):
        assert likeness(rgb, grey, turned="rotated" in path.name) > 0.95
    single = f"{path}: the video has a single frame, so there is no motion to describe."
    assert decoded.warnings == ((single,) if len(seconds) == 1 else ())


def likeness(rgb: np.ndarray, grey: np.ndarray, turned: bool) -> float:
    """Correlation of the two pictures' brightness, which no colour matrix or range disturbs."""
    upright = np.rot90(rgb, -1) if turned else rgb
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(upright), format="rgb24")
    small = frame.reformat(64, 48, "gray").to_ndarray()
    if small.std() < 1 and grey.std() < 1:
        return 1.0
    return float(np.corrcoef(small.ravel(), grey.ravel())[0, 1])


def test_frames_that_an_edit_list_cuts_away_are_not_shown(stap_data):
    frames = sample_frames(stap_data / "videos/discard_first_keyframe.mp4", 100)
    assert len(frames.times_seconds) == 25
    assert frames.times_seconds.tolist() == [k / 25 for k in range(25)]
    assert frames.duration_seconds == 1


def test_rotation_metadata_of_a_camera(stap_data):
    upright = sample_frames(stap_data / "videos/nasa_13013.mp4", 3).rgb_uint8
    turned = sample_frames(stap_data / "videos/45076a6_nasa_13013_rotated.mp4", 3).rgb_uint8
    assert upright.shape == (3, 270, 480, 3)  # the larger of two streams
    assert np.array_equal(turned, np.rot90(upright, 1, axes=(1, 2)))


@pytest.mark.parametrize(
    ("name", "kr", "kb", "is_full"),
    [
        ("bt601_full_range.mp4", 0.299, 0.114, True),
        ("bt601_limited_range.mp4", 0.299, 0.114, False),
        ("bt709_full_range.mp4", 0.2126, 0.0722, True),
        ("bt2020_limited_range.mp4", 0.2627, 0.0593, False),
        ("bt2020_10bit.mp4", 0.2627, 0.0593, False),
        ("unspecified_full_range.mp4", 0.299, 0.114, True),
        ("unspecified_limited_range.mp4", 0.299, 0.114, False),
    ],
)
def test_colours_of_real_files(stap_data, name, kr, kb, is_full):
    path = stap_data / "videos" / name
    with av.open(str(path)) as container:
        y, cb, cr = planes(next(container.decode(video=0)))
    black, luma, chroma = (0, 255, 255) if is_full else (16, 219, 224)
    y, cb, cr = (y - black) / luma, (cb - 128) / chroma, (cr - 128) / chroma
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    expected = 255 * np.clip(np.stack([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue], axis=-1), 0, 1)
    taken = sample_frames(path, 1000).rgb_uint8[0]
    # Chroma has half the resolution and is spread out differently at edges; away from them the colours agree.
    assert np.median(np.abs(taken - expected)) < 1
    assert np.abs(taken - expected).mean() < 4


def planes(frame: av.VideoFrame) -> list[np.ndarray]:
    """Luma and both chroma planes at full size, in 8-bit units."""
    is_deep = frame.format.name.endswith("10le")
    full = []
    for plane in frame.planes:
        values = np.frombuffer(bytes(plane), dtype=np.uint16 if is_deep else np.uint8).reshape(plane.height, -1)[
            :, : plane.width
        ]
        step = frame.width // plane.width
        full.append(values.repeat(step, axis=0).repeat(step, axis=1) / (4 if is_deep else 1))
    return full


def test_pixels_of_a_camera_that_are_not_square(stap_data):
    assert sample_frames(stap_data / "videos/demo.mp4", 1).rgb_uint8.shape == (1, 256, 427, 3)
    assert sample_frames(stap_data / "videos/demo.mp4", 1, short_side=128).rgb_uint8.shape == (1, 128, 213, 3)
