"""Which frames are taken, and when they were shown: compared with a plain decoding of the whole file by PyAV."""

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from raising import error_of
from stap.video import fetching, sample_frames
from stap.video.fetching import fetch_by_seeking, fetch_by_time
from stap.video.source import Source, TimelineMismatchError, open_source
from stap.video.timeline import read_timeline

B_FRAMES = {"preset": "ultrafast", "g": "10", "bf": "3", "b-adapt": "0"}
CLIPS = {
    "constant rate": {},
    "reordered": {"options": B_FRAMES, "frames": 50},
    "ntsc": {"frame_rate": Fraction(30000, 1001)},
    "variable rate": {"times": [0, 10, 20, 30, 400, 410, 800, 1500, 1510, 1520, 1530, 1540]},
    "variable rate, reordered": {"times": [0, 9, 20, 200, 230, 400, 410, 800, 1500, 1501, 1530, 1900], "options": B_FRAMES},
    "non-zero start": {"times": [700 + 40 * k for k in range(12)]},
    "matroska": {"name": "clip.mkv", "options": B_FRAMES},
    "matroska, non-zero start": {"name": "clip.mkv", "times": [700 + 40 * k for k in range(12)]},
    "transport stream": {"name": "clip.ts", "options": B_FRAMES, "frames": 40},
    "program stream": {"name": "clip.mpg", "codec": "mpeg2video", "options": {"bf": "2", "g": "9"}, "frames": 40},
    "flash": {"name": "clip.flv", "options": B_FRAMES},
    "avi without presentation times": {"name": "clip.avi", "options": B_FRAMES, "frames": 40},
    "divx avi": {"name": "clip.avi", "codec": "mpeg4", "options": {"bf": "2"}},
    "avi in order": {"name": "clip.avi", "options": {"bf": "0", "g": "5"}, "frames": 40},
    "raw stream": {"name": "clip.264", "options": B_FRAMES},
    "open groups of pictures": {"options": {"x264-params": "open-gop=1:keyint=8:bframes=3:b-adapt=0"}, "frames": 60},
    "gradual refresh": {"name": "clip.mkv", "options": {"x264-params": "intra-refresh=1:keyint=10"}, "frames": 60},
    "hevc": {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=9:bframes=3"}, "frames": 40},
    "vp9": {"name": "clip.webm", "codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8", "g": "10"}},
    "ten bits": {"pix_fmt": "yuv420p10le"},
    "4:4:4": {"pix_fmt": "yuv444p"},
    "gif": {"name": "clip.gif", "codec": "gif", "pix_fmt": "rgb8", "frame_rate": 10},
    "two frames": {"frames": 2},
}


@pytest.fixture(scope="module", params=CLIPS.values(), ids=CLIPS.keys())
def clip(request, make_video_in, tmp_path_factory) -> Path:
    return make_video_in(tmp_path_factory.mktemp("clip"), **request.param)


def decoded_by_hand(path: Path) -> tuple[list[np.ndarray], list[Fraction], Fraction]:
    """All frames as pictures, when each is shown, and when the last one ends: seconds from the first, exactly."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        stamps = [frame.pts for frame in frames]
        if None in stamps:
            times = [Fraction(k) / stream.average_rate for k in range(len(frames))]
        else:
            times = [(stamp - min(stamps)) * stream.time_base for stamp in sorted(stamps)]
        pictures = [frame.to_ndarray(format="rgb24") for frame in frames]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        last = max(packets, key=lambda packet: packet.pts if packet.pts is not None else 0)
        lasting = times[-1] - times[-2] if None in stamps else last.duration * stream.time_base
    return pictures, times, times[-1] + lasting


@pytest.mark.parametrize("strategy", ["decode", "seek", "auto"])
def test_frames_are_those_shown_at_evenly_spread_times(clip, strategy, number_shown):
    pictures, times, end = decoded_by_hand(clip)
    for count in (1, 3, 7, 30):
        targets = [(k + Fraction(1, 2)) * end / count for k in range(count)]
        places = sorted({max(place for place, time in enumerate(times) if time <= target) for target in targets})
        if len(times) <= count:
            places = list(range(len(times)))
        frames = sample_frames(clip, count, strategy=strategy)
        assert [number_shown(rgb) for rgb in frames.rgb_uint8] == [number_shown(pictures[place]) for place in places]
        assert frames.times_seconds.tolist() == [float(times[place]) for place in places]
        assert frames.duration_seconds == pytest.approx(float(end), rel=1e-12)
        assert frames.warnings == ()


def test_frames_come_in_the_order_of_their_numbers(clip, number_shown):
    numbers = [number_shown(rgb) for rgb in sample_frames(clip, 1000).rgb_uint8]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 1


@pytest.mark.parametrize("count", [3, 20])
def test_seeking_gives_the_same_pictures_to_the_last_bit(clip, count):
    decoded = sample_frames(clip, count, strategy="decode", short_side=24)
    sought = sample_frames(clip, count, strategy="seek", short_side=24)
    assert np.array_equal(decoded.rgb_uint8, sought.rgb_uint8)
    assert np.array_equal(decoded.times_seconds, sought.times_seconds)
    assert decoded.duration_seconds == sought.duration_seconds


# Without times of their own, or with key frames that are whole only a while later.
NOT_SOUGHT = {
    "program stream",
    "avi without presentation times",
    "divx avi",
    "raw stream",
    "gif",
    "two frames",
    "gradual refresh",
}


@pytest.mark.parametrize("name", [name for name in CLIPS if name not in NOT_SOUGHT])
def test_seeking_needs_no_help_from_decoding(name, make_video):
    path = make_video(**CLIPS[name])
    with open_source(path) as source:
        timeline = read_timeline(source)
    assert timeline.has_own_times
    wanted = [len(timeline) // 3, len(timeline) - 1]
    fetched = []
    for fetch in (fetch_by_time, fetch_by_seeking):
        with open_source(path) as source:
            fetched.append(
                [(place, frame.pts, frame.to_ndarray(format="rgb24")) for place, frame in fetch(source, timeline, wanted)]
            )
    assert [place for place, _, _ in fetched[1]] == wanted
    for (_, pts, rgb), (_, other_pts, other_rgb) in zip(*fetched, strict=True):
        assert pts == other_pts
        assert np.array_equal(rgb, other_rgb)


@pytest.mark.parametrize("name", ["open groups of pictures", "hevc", "transport stream"])
def test_frames_shown_before_the_key_frame_they_follow_are_reached_too(name, make_video):
    """In an open group, frames may be stored behind a key frame and shown before it, built on the group before."""
    path = make_video(**CLIPS[name])
    with open_source(path) as source:
        timeline = read_timeline(source)
        whole = [frame.to_ndarray(format="gray") for frame in frames_of(path)]
    with open_source(path, threads=1) as source:
        for place in range(len(timeline)):
            ((_, frame),) = fetch_by_seeking(source, timeline, [place])
            assert np.array_equal(frame.to_ndarray(format="gray"), whole[place])


def frames_of(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@pytest.fixture
def packets_decoded(monkeypatch) -> list[int]:
    """A list of one number: how many packets have been decoded."""
    counts = [0]
    decode = Source._decode

    def counting(self, packet):
        counts[0] += 1
        return decode(self, packet)

    monkeypatch.setattr(Source, "_decode", counting)
    return counts


@pytest.fixture(scope="module")
def long_video(make_video_in, tmp_path_factory) -> Path:
    return make_video_in(
        tmp_path_factory.mktemp("long"), "long.mp4", 2000, options={"preset": "ultrafast", "g": "20", "sc_threshold": "0"}
    )


def test_sparse_sampling_of_a_long_file_decodes_little(long_video, packets_decoded, number_shown):
    frames = sample_frames(long_video, 5, threads=1)
    assert [number_shown(rgb) for rgb in frames.rgb_uint8] == [200, 600, 1000, 1400, 1800]
    assert packets_decoded[0] <= 5 * (1 + 3)
    frames = sample_frames(long_video, 4, threads=1, strategy="decode")
    assert [number_shown(rgb) for rgb in frames.rgb_uint8] == [250, 750, 1250, 1750]
    assert packets_decoded[0] >= 1750


def test_dense_sampling_decodes_each_frame_once(long_video, packets_decoded):
    frames = sample_frames(long_video, 400)
    assert len(frames.times_seconds) == 400
    assert packets_decoded[0] <= 2000


def test_files_without_times_are_decoded_once(make_video, packets_decoded, number_shown):
    path = make_video("clip.264", 40)
    frames = sample_frames(path, 4, strategy="seek")
    assert [number_shown(rgb) for rgb in frames.rgb_uint8] == [5, 15, 25, 35]
    assert packets_decoded[0] == 40 + 1


def test_a_container_that_lands_before_the_key_frame_is_followed_from_there(long_video, monkeypatch):
    with open_source(long_video) as source:
        timeline = read_timeline(source)
    monkeypatch.setattr(fetching, "_packets_after_jump", lambda source, stamp: source.packets())  # always at the front
    with open_source(long_video) as source:
        assert [place for place, _ in fetch_by_seeking(source, timeline, [33, 35])] == [33, 35]


def test_a_container_that_lands_behind_the_key_frame_is_decoded_instead(long_video, monkeypatch, number_shown):
    with open_source(long_video) as source:
        timeline = read_timeline(source)

    def too_late(source, stamp):
        return (packet for packet in source.packets() if packet.is_keyframe and packet.pts > stamp)

    monkeypatch.setattr(fetching, "_packets_after_jump", too_late)
    with open_source(long_video) as source, pytest.raises(TimelineMismatchError):
        list(fetch_by_seeking(source, timeline, [33]))
    assert [number_shown(rgb) for rgb in sample_frames(long_video, 2).rgb_uint8] == [500, 1500]


def test_pictures_are_contiguous_bytes(make_video):
    frames = sample_frames(make_video(rotation=90), 4)
    assert frames.rgb_uint8.shape == (4, 96, 32, 3)
    assert frames.rgb_uint8.dtype == np.uint8
    assert frames.rgb_uint8.flags.c_contiguous
    assert frames.times_seconds.dtype == np.float64


def test_one_frame_is_answered_with_a_warning(make_video, number_shown):
    path = make_video(frames=1)
    frames = sample_frames(path)
    assert [number_shown(rgb) for rgb in frames.rgb_uint8] == [0]
    assert frames.times_seconds.tolist() == [0.0]
    assert frames.duration_seconds == 0.04
    assert frames.warnings == (f"{path}: the video has a single frame, so there is no motion to describe.",)


def test_several_files_at_once(make_video):
    paths = [make_video(f"{k}.mp4", 30 + k) for k in range(4)]
    expected = [sample_frames(path, 9).rgb_uint8 for path in paths]
    with ThreadPoolExecutor(4) as pool:
        for frames, one_by_one in zip(pool.map(lambda path: sample_frames(path, 9), paths * 3), expected * 3, strict=True):
            assert np.array_equal(frames.rgb_uint8, one_by_one)


@pytest.mark.parametrize("name", ["a:b.mp4", "100%d.mp4", "-i.mp4", "ключ.mp4", "a b'\".mp4", "concat:x.mp4"])
def test_names_that_mean_something_to_ffmpeg(make_video, name):
    plain = make_video("plain.mp4")
    assert len(sample_frames(plain.rename(plain.with_name(name))).times_seconds) == 12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 0}, "count is 0, and at least 1 frame was expected."),
        ({"short_side": 0}, "short_side is 0, and at least 1 pixel, or None, was expected."),
        ({"strategy": "fast"}, "strategy is 'fast', and one of auto, seek, decode was expected."),
        ({"threads": 0}, "threads is 0, and at least 1, or None, was expected."),
    ],
)
def test_wrong_arguments(make_video, settings, message):
    assert error_of(ValueError, sample_frames, make_video(), **settings) == message
