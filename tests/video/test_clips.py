"""Consecutive frames at an even rate: which frames, from any kind of file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from raising import error_of
from stap.errors import VideoError
from stap.video.clips import FrameStream

REORDERED = {"preset": "ultrafast", "g": "10", "bf": "3", "b-adapt": "0"}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"options": REORDERED},
        {"frame_rate": Fraction(30000, 1001)},
        {"name": "clip.avi", "codec": "mpeg4", "options": {"bf": "2"}},
        {"name": "clip.mpg", "codec": "mpeg2video", "options": {"bf": "2", "g": "9"}},
        {"name": "clip.264", "options": REORDERED},
        {"times": [700 + 40 * k for k in range(12)]},
    ],
    ids=["constant", "reordered", "ntsc", "divx avi", "program stream", "raw", "non-zero start"],
)
def test_a_video_of_this_very_rate_gives_each_frame_once(make_video, number_shown, settings):
    path = make_video(**settings)
    rate = float(settings.get("frame_rate", 25))
    for frame_rate in (rate, None):
        stream = FrameStream(path, frame_rate)
        assert [number_shown(picture) for picture in stream] == list(range(12))
        assert len(stream) == 12
        assert stream.warnings == ()


@pytest.mark.parametrize(
    ("frame_rate", "expected"),
    [
        (12.5, [1, 3, 5, 7, 9, 11]),  # shown at 0.04, 0.12 ... seconds, where frame 2k + 1 begins
        (50, [k // 2 for k in range(24)]),
        (10, [1, 3, 6, 8, 11]),  # at 0.05, 0.15 ...
        (1, [11]),  # rounded to one frame at half a second, behind the end
    ],
)
def test_another_rate_shows_what_is_on_the_screen(make_video, number_shown, frame_rate, expected):
    stream = FrameStream(make_video(), frame_rate)
    assert [number_shown(picture) for picture in stream] == expected
    assert np.allclose(stream.times_seconds, [(k + 0.5) / frame_rate for k in range(len(expected))])
    assert stream.duration_seconds == pytest.approx(0.48)


def test_a_variable_rate_is_sampled_by_time(make_video, number_shown):
    path = make_video(frames=4, times=[0, 100, 150, 400])
    assert [number_shown(picture) for picture in FrameStream(path, 10)] == [0, 2, 2, 2]  # at 50, 150, 250 and 350 ms
    stream = FrameStream(path, None)
    assert [number_shown(picture) for picture in stream] == [0, 1, 2, 3]
    assert stream.times_seconds.tolist() == [0, 0.1, 0.15, 0.4]


def test_pictures_have_the_wanted_size_and_can_be_read_again(make_video):
    stream = FrameStream(make_video(), 25, short_side=16)
    first, again = list(stream), list(stream)
    assert {picture.shape for picture in first} == {(16, 48, 3)}
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_one_frame(make_video, number_shown):
    for frame_rate in (25, None):
        assert [number_shown(picture) for picture in FrameStream(make_video(frames=1), frame_rate)] == [0]


def test_damage_in_the_middle_shows_the_last_good_frame(make_video, number_shown, numbered_frame):
    noise = np.random.default_rng(0).normal(0, 6, (32, 96, 3))
    noisy = [np.clip(numbered_frame(k) + np.roll(noise, k), 0, 255).astype(np.uint8) for k in range(40)]
    path = make_video(frames=noisy, options={"preset": "ultrafast", "g": "1", "bf": "0"})
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][20:23]
    data = bytearray(path.read_bytes())
    for position, size in places:
        data[position : position + size] = bytes(size)
    path.write_bytes(data)
    stream = FrameStream(path, 25)
    assert [number_shown(picture) for picture in stream] == [*range(20), 19, 19, 19, *range(23, 40)]
    assert stream.warnings == (
        f"{path}: 3 of 40 frames could not be decoded; the samples (40) are taken from the others, and those soon after the damage "
        "may be smeared.",
    )


def test_no_video(make_video, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError):
        FrameStream(tmp_path / "text.mp4", 25)
    error = error_of(ValueError, FrameStream, make_video(), 0)
    assert error == "frame_rate is 0, and more than 0 frames per second, or None, was expected."


def test_nothing_can_be_decoded(make_video):
    path = make_video(frames=3, options={"preset": "ultrafast", "g": "1", "bf": "0"})
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for position, size in places:
        data[position : position + size] = bytes(size)
    path.write_bytes(data)
    assert error_of(VideoError, list, FrameStream(path, 25)) == (
        f"{path}: no frame could be decoded (codec 'h264'). Re-encode it, for example: ffmpeg -i clip.mp4 out.mp4"
    )


@pytest.mark.slow
def test_real_files_of_every_kind(stap_data: Path):
    for path in sorted((stap_data / "videos").iterdir()):
        if path.suffix in (".mp4", ".mkv", ".gif", ".avi", ".webm") and path.stat().st_size < 150_000:
            stream = FrameStream(path, 2, short_side=16)
            assert sum(1 for _ in stream) == len(stream) == max(1, round(stream.duration_seconds * 2))
