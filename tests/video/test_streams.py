"""Which stream of a file is read, how its pictures are turned, and what happens when PyAV raises what nobody expects."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from raising import error_of
from stap.errors import VideoError
from stap.video import sample_frames
from stap.video.clips import FrameStream
from stap.video.source import Source

WHITE = np.full((24, 32, 3), 255, np.uint8)


def write_streams(path: Path, *streams: tuple[list[np.ndarray], Disposition]) -> Path:
    """A file of several streams of pictures, each with its disposition."""
    with av.open(str(path), "w") as container:
        outputs = []
        for pictures, disposition in streams:
            stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "bf": "0", "g": "10"})
            stream.height, stream.width = pictures[0].shape[:2]
            stream.disposition = disposition
            outputs.append((stream, pictures))
        for k in range(max(len(pictures) for pictures, _ in streams)):
            for stream, pictures in outputs:
                if k < len(pictures):
                    frame = av.VideoFrame.from_ndarray(pictures[k], format="rgb24")
                    frame.pts, frame.time_base = k, Fraction(1, 25)
                    container.mux(stream.encode(frame))
        for stream, _ in outputs:
            container.mux(stream.encode(None))
    return path


@pytest.fixture
def film(numbered_frame):
    return [numbered_frame(k) for k in range(40)]


NONE, DEFAULT = Disposition(0), Disposition.default


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4"])
@pytest.mark.parametrize(
    ("others", "of_the_film"),
    [
        ([([WHITE] * 40, NONE)], DEFAULT),  # the default one, though it is not the first
        ([([WHITE] * 40, DEFAULT)], DEFAULT),  # the larger one of two alike
        ([([np.full((64, 64, 3), 255, np.uint8)], DEFAULT)], NONE),  # a still that is marked as default
        ([([WHITE], NONE), ([WHITE] * 40, NONE)], NONE),
    ],
    ids=["default", "size", "still", "three"],
)
def test_the_film_is_read(tmp_path, film, number_shown, name, others, of_the_film):
    path = write_streams(tmp_path / name, *others, (film, of_the_film))
    frames = sample_frames(path, 4)
    assert [number_shown(rgb) for rgb in frames.rgb_uint8] == [5, 15, 25, 35]
    assert frames.warnings == ()
    assert [number_shown(picture) for picture in FrameStream(path, 25)] == list(range(40))


def test_a_default_stream_is_read_though_another_is_larger(tmp_path, film, number_shown):
    path = write_streams(tmp_path / "clip.mkv", ([np.full((64, 128, 3), 255, np.uint8)] * 40, NONE), (film, DEFAULT))
    assert [number_shown(rgb) for rgb in sample_frames(path, 4).rgb_uint8] == [5, 15, 25, 35]


def test_two_stills_are_a_single_frame(tmp_path):
    path = write_streams(tmp_path / "clip.mkv", ([WHITE], NONE), ([WHITE], NONE))
    assert len(sample_frames(path, 4).times_seconds) == 1


# An access unit delimiter's neighbour of type 6: display orientation, 90 degrees counterclockwise (H.264, D.1.26).
TURNED = bytes.fromhex("06 2f 03 08 00 14 80")


@pytest.mark.parametrize("strategy", ["decode", "seek"])
def test_pictures_are_turned_as_the_first_frame_says(make_video, tmp_path, strategy):
    """H.264 may signal the rotation in an SEI message of the first picture only."""
    plain = make_video("plain.mkv", 40, options={"preset": "ultrafast", "g": "10", "bf": "0"})
    turned = tmp_path / "turned.mkv"
    with av.open(str(plain)) as source, av.open(str(turned), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for k, packet in enumerate(source.demux(video=0)):
            if packet.size:
                told = av.Packet((len(TURNED).to_bytes(4) + TURNED if k == 0 else b"") + bytes(packet))
                told.pts, told.dts, told.duration = packet.pts, packet.dts, packet.duration
                told.time_base, told.is_keyframe, told.stream = packet.time_base, packet.is_keyframe, stream
                target.mux(told)
    expected = sample_frames(plain, 5)
    frames = sample_frames(turned, 5, strategy=strategy)
    assert frames.rgb_uint8.shape == (5, 96, 32, 3)
    assert np.array_equal(frames.rgb_uint8, np.rot90(expected.rgb_uint8, 1, axes=(1, 2)))
    assert next(iter(FrameStream(turned, 5))).shape == (96, 32, 3)


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (
            UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
            "the file could not be read as a video ('utf-8' codec can't decode byte 0xff in position 0: invalid start byte). "
            "Check that it plays, or get it again.",
        ),
        (OverflowError(), "the file could not be read as a video (OverflowError). Check that it plays, or get it again."),
        (
            MemoryError(),
            "its pictures do not fit into memory. Make them smaller, for example: ffmpeg -i clip.mp4 -vf scale=-2:720 out.mp4",
        ),
    ],
)
def test_whatever_is_raised_is_an_error_of_this_file(make_video, monkeypatch, problem, sentence):
    path = make_video()

    def failing(self, packet):
        raise problem

    monkeypatch.setattr(Source, "_decode", failing)
    assert error_of(VideoError, sample_frames, path) == f"{path}: {sentence}"
    assert error_of(VideoError, list, FrameStream(path, 25)) == f"{path}: {sentence}"


def test_a_codec_that_nobody_knows(make_video):
    path = make_video("clip.avi", codec="mpeg4")
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"\xff\xfe\xfd\xfc"))
    assert error_of(VideoError, sample_frames, path) == (
        f"{path}: this build of FFmpeg has no decoder for its pictures. Re-encode it, for example: ffmpeg -i clip.avi out.mp4"
    )


@pytest.mark.parametrize("name", ["two.mkv", "two.mp4", "still_first.mkv"])
def test_streams_of_the_field(stap_data, name):
    frames = sample_frames(stap_data / "field/streams" / name, 10)
    greys = frames.rgb_uint8.mean(axis=(1, 2, 3))
    assert np.abs(greys - (20 + 2 * np.arange(5, 100, 10))).max() < 3
    assert frames.warnings == ()
