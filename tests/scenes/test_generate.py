import hashlib
import json
import os
import subprocess
import sys

import pytest

from raising import error_of
from stap.corpora.loading import load_corpus
from stap.errors import CorpusError, VideoError
from stap.files import folder_lock
from stap.files.locks import LOCK_FILE
from stap.files.writers import start_of, temporary_beside
from stap.recipes.settings import CorpusSettings
from stap.scenes import SceneDials, write_scenes
from stap.video import sample_frames

SMALL = SceneDials(pixels=48, seconds=1)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A small corpus, and what the progress reports said."""
    out, calls = tmp_path_factory.mktemp("scenes") / "corpus", []
    corpus = write_scenes(out, videos=12, seed=3, dials=SMALL, workers=1, on_progress=lambda *call: calls.append(call))
    return out, corpus, calls


def hashes(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_corpus_is_written_in_the_layout_of_msrvtt(written):
    out, _, _ = written
    videos = [*(f"TrainValVideo/video{n}.mp4" for n in range(10)), "TestVideo/video10.mp4", "TestVideo/video11.mp4"]
    assert set(hashes(out)) == {*videos, "facts.json", "scenes.json", "videodatainfo.json"}
    info = json.loads((out / "videodatainfo.json").read_text())
    assert set(info) == {"info", "videos", "sentences"}
    assert [video["split"] for video in info["videos"]] == ["train"] * 9 + ["validate"] + ["test"] * 2
    assert [video["video_id"] for video in info["videos"]] == [f"video{n}" for n in range(12)]
    assert [sentence["sen_id"] for sentence in info["sentences"]] == list(range(60))
    assert set(info["videos"][0]) == {"video_id", "id", "split", "category", "start time", "end time"}


def test_the_corpus_is_read_back_with_captions_and_facts(written):
    out, corpus, _ = written
    assert corpus == load_corpus(CorpusSettings(kind="msrvtt", root=out))
    assert corpus.name == "scenes"
    assert [len(corpus.split(name)) for name in ("train", "validation", "test")] == [9, 1, 2]
    assert all(len(set(clip.captions)) == 5 for clip in corpus.clips)
    for clip in corpus.clips:
        assert set(clip.facts) == {"kind", "objects", "events", "brief", "small", "distractors", "held_out"}
        assert clip.facts["held_out"] == (clip.split == "test")


def test_the_videos_can_be_sampled(written):
    _, corpus, _ = written
    frames = sample_frames(corpus.clips[0].path, 5)
    assert frames.rgb_uint8.shape == (5, 48, 48, 3)
    assert frames.warnings == ()
    assert 0.9 <= frames.duration_seconds <= 1.1


def test_progress_counts_every_video(written):
    _, _, calls = written
    assert calls == [(n + 1, 12, f"video{n}") for n in range(12)]


def test_the_same_seed_gives_the_same_bytes(written, tmp_path):
    out, _, _ = written
    write_scenes(tmp_path, videos=12, seed=3, dials=SMALL, workers=1)
    assert hashes(tmp_path) == hashes(out)


def test_another_seed_gives_another_corpus(written, tmp_path):
    out, _, _ = written
    write_scenes(tmp_path, videos=12, seed=4, dials=SMALL, workers=1)
    same = {name for name, value in hashes(out).items() if hashes(tmp_path)[name] == value}
    assert same == set()


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(tmp_path):
    for workers in (1, 2):
        write_scenes(tmp_path / str(workers), videos=20, seed=3, dials=SMALL, workers=workers)
    assert hashes(tmp_path / "1") == hashes(tmp_path / "2")


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_what_to_do(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from stap.scenes import write_scenes\nwrite_scenes('out', videos=20, seed=1)\n")
    answer = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 1
    sentence = (
        "stap.errors.CorpusError: out: a process that wrote videos ended unexpectedly. Run the same again to continue, or with "
        "one worker. (A script must call this under `if __name__ == '__main__':`.)"
    )
    assert sentence in answer.stderr.splitlines()  # Python may print a warning about the killed pool after it


def test_an_interrupted_corpus_is_finished(written, tmp_path):
    out, _, _ = written

    def interrupt(done, total, video_id):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scenes(tmp_path, videos=12, seed=3, dials=SMALL, workers=1, on_progress=interrupt)
    assert not (tmp_path / "videodatainfo.json").exists()
    kept = (tmp_path / "TrainValVideo" / "video2.mp4").stat().st_mtime_ns
    calls = []
    write_scenes(tmp_path, videos=12, seed=3, dials=SMALL, workers=1, on_progress=lambda *call: calls.append(call))
    assert calls[0] == (6, 12, "video5")
    assert (tmp_path / "TrainValVideo" / "video2.mp4").stat().st_mtime_ns == kept
    assert hashes(tmp_path) == hashes(out)


def test_writing_a_finished_corpus_again_only_reads_it(written):
    out, corpus, _ = written
    calls = []
    assert write_scenes(out, videos=12, seed=3, dials=SMALL, on_progress=lambda *call: calls.append(call)) == corpus
    assert calls == []


def test_other_scenes_in_the_folder_are_never_overwritten(written):
    out, _, _ = written
    before = hashes(out)
    assert error_of(CorpusError, write_scenes, out, videos=13, seed=3, dials=SceneDials(pixels=64, seconds=1)) == (
        f"{out}: holds other scenes (pixels: 48 there, 64 wanted; videos: 12 there, 13 wanted). "
        "Choose another folder or empty it."
    )
    assert hashes(out) == before


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    assert error_of(CorpusError, write_scenes, tmp_path, videos=3, seed=1) == (
        f"{tmp_path}: is there already and is not a folder of generated scenes. Choose a new or empty folder."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(CorpusError, match=r"thesis.txt: is there already and is not a folder of generated scenes"):
        write_scenes(tmp_path / "thesis.txt", videos=3, seed=1)


def test_a_damaged_settings_file_is_reported(tmp_path):
    (tmp_path / "scenes.json").write_text("{")
    with pytest.raises(CorpusError, match=r"holds other scenes \(scenes.json cannot be read\)"):
        write_scenes(tmp_path, videos=3, seed=1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"videos": 2}, "videos is 2. Expected at least 3."),
        ({"seed": -1}, "seed is -1. Expected at least 0."),
        ({"workers": 0}, "workers is 0. Expected at least 1."),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_written(tmp_path, wrong, message):
    assert error_of(CorpusError, write_scenes, tmp_path / "out", **{"videos": 3, "seed": 1, "workers": 1, **wrong}) == message
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    assert error_of(CorpusError, write_scenes, tmp_path / "file" / "out", videos=3, seed=1) == (
        f"{tmp_path / 'file' / 'out'}: cannot be written (Not a directory). Name a folder where you may write."
    )


def test_a_run_killed_at_its_very_start_is_finished_by_the_same_call(tmp_path):
    """Folders, a lock and a temporary file are there, and no settings yet."""
    (tmp_path / "TestVideo").mkdir()
    (tmp_path / LOCK_FILE).write_text("")
    left = temporary_beside(tmp_path / "scenes.json")
    (tmp_path / left.name.replace(f"-{start_of(os.getpid())}-", "-1-")).write_text("{")
    assert len(write_scenes(tmp_path, videos=3, seed=1, dials=SMALL).clips) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "TestVideo", "TrainValVideo", "facts.json", "scenes.json", "videodatainfo.json",
    ]  # fmt: skip


def test_two_runs_in_one_folder(tmp_path):
    with folder_lock(tmp_path):
        message = error_of(CorpusError, write_scenes, tmp_path, videos=3, seed=1, dials=SMALL)
    assert f"(process {os.getpid()} on " in message
    assert message.endswith(" is writing in this folder. Wait until it has ended, or name another folder.")


def test_a_full_disk_in_the_middle_leaves_no_half_corpus(tmp_path, monkeypatch):
    from stap.video import writing

    def full(*args, **options):
        raise VideoError("clip: the video could not be written (No space left on device).")

    monkeypatch.setattr(writing, "write_video", full)
    with pytest.raises(VideoError, match="No space left"):
        write_scenes(tmp_path, videos=3, seed=1, dials=SMALL)
    assert not (tmp_path / "videodatainfo.json").exists()
    monkeypatch.undo()
    assert len(write_scenes(tmp_path, videos=3, seed=1, dials=SMALL).clips) == 3
