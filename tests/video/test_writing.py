from fractions import Fraction

import av
import numpy as np
import pytest

from stap.errors import VideoError
from stap.video import write_video


@pytest.fixture
def frames(numbered_frame):
    return [numbered_frame(k) for k in range(30)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov"])
def test_what_is_written_can_be_read(tmp_path, frames, number_shown, suffix):
    path = tmp_path / f"clip{suffix}"
    write_video(path, iter(frames), Fraction(30000, 1001))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == Fraction(30000, 1001)
        assert (stream.codec_context.name, stream.format.name) == ("h264", "yuv420p")
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert [number_shown(picture) for picture in pictures] == list(range(30))
    assert np.abs(np.stack(pictures).astype(int) - np.stack(frames)).mean() < 3


def test_colours_come_back_whatever_the_reader_assumes(tmp_path):
    path = tmp_path / "red.mp4"
    write_video(path, [np.full((32, 32, 3), (200, 30, 60), dtype=np.uint8)] * 3)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_range) == (6, 1)
    assert np.abs(frame.to_ndarray(format="rgb24").astype(int) - (200, 30, 60)).max() <= 5


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_same_frames_give_the_same_bytes(tmp_path, frames, suffix):
    for name in ("one", "two"):
        write_video(tmp_path / f"{name}{suffix}", frames)
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_options_and_codec_are_the_callers(tmp_path, frames):
    write_video(tmp_path / "small.mp4", frames, options={"preset": "ultrafast", "crf": "40"})
    write_video(tmp_path / "large.mp4", frames, options={"preset": "ultrafast", "crf": "5"})
    assert (tmp_path / "small.mp4").stat().st_size < (tmp_path / "large.mp4").stat().st_size
    write_video(tmp_path / "other.mp4", frames, codec="mpeg4")
    with av.open(str(tmp_path / "other.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"


def failing(frames):
    yield from frames[:5]
    raise RuntimeError("out of frames")


def test_a_failure_leaves_the_folder_as_it_was(tmp_path, frames):
    path = tmp_path / "clip.mp4"
    write_video(path, frames)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="out of frames"):
        write_video(path, failing(frames))
    with pytest.raises(VideoError):
        write_video(path, [frames[0], frames[0][:16]])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def refusal(path, frames, **settings):
    with pytest.raises(VideoError) as error:
        write_video(path, frames, **settings)
    assert not path.exists()
    return str(error.value)


def test_bad_frames_are_refused(tmp_path):
    path = tmp_path / "x.mp4"
    assert refusal(path, []) == f"{path}: no frame to write, and at least one was expected."
    assert refusal(path, [np.zeros((32, 33, 3), np.uint8)]) == (
        f"{path}: frames of 33x32 pixels, and an even width and height were expected. Crop or pad the frames by one pixel."
    )
    assert refusal(path, [np.zeros((32, 32, 3), np.float32)]) == (
        f"{path}: a frame of shape (32, 32, 3) float32, and (32, 32, 3) uint8 was expected."
    )
    assert refusal(path, [np.zeros((32, 32), np.uint8)]) == (
        f"{path}: a frame of shape (32, 32) uint8, and (height, width, 3) uint8 was expected."
    )
    assert refusal(path, [np.zeros((32, 32, 3), np.uint8), np.zeros((16, 32, 3), np.uint8)]) == (
        f"{path}: a frame of shape (16, 32, 3) uint8, and (32, 32, 3) uint8 was expected."
    )


@pytest.mark.parametrize(
    ("name", "codec", "reason"),
    [
        ("x.xyz", "libx264", "Could not determine output format"),
        ("x.mp4", "no-such-encoder", "no-such-encoder"),
    ],
)
def test_a_file_that_cannot_be_written(tmp_path, frames, name, codec, reason):
    path = tmp_path / name
    assert refusal(path, frames, codec=codec) == (
        f"{path}: the video could not be written with the encoder '{codec}' ({reason}). "
        "Check the folder, its free space, the suffix and the encoder."
    )
