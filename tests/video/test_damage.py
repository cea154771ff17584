"""Files that are damaged, cut short, or no videos at all: what is taken, and what is said."""

import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from stap.errors import VideoError
from stap.video import sample_frames

X264 = {"preset": "ultrafast", "g": "20", "bf": "0", "sc_threshold": "0"}
NO_VIDEO = (
    "this is not a video that FFmpeg can read, or its header or index is missing (a download cut short, or another kind of file). "
    "Check that it plays, or get it again."
)

FROM_OTHERS = "taken from the others, and those soon after the damage may be smeared."


def message(path: Path) -> str:
    with pytest.raises(VideoError) as error:
        sample_frames(path)
    return str(error.value)


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def spoil(path: Path, packets: slice) -> Path:
    """Overwrite the contents of these packets of the video stream with zeros."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][packets]
    data = bytearray(path.read_bytes())
    for position, size in places:
        data[position : position + size] = bytes(size)
    path.write_bytes(data)
    return path


@pytest.fixture
def noisy(numbered_frame):
    """100 numbered frames with noise, so that every one takes some bytes."""
    noise = np.random.default_rng(0).normal(0, 6, (32, 96, 3))
    return [np.clip(numbered_frame(k) + np.roll(noise, k), 0, 255).astype(np.uint8) for k in range(100)]


@pytest.mark.parametrize("strategy", ["decode", "seek", "auto"])
def test_damage_in_the_middle(make_video, noisy, number_shown, strategy):
    path = spoil(make_video(frames=noisy, options={**X264, "g": "1"}), slice(45, 50))
    frames = sample_frames(path, 20, strategy=strategy)
    # Wanted are 2, 7, 12 .. 97. In place of the spoilt 47, the last frame before it is shown.
    expected = [44 if number == 47 else number for number in range(2, 100, 5)]
    assert [number_shown(rgb) for rgb in frames.rgb_uint8] == expected
    assert frames.times_seconds.tolist() == [number / 25 for number in expected]
    assert frames.warnings == (f"{path}: 5 of 100 frames could not be decoded; the samples (20) are {FROM_OTHERS}",)


def test_few_frames_left_are_all_taken(make_video, noisy, number_shown):
    path = spoil(make_video(frames=noisy, options={**X264, "g": "1"}), slice(3, 98))
    frames = sample_frames(path, 20)
    assert [number_shown(rgb) for rgb in frames.rgb_uint8] == [0, 1, 2, 98, 99]
    assert frames.duration_seconds == 4
    assert frames.warnings == (f"{path}: 95 of 100 frames could not be decoded; the samples (5) are {FROM_OTHERS}",)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.avi"])
def test_both_strategies_agree_on_a_damaged_file(make_video, noisy, name):
    path = spoil(make_video(name, frames=noisy, options={**X264, "bf": "2"}), slice(45, 50))
    decoded, sought = (sample_frames(path, 20, strategy=strategy) for strategy in ("decode", "seek"))
    assert np.array_equal(decoded.rgb_uint8, sought.rgb_uint8)
    assert np.array_equal(decoded.times_seconds, sought.times_seconds)
    assert len(decoded.warnings) >= 1


def test_damage_that_a_jump_passes_by_is_not_met(make_video, noisy, number_shown):
    path = spoil(make_video(frames=noisy, options=X264), slice(25, 30))
    frames = sample_frames(path, 1, strategy="seek")
    assert [number_shown(rgb) for rgb in frames.rgb_uint8] == [50]
    assert frames.warnings == ()


def test_damage_that_is_met_between_the_samples_is_told(make_video, noisy, number_shown):
    path = spoil(make_video(frames=noisy, options={**X264, "g": "1"}), slice(49, 50))
    frames = sample_frames(path, 20, strategy="decode")
    assert [number_shown(rgb) for rgb in frames.rgb_uint8] == list(range(2, 100, 5))
    assert frames.warnings == (f"{path}: 1 of 100 frames could not be decoded; the samples (20) are {FROM_OTHERS}",)


def test_a_spoilt_beginning(make_video, noisy, number_shown):
    path = spoil(make_video(frames=noisy, options=X264), slice(0, 20))
    frames = sample_frames(path, 10)
    assert [number_shown(rgb) for rgb in frames.rgb_uint8] == [20, 25, 35, 45, 55, 65, 75, 85, 95]
    assert frames.times_seconds[0] == 0.8  # still counted from the start of the video
    assert frames.warnings == (f"{path}: 20 of 100 frames could not be decoded; the samples (9) are {FROM_OTHERS}",)


def test_nothing_but_damage(make_video, noisy):
    path = spoil(make_video(frames=noisy, options=X264), slice(None))
    assert message(path) == (
        f"{path}: no frame could be decoded (codec 'h264'). Re-encode it, for example: ffmpeg -i clip.mp4 out.mp4"
    )


def test_a_file_cut_short_whose_index_comes_first(make_video, noisy, number_shown):
    path = make_video(frames=noisy, options=X264, container_options={"movflags": "faststart"})
    frames = sample_frames(cut(path, 0.6), 10)
    numbers = [number_shown(rgb) for rgb in frames.rgb_uint8]
    assert len(numbers) == 10
    assert frames.duration_seconds < 4
    assert max(numbers) < 25 * frames.duration_seconds
    there = round(25 * frames.duration_seconds)
    assert frames.warnings[0] == (
        f"{path}: only {there} of the 100 frames that its header announces are in the file; the samples are taken from those."
    )


def test_a_file_cut_short_whose_header_counts_seconds(make_video, noisy, number_shown):
    path = cut(make_video("clip.mkv", frames=noisy, options=X264), 0.6)
    frames = sample_frames(path, 10)
    assert len(frames.times_seconds) == 10
    assert frames.warnings == (
        f"{path}: its pictures end after {frames.duration_seconds:.1f} of the 4.0 seconds that its header announces; "
        "the samples are taken from those.",
    )


def test_a_file_cut_short_before_its_index(make_video, noisy):
    path = cut(make_video(frames=noisy, options=X264), 0.6)
    assert message(path) == f"{path}: {NO_VIDEO}"


@pytest.mark.parametrize(
    ("lost", "told"), [((40, 41, 42), "3 frames missing in 1 place"), ((40,), "1 frame missing in 1 place")]
)
def test_frames_lost_in_silence_are_betrayed_by_a_constant_frame_rate(make_video, lost, told):
    times = [40 * k for k in range(80) if k not in lost]
    path = make_video("clip.mkv", frames=len(times), times=times)
    assert sample_frames(path, 5).warnings == (
        f"{path}: about {told} (or the picture stands still there); the samples are taken from the others.",
    )


@pytest.mark.parametrize("content", [b"It is a text.\n" * 500, b"\0" * 4000, b"RIFF\0\0\0\0AVI LIST"])
def test_a_file_that_is_no_video(tmp_path, content):
    path = tmp_path / "text.mp4"
    path.write_bytes(content)
    assert message(path) == f"{path}: {NO_VIDEO}"


def test_a_text_file_is_no_animated_screen(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("It is a text.\n" * 500)
    assert message(path) == f"{path}: {NO_VIDEO}"


def test_an_empty_file(tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    assert message(path) == f"{path}: the file is empty (0 bytes), and a video was expected. Copy or download it again."


def test_no_file(tmp_path):
    path = tmp_path / "none.mp4"
    assert message(path) == f"{path}: there is no such file, and a video was expected. '{tmp_path}' exists; check the name."


def test_a_folder(tmp_path):
    assert message(tmp_path) == f"{tmp_path}: this is a folder, and one video file was expected. Give a file inside it."


def test_a_device():
    assert message(Path("/dev/null")) == (
        "/dev/null: this is a device or a pipe, and a video file was expected. Save the video to a file first."
    )


@pytest.mark.parametrize("with_cover", [False, True])
def test_audio_only(tmp_path, with_cover):
    path = tmp_path / "audio.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        audio = container.add_stream("aac", rate=16000)
        if with_cover:
            cover = container.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
        if with_cover:
            container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
            container.mux(cover.encode(None))
    kinds = "audio, video" if with_cover else "audio"
    assert message(path) == (
        f"{path}: there are no moving pictures in this file (it holds: {kinds}), and a video was expected. "
        "Give a file with a picture stream."
    )


def test_nothing_is_printed(make_video, noisy):
    spoilt = spoil(make_video(frames=noisy, options=X264), slice(45, 50))
    short = cut(make_video("clip.mkv", frames=noisy, options=X264), 0.5)
    code = "import sys\nfrom stap.video import sample_frames\nfor path in sys.argv[1:]: sample_frames(path, 20)"
    done = subprocess.run([sys.executable, "-c", code, spoilt, short], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_animated_webp_is_refused_with_advice_that_works(stap_data, tmp_path, monkeypatch):
    path = Path(shutil.copy(stap_data / "field/captions/a.webp", tmp_path))
    start, _, program = message(path).partition(': python -c "')
    assert start.endswith("Animated WebP is decoded by Pillow")
    monkeypatch.chdir(tmp_path)
    exec(program.removesuffix('"'))
    assert len(sample_frames(tmp_path / "out.gif", 3).times_seconds) == 3
