"""Shots: where they begin, and which frames a captioner sees of them."""

import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from films import scene, scenes
from raising import error_of
from stap.errors import ConfigError, MissingDependencyError, VideoError
from stap.programmes import shot_frames
from stap.programmes.shots import SampledShot, Shot, ShotCutter, ShotRules, Shots
from stap.recipes.settings import VideoLimits
from stap.video import sample_frames
from stap.video.clips import FrameStream
from stap.video.sampling import Sampling

EIGHT = Sampling(8, 24)


def times(found: Sequence[SampledShot]) -> list[tuple[float, float]]:
    return [(round(one.shot.start_seconds, 3), round(one.shot.end_seconds, 3)) for one in found]


def shots(
    path: Path, samplings: Sequence[Sampling] = (EIGHT,), limits: VideoLimits | None = None, **rules: Any
) -> list[SampledShot]:
    return list(Shots(path, samplings, ShotRules(**rules), limits=limits))


@pytest.mark.parametrize("detector", ["adaptive", "content", "hash", "histogram"])
def test_cuts_are_found_at_the_frame_that_follows_them(make_video, detector: str) -> None:
    found = shots(make_video(frames=scenes(30, 20, 45)), detector=detector)
    assert times(found) == [(0, 1.2), (1.2, 2.0), (2.0, 3.8)]
    assert [one.shot.number for one in found] == [1, 2, 3]


def test_times_of_a_variable_frame_rate_are_the_files_own(make_video) -> None:
    stamps = np.cumsum([0, *(40 if k % 7 else 190 for k in range(1, 90))]).tolist()
    found = shots(make_video(frames=scenes(30, 25, 35), times=stamps))
    assert [start for start, _ in times(found)] == [0, stamps[30] / 1000, stamps[55] / 1000]


@pytest.mark.parametrize("isolate", [False, True])
def test_sampled_frames_are_those_of_the_shot_as_a_file_of_its_own(make_video, isolate: bool) -> None:
    pictures = scenes(33, 47)
    lossless = {"options": {"qp": "0", "preset": "ultrafast"}, "pix_fmt": "yuv444p"}
    whole = make_video("whole.mp4", pictures, **lossless)
    samplings = (EIGHT, Sampling(30, None), Sampling(None, 24, 10.0), Sampling(None, 24))
    found = shots(whole, samplings, VideoLimits(isolate=isolate))
    assert times(found) == [(0, 1.32), (1.32, 3.2)]
    for name, part, one in (("a.mp4", pictures[:33], found[0]), ("b.mp4", pictures[33:], found[1])):
        alone = make_video(name, part, **lossless)
        for sampling, frames in zip(samplings, one.frames, strict=True):
            if sampling.count:
                expected = sample_frames(alone, sampling.count, short_side=sampling.short_side)
                rgb, stamps = expected.rgb_uint8, expected.times_seconds
            else:
                stream = FrameStream(alone, sampling.frame_rate, short_side=sampling.short_side)
                rgb, stamps = np.stack(list(stream)), stream.times_seconds
            np.testing.assert_array_equal(frames.rgb_uint8, rgb)
            np.testing.assert_allclose(frames.times_seconds, stamps, atol=1e-9)
            assert frames.duration_seconds == pytest.approx(len(part) / 25)


def test_a_shot_that_does_not_fit_into_memory_is_sampled_nearly_as_evenly(make_video, monkeypatch) -> None:
    path = make_video(frames=list(scene(0, 200)))
    [exact] = shots(path)
    for held in (200_000, 20_000):  # some of the decoded frames fit, then only small pictures
        monkeypatch.setattr(shot_frames, "HELD_BYTES", held)
        [found] = shots(path)
        assert len(found.frames[0]) == 8
        assert np.abs(found.frames[0].times_seconds - exact.frames[0].times_seconds).max() <= 0.5  # half a step
        assert found.frames[0].rgb_uint8.shape == exact.frames[0].rgb_uint8.shape


def test_a_flash_is_no_cut_and_short_shots_are_joined_with_the_next(make_video) -> None:
    first = list(scene(0, 60))
    first[30:33] = [np.full_like(first[0], 250)] * 3
    assert times(shots(make_video("flash.mp4", first))) == [(0, 2.4)]
    short = [*scene(0, 40), *scene(1, 6), *scene(2, 40)]
    assert times(shots(make_video("short.mp4", short))) == [(0, 1.6), (1.6, 3.44)]
    tail = [*scene(0, 40), *scene(1, 6)]
    assert times(shots(make_video("tail.mp4", tail))) == [(0, 1.84)]


def test_a_fade_and_its_black_belong_to_the_shot_before_and_black_at_the_start_to_the_first(make_video) -> None:
    pictures = [np.zeros((48, 64, 3), np.uint8)] * 20 + list(scene(0, 30))
    last = pictures[-1]
    pictures += [(last * (1 - k / 20)).astype(np.uint8) for k in range(20)] + [np.zeros_like(last)] * 15
    following = list(scene(1, 50))
    pictures += [(picture * min(1, k / 20)).astype(np.uint8) for k, picture in enumerate(following)]
    found = times(shots(make_video(frames=pictures)))
    assert len(found) == 2
    assert found[0][0] == 0
    assert 3.4 <= found[1][0] <= 3.6  # black from 70 to 85, frames at 25 a second


def test_long_shots_are_divided_but_not_just_before_they_end(make_video) -> None:
    path = make_video(frames=scenes(105, 50))
    assert times(shots(path, max_seconds=2)) == [(0, 2), (2, 4.2), (4.2, 6.2)]
    assert times(shots(path, max_seconds=1.8)) == [(0, 1.8), (1.8, 3.6), (3.6, 4.2), (4.2, 6.2)]


def test_a_fixed_window_does_not_drift(make_video) -> None:
    path = make_video(frames=list(scene(0, 200)), frame_rate=Fraction(30000, 1001))
    found = shots(path, detector="window", window_seconds=1)
    starts = [start for start, _ in times(found)]
    assert starts == [0, 1.001, 2.002, 3.003, 4.004, 5.005, 6.006]  # the first frames at or after each second
    assert all(a[1] == b[0] for a, b in zip(times(found), times(found)[1:], strict=False))


def test_times_count_from_when_a_player_begins_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("libx264", rate=25), container.add_stream("pcm_s16le", rate=8000)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        quiet = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.int16), format="s16", layout="mono")
        quiet.rate, quiet.pts = 8000, 0
        container.mux(sound.encode(quiet))
        for k, picture in enumerate(scenes(25, 25)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = k + 20
            container.mux(video.encode(frame))
        container.mux([*video.encode(), *sound.encode()])
    assert times(shots(path)) == [(0.8, 1.8), (1.8, 2.8)]


@pytest.mark.slow
def test_real_files(stap_data: Path) -> None:
    folder = stap_data / "videos"
    assert [start for start, _ in times(list(Shots(folder / "testvideo.mp4", (EIGHT,))))] == [
        0,
        1.001,
        6.006,
        7.241,
        13.146,
        23.056,
    ]
    assert [start for start, _ in times(shots(folder / "fades.mp4"))] == [0, 3.6, 6.92]
    assert times(shots(folder / "test_non_zero_start.mp4")) == [(0, 0.4)]


@pytest.mark.slow
def test_a_hundred_thousand_shots_need_no_more_memory_or_time_each() -> None:
    class EveryTenth:
        behind = 0

        def changes(self, index: int, seconds: float, thumbnail: np.ndarray) -> list[int]:
            return [index] if index % 10 == 0 else []

        def rest(self) -> list[int]:
            return []

    cutter, pictures = ShotCutter(EveryTenth(), ShotRules()), np.random.default_rng(0).integers(0, 255, (97, 1, 1, 3), np.uint8)
    begun = 1
    for index in range(1_000_000 // 10):
        begun += sum(cutter.read(index / 10, pictures[index // 10 % 97]))
    assert begun + sum(cutter.finish(10_000.0)) == 10_000
    assert len(cutter._waiting) == 0


def test_what_is_no_video_or_no_detector_is_an_error(make_video, tmp_path: Path, monkeypatch) -> None:
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux([*stream.encode(frame), *stream.encode()])
    with pytest.raises(VideoError, match="there are no moving pictures in this file"):
        shots(sound)
    assert error_of(ConfigError, shots, make_video(), detector="cuts") == (
        "shot detector 'cuts': expected one of adaptive, content, hash, histogram, threshold, transnetv2, window."
    )
    assert error_of(ConfigError, ShotRules, min_seconds=2, max_seconds=3) == (
        "shots of at least 2 and at most 3 seconds: expected a longest that is twice the shortest or more. Change --min-shot or --max-shot."
    )


def test_a_package_that_is_missing_is_named(make_video, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    assert error_of(MissingDependencyError, shots, make_video()) == (
        "finding shots needs the package scenedetect-headless, which is not installed. Install it with: pip install 'stap[programmes]'"
    )


def test_each_shot_has_a_name_of_its_own() -> None:
    """Captions drawn at random depend on it."""
    clips = [SampledShot(Shot(1, start, start + 2), ()).as_clip(Path("a/film.mp4")) for start in (0.0, 12.5)]
    assert [clip.path for clip in clips] == [Path("a/film.mp4#t=0.0"), Path("a/film.mp4#t=12.5")]
