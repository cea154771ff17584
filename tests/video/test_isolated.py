"""Decoding in a process that may die."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from raising import error_of
from stap.commands.shared.limits import LimitOptions
from stap.errors import VideoError
from stap.recipes.settings import VideoLimits
from stap.video import isolated, sample_frames
from stap.video.clips import FrameStream

ISOLATED = VideoLimits(isolate=True)


@pytest.fixture(autouse=True, scope="module")
def no_process_stays():
    yield
    isolated.end_idle()


@pytest.fixture(autouse=True)
def no_process_of_other_tests() -> None:
    isolated.end_idle()


def idle_process() -> int:
    """The only process that waits for a file."""
    [worker] = isolated._idle
    return worker._process.pid


def test_frames_are_the_same(make_video):
    path = make_video(frames=40)
    here, there = sample_frames(path, 5, short_side=16), sample_frames(path, 5, short_side=16, limits=ISOLATED)
    assert np.array_equal(here.rgb_uint8, there.rgb_uint8)
    assert here.times_seconds.tolist() == there.times_seconds.tolist()
    assert (here.duration_seconds, here.warnings) == (there.duration_seconds, there.warnings)
    first = idle_process()
    sample_frames(path, 1, limits=ISOLATED)
    assert idle_process() == first


def test_a_stream_is_the_same_and_can_be_read_again(make_video):
    path = make_video(frames=40)
    here, there = FrameStream(path, 10), FrameStream(path, 10, limits=ISOLATED)
    assert (len(here), here.duration_seconds) == (len(there), there.duration_seconds)
    assert here.times_seconds.tolist() == there.times_seconds.tolist()
    for _ in range(2):
        assert all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))


def test_warnings_and_errors_come_through(make_video, tmp_path):
    path = make_video(frames=1)
    assert sample_frames(path, limits=ISOLATED).warnings == sample_frames(path).warnings
    for broken in (tmp_path / "none.mp4", tmp_path / "text.mp4"):
        (tmp_path / "text.mp4").write_text("no video")
        assert error_of(VideoError, sample_frames, broken, limits=ISOLATED) == error_of(VideoError, sample_frames, broken)
    small = ISOLATED.model_copy(update={"pixels": 100})
    assert "more than 100 pixels" in error_of(VideoError, FrameStream, path, 5, limits=small)


def test_names_relative_paths_and_the_current_folder(make_video, tmp_path, monkeypatch):
    path = make_video(os.fsdecode(b"a \xff name.mp4"))
    (tmp_path / "json.py").write_text("raise SystemExit('the current folder is no place for modules')")
    isolated.end_idle()
    monkeypatch.chdir(tmp_path)
    assert len(sample_frames(Path(path.name), 3, limits=ISOLATED).times_seconds) == 3


def decoding_processes():
    """Those that this process started; tests that ran before may have left children of other kinds."""
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        if b"stap.video.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
            yield int(pid)


@pytest.mark.parametrize("stop", [signal.SIGSEGV, signal.SIGKILL])
@pytest.mark.slow
def test_a_process_that_dies_is_an_error_of_the_file_and_the_next_is_read(make_video, stop):
    path = make_video(frames=300)
    sample_frames(path, 1, limits=ISOLATED)
    stream = FrameStream(path, None, short_side=400, limits=ISOLATED)  # more pictures than a pipe holds
    assert stream._answers is not None
    pictures = iter(stream)
    next(pictures)
    [busy] = set(decoding_processes()) - {worker._process.pid for worker in isolated._idle}
    os.kill(busy, stop)
    assert error_of(VideoError, list, pictures) == (
        f"{path}: decoding it ended the process that did it ({stop.name}). The file is damaged or made to do harm. Get it again, or "
        "re-encode it, for example: ffmpeg -i clip.mp4 out.mp4"
    )
    assert len(sample_frames(path, 3, limits=ISOLATED).times_seconds) == 3


def test_a_process_that_does_not_answer_is_killed(make_video, monkeypatch):
    path = make_video()
    sample_frames(path, 1, limits=ISOLATED)
    stopped = idle_process()
    os.kill(stopped, signal.SIGSTOP)
    monkeypatch.setattr(isolated, "_GRACE_SECONDS", 0)
    assert error_of(VideoError, sample_frames, path, limits=VideoLimits(isolate=True, seconds=0.2)) == (
        f"{path}: reading it takes more than 0.2 seconds, which is the limit. If you trust the file, raise the limit 'seconds'."
    )
    with pytest.raises(ProcessLookupError):
        os.kill(stopped, 0)


@pytest.mark.slow
def test_a_stream_that_is_left_ends_its_process(make_video):
    path = make_video(frames=300)
    pictures = iter(FrameStream(path, None, short_side=400, limits=ISOLATED))
    next(pictures)
    before = list(isolated._idle)
    pictures.close()
    assert isolated._idle == before
    assert len(sample_frames(path, 3, limits=ISOLATED).times_seconds) == 3


ORPHAN = """
import os, sys
from stap.recipes.settings import VideoLimits
from stap.video import isolated
from stap.video.clips import FrameStream
pictures = iter(FrameStream(sys.argv[1], None, short_side=400, limits=VideoLimits(isolate=True)))
next(pictures)
print(open(f"/proc/self/task/{os.getpid()}/children").read(), flush=True)
os._exit(0)
"""


@pytest.mark.slow
def test_the_process_ends_with_its_parent(make_video):
    path = make_video(frames=300)
    printed = subprocess.run([sys.executable, "-c", ORPHAN, path], capture_output=True, text=True, check=True).stdout
    for _ in range(50):
        if not Path(f"/proc/{int(printed)}").exists() or "Z" in Path(f"/proc/{int(printed)}/stat").read_text().split()[2]:
            return
        time.sleep(0.1)
    pytest.fail("it lives")


def test_folders_are_isolated_and_files_are_not(make_video, tmp_path):
    path = make_video()
    assert [LimitOptions().limits([given]).isolate for given in (path, tmp_path)] == [False, True]
    assert [LimitOptions(isolate=choice).limits([tmp_path]).isolate for choice in (False, True)] == [False, True]
