"""`stap caption` of long videos and of folders, with a captioner that says what colour it sees."""

import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from films import scene, scenes
from stap.captioning.video_caption import VideoCaption
from stap.cli import main
from stap.commands.shared.caption_progress import progress_line
from stap.errors import VideoError
from stap.files import sha256_of_file
from stap.programmes import folders
from stap.programmes.caption_files import CaptionPlan, Progress, caption_files
from stap.programmes.live import LiveSource, _in_time, caption_live
from stap.programmes.shots import ShotRules
from stap.video import Frames, sample_frames
from stap.video.sampling import Sampling


class ColourCaptioner:
    """Says the mean colour of the first frame, in twelfths; two words attend to the first and the last frame."""

    samplings = (Sampling(4, 24),)

    def __init__(self) -> None:
        self.fingerprint = {"model": "colour"}
        self.batches: list[int] = []

    def said(self, path: Path, frames: Frames) -> VideoCaption:
        words = ("scene", "-".join(str(int(part) // 12) for part in frames.rgb_uint8[0].mean(axis=(0, 1))))
        attention = torch.zeros(2, len(frames))
        attention[0, 0] = attention[1, -1] = 1
        return VideoCaption(path, " ".join(words), -1.5, words, "grid", attention, torch.tensor(frames.times_seconds), None, ())

    def caption_frames(self, clips: Any, *, beam_width: int | None = None, draws: Any = None) -> list[VideoCaption]:
        self.batches.append(len(clips))
        return [self.said(clip.path, clip.frames[0]) for clip in clips]

    def caption_many(
        self, paths: Any, *, beam_width: int | None = None, draws: Any = None, on_error: Any
    ) -> Iterator[VideoCaption]:
        for path in paths:
            try:
                yield self.said(path, sample_frames(path, 4, short_side=24))
            except VideoError as error:
                on_error(path, error)


@pytest.fixture(autouse=True)
def captioner(monkeypatch: pytest.MonkeyPatch) -> ColourCaptioner:
    made = ColourCaptioner()
    monkeypatch.setattr("stap.teachers.loading.load", lambda *arguments, **options: made)
    return made


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stap.commands.shared.caption_options.FileOptions.jobs", 2, raising=False)

    def command(*arguments: object) -> SimpleNamespace:
        capsys.readouterr()
        status = main(["caption", *map(str, arguments), "--model", "colour", "--no-isolate"])
        out, err = capsys.readouterr()
        return SimpleNamespace(status=status, out=out, err=err)

    return command


def test_short_videos_are_one_clip_as_before(run, make_video) -> None:
    path = make_video(frames=scenes(30, 30))
    answer = run(path)
    assert re.fullmatch(rf"{re.escape(str(path))}\tscene \d+-\d+-\d+\n", answer.out)
    assert (answer.status, answer.err) == (0, "")
    [entry] = json.loads(run(path, "--format", "json").out)
    assert list(entry) == ["path", "caption", "score", "stream", "times_seconds", "words", "warnings"]


def test_shots_have_times_scores_and_what_they_attend_to(run, make_video) -> None:
    path = make_video(frames=scenes(30, 20, 50))
    answer = run(path, "--shots")
    assert [line.split("\t")[:3] for line in answer.out.splitlines()] == [
        [str(path), "00:00:00.000", "00:00:01.200"], [str(path), "00:00:01.200", "00:00:02.000"], [str(path), "00:00:02.000", "00:00:04.000"],
    ]  # fmt: skip
    assert answer.err == f"{path}: 4.0 seconds, captioned shot by shot (adaptive): 3 captions.\n"
    [entry] = json.loads(run(path, "--shots", "--format", "json").out)
    shot = entry["shots"][1]
    assert (shot["start_seconds"], shot["end_seconds"], shot["score"]) == (1.2, 2.0, -1.5)
    assert shot["confidence"] == round(float(np.exp(-1.5 / 3)), 4)
    assert [word["attends_seconds"] for word in shot["words"]] == [shot["frame_seconds"][0], shot["frame_seconds"][-1]]
    assert all(1.2 <= at < 2.0 for at in shot["frame_seconds"])
    assert entry["made_by"]["captioner"] == {"model": "colour"}
    assert entry["made_by"]["plan"]["shots"]["detector"] == "adaptive"


def test_vectors_are_in_the_json_where_they_are_asked_for(run, make_video, captioner: ColourCaptioner, monkeypatch) -> None:
    path, said = make_video(frames=scenes(30, 20)), captioner.said
    vector = torch.tensor([0.25, -1 / 3])
    monkeypatch.setattr(captioner, "said", lambda *given: replace(said(*given), embedding=vector))
    for way in ("--shots", "--whole"):
        [entry] = json.loads(run(path, way, "--format", "json", "--vectors").out)
        parts = entry["shots"] if way == "--shots" else [entry]
        assert [part["embedding"] for part in parts] == [[0.25, -0.333333]] * len(parts)
        assert entry["made_by"]["captioner"] == {"model": "colour"}
        assert "embedding" not in run(path, way, "--format", "json").out


def test_the_default_decides_by_length(run, make_video, monkeypatch) -> None:
    monkeypatch.setattr("stap.programmes.caption_files.WHOLE_SECONDS", 3.0)
    short, long = make_video("short.mp4", scenes(30, 30)), make_video("long.mp4", scenes(50, 50))
    answer = run(short, long)
    assert [len(line.split("\t")) for line in answer.out.splitlines()] == [2, 4, 4]
    assert answer.err == f"{long}: 4.0 seconds, captioned shot by shot (adaptive): 2 captions.\n"
    assert len(run(long, "--whole").out.splitlines()) == 1
    assert run(short, "--format", "srt").err == f"{short}: 2.4 seconds, captioned as one clip. --shots divides it.\n"


@pytest.mark.slow
def test_every_format_of_one_video(run, make_video, tmp_path: Path) -> None:
    path = make_video(frames=scenes(60, 60))
    starts = {"text": str(path), "json": "[\n  {", "jsonl": '{"path"', "csv": "path,start_seconds", "srt": "1\n00:00:00,000 --> ", "vtt": "WEBVTT\n", "ttml": "<?xml", "html": "<!doctype html>"}  # fmt: skip
    for name, start in starts.items():
        out = tmp_path / f"out.{name}"
        printed = run(path, "--shots", "--format", name)
        assert printed.status == 0
        assert printed.out.lstrip().startswith(start), name
        assert run(path, "--shots", "--format", name, "--out", out).status == 0
        assert run(path, "--shots", "--format", name, "--out", out).status == 0  # over its own output
        written = out.read_text()
        assert written == printed.out.replace(
            path.as_uri(), f"../{path.parent.name}/{path.name}" if path.parent != tmp_path else path.name
        )
    assert (tmp_path / "out.html").read_text().count('src="data:image/jpeg;base64,') == 2  # a key frame a shot
    assert "stap: --format srt is a file of one video, and 2 were given." in run(path, path, "--format", "srt").err


def test_same_captions_are_merged_and_unsure_ones_marked_or_left_out(run, make_video) -> None:
    path = make_video(frames=[*scene(0, 100), *scene(1, 50)])
    plain = run(path, "--shots", "--max-shot", 2).out.splitlines()
    joined = run(path, "--shots", "--max-shot", 2, "--merge").out.splitlines()
    assert (len(plain), len(joined)) == (3, 2)
    assert joined[0].split("\t")[1:3] == ["00:00:00.000", "00:00:04.000"]
    assert all(
        line.split("\t")[3].startswith("(?) scene") for line in run(path, "--shots", "--min-confidence", 0.9).out.splitlines()
    )
    left = run(path, "--shots", "--min-confidence", 0.9, "--below", "leave-out", "--format", "json")
    assert json.loads(left.out)[0]["shots"] == []


def test_an_audio_description_of_a_silent_film(run, make_video) -> None:
    path = make_video(frames=scenes(60, 20, 60))
    answer = run(path, "--shots", "--describe", "--format", "vtt", "--speaking-rate", 120)
    assert answer.out.startswith("WEBVTT\nKind: descriptions\n\n1\n00:00:00.000 --> 00:00:01.000\nscene ")
    assert answer.out.count(" --> ") == 2
    assert f"stap: warning: {path}: 1 shots have no pause that is long enough (seconds): 2.4-3.2." in answer.err


@pytest.fixture
def folder(make_video, tmp_path: Path) -> Path:
    for number, name in enumerate(("films/a.mp4", "films/deep/b.mkv", "films/deep/b.mp4", "films/c.webm")):
        make_video(name, list(scene(number, 20)), codec="libvpx" if name.endswith("webm") else "libx264")
    return tmp_path / "films"


def entries(manifest: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in manifest.read_text().splitlines()]


def test_a_folder_is_captioned_once_and_what_is_done_is_skipped_by_content(run, folder: Path, captioner, make_video) -> None:
    answer = run(folder, "--beside", "--format", "srt")
    assert answer.status == 0
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.srt")) == [
        "a.srt", "c.srt", "deep/b.mkv.srt", "deep/b.mp4.srt",
    ]  # fmt: skip
    manifest = folder / "captions-manifest.jsonl"
    assert answer.err.endswith(f"stap: 4 videos: 4 done. Manifest: {manifest}\n")
    assert all(list(one)[:5] == ["input", "status", "output", "reason", "seconds"] for one in entries(manifest))
    again = run(folder, "--beside", "--format", "srt")
    assert again.err == f"stap: 4 videos: 4 skipped. Manifest: {manifest}\n"
    # The same name with another content is done again; another name with the same content is not captioned again.
    (folder / "c.webm").replace(folder / "d.webm")
    make_video("films/a.mp4", list(scene(9, 25)))
    before = (folder / "a.srt").read_text()
    third = run(folder, "--beside", "--format", "srt")
    assert third.err.endswith("stap: 4 videos: 2 done, 2 skipped. Manifest: " + f"{manifest}\n")
    assert (folder / "a.srt").read_text() != before
    assert (folder / "d.srt").read_text() == (folder / "c.srt").read_text()
    assert [one["reason"] for one in entries(manifest) if one["input"].endswith("d.webm")] == [
        f"the same content as {folder / 'c.webm'}"
    ]
    captioner.fingerprint = {"model": "another"}
    assert "4 done" in run(folder, "--beside", "--format", "srt").err


def test_what_is_done_is_read_again_only_if_the_file_has_changed(run, folder: Path, monkeypatch) -> None:
    options = (folder, "--into", folder / "captions", "--format", "srt", "--exclude", "deep/*")
    assert "2 done" in run(*options).err
    read: list[Path] = []
    monkeypatch.setattr(folders, "sha256_of_file", lambda path: read.append(path) or sha256_of_file(path))
    assert "2 skipped" in run(*options).err
    assert {path.suffix for path in read} == {".srt"}
    os.utime(folder / "a.mp4")
    for _ in range(2):
        assert "2 skipped" in run(*options).err
    assert [path.name for path in read if path.suffix != ".srt"] == ["a.mp4"]


def test_a_video_that_is_named_twice_is_one_video(run, folder: Path, tmp_path: Path) -> None:
    answer = run(folder, folder / "deep", folder / "deep" / "b.mp4", "--into", tmp_path / "captions", "--format", "srt")
    assert answer.err.endswith(f"stap: 4 videos: 4 done. Manifest: {tmp_path / 'captions' / 'captions-manifest.jsonl'}\n")
    assert len(list((tmp_path / "captions").rglob("*.srt"))) == 4


def test_parts_have_manifests_of_their_own_and_know_each_other(run, folder: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "captions"
    options = (folder, "--into", mirror, "--format", "srt")
    parts = [run(*options, "--shard", f"{number}/3") for number in (1, 2, 3)]
    assert [answer.status for answer in parts] == [0, 0, 0]
    lines = {path.name: [one["output"] for one in entries(path)] for path in mirror.glob("*.jsonl")}
    assert lines.keys() <= {f"captions-manifest.{number}-of-3.jsonl" for number in (1, 2, 3)}
    made = sorted(output for outputs in lines.values() for output in outputs)
    assert made == sorted(map(str, mirror.rglob("*.srt")))
    assert len(made) == 4
    assert "4 videos: 4 skipped" in run(*options).err  # the whole, and another division of it
    assert " skipped. Manifest: " in run(*options, "--shard", "2/2").err
    assert "done" not in run(*options, "--shard", "1/2").err


def test_a_file_made_again_in_another_part_may_be_replaced_by_any(run, folder: Path, tmp_path: Path, captioner) -> None:
    """The manifest that is read last knows the older captions."""
    options = (folder, "--into", tmp_path / "captions", "--format", "jsonl")
    assert "4 done" in run(*options, "--shard", "1/1").err
    captioner.fingerprint = {"model": "another"}
    assert "4 done" in run(*options).err
    assert "4 skipped" in run(*options, "--shard", "1/1").err
    captioner.fingerprint = {"model": "a third"}
    assert "4 done" in run(*options, "--shard", "1/1").err


def test_parts_on_standard_output_are_the_whole(run, folder: Path, tmp_path: Path) -> None:
    lines = [line for number in (1, 2, 3) for line in run(folder, "--shard", f"{number}/3").out.splitlines()]
    assert sorted(lines) == sorted(run(folder).out.splitlines())
    missing = [run(folder, tmp_path / "no.mp4", "--shard", f"{number}/2") for number in (1, 2)]
    assert sorted(answer.status for answer in missing) == [0, 1]  # it is reported once
    assert run("--live", folder / "a.mp4", "--shard", "1/2").err == (
        "stap: --shard: expected video files or folders, whose parts these are. --live is one source.\n"
    )


def test_a_mirror_folder_filters_and_a_dry_run(run, folder: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "captions"
    options = ("--into", mirror, "--format", "vtt", "--include", "*.mp4", "--include", "*.webm", "--exclude", "deep/*")
    dry = run(folder, *options, "--dry-run")
    assert dry.out == f"caption\t{folder}/a.mp4\t{mirror}/a.vtt\ncaption\t{folder}/c.webm\t{mirror}/c.vtt\n"
    assert not mirror.exists()
    assert run(folder, *options).status == 0
    assert sorted(path.name for path in mirror.rglob("*")) == ["a.vtt", "c.vtt", "captions-manifest.jsonl"]
    assert (
        run(folder, *options, "--dry-run").out
        == f"skip\t{folder}/a.mp4\t{mirror}/a.vtt\nskip\t{folder}/c.webm\t{mirror}/c.vtt\n"
    )


def test_nothing_that_somebody_else_wrote_is_replaced(run, folder: Path) -> None:
    mine = folder / "a.srt"
    mine.write_text("1\n00:00:00,000 --> 00:00:01,000\nby hand\n")
    answer = run(folder, "--beside", "--format", "srt", "--exclude", "deep/*")
    assert answer.status == 1
    assert f"stap: {mine}: is there already, and is not as `stap caption` wrote it." in answer.err
    assert mine.read_text().endswith("by hand\n")
    (folder / "c.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\ncorrected\n")  # ours, changed by hand since
    assert "2 failed" in run(folder, "--beside", "--format", "srt", "--exclude", "deep/*").err


def test_a_bad_file_stops_no_other_and_a_cut_manifest_does_no_harm(run, folder: Path) -> None:
    (folder / "bad.mp4").write_bytes(b"no video")
    manifest = folder / "captions-manifest.jsonl"
    manifest.write_text('{"input": "x", "sta')
    answer = run(folder, "--beside", "--format", "jsonl")
    assert answer.status == 1
    assert answer.err.endswith("stap: 1 of 5 files could not be captioned; the reasons are above.\n")
    lines = manifest.read_text().splitlines()
    assert len(lines) == 6
    failed = [json.loads(line) for line in lines[1:] if '"failed"' in line]
    assert [one["input"] for one in failed] == [str(folder / "bad.mp4")]
    assert "this is not a video that FFmpeg can read" in failed[0]["reason"]


def test_an_unwritable_mirror_folder_and_options_that_contradict_each_other(run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "x: cannot be written (Not a directory)" in run(folder, "--into", tmp_path / "file" / "x").err
    assert run(folder, "--into", folder).status == 1
    for options, sentence in (
        (("--beside", "--into", tmp_path / "x"), "--beside writes next to the videos, and --into into another folder. Give one of the two."),
        (("--dry-run",), "--dry-run: expected --beside or --into DIR, which write a file for each video."),
        (("--beside", "--out", tmp_path / "y"), "--out is one file, and --beside and --into write one for each video. Give one of them."),
        (("--min-shot", 20), "shots of at least 20 and at most 30 seconds: expected a longest that is twice the shortest or more. Change --min-shot or --max-shot."),
    ):  # fmt: skip
        answer = run(folder, *options)
        assert (answer.status, answer.err) == (1, f"stap: {sentence}\n")


def test_shots_of_several_files_share_batches_and_threads_end(make_video, captioner) -> None:
    paths = [make_video(f"{name}.mp4", scenes(25, 25, 25, 25)) for name in "abc"]
    progress: list[tuple[int, int, float]] = []
    found = list(
        caption_files(
            paths,
            captioner,
            CaptionPlan(whole=False, jobs=3),
            on_progress=lambda one: progress.append((one.files_done, one.shots, one.seconds)),
        )
    )
    assert sorted(path.name for path, _ in found) == ["a.mp4", "b.mp4", "c.mp4"]
    assert sum(captioner.batches) == 12
    assert len({tuple(one.captions) for _, one in found}) == 1  # the same, in whatever batches
    assert progress[-1][:2] == (3, 12)
    assert progress[-1][2] == pytest.approx(12)
    stopped = caption_files(
        paths, captioner, CaptionPlan(ShotRules(detector="window", window_seconds=0.1, min_seconds=0), False, jobs=3)
    )
    next(stopped)
    stopped.close()
    for thread in threading.enumerate():
        if thread.name.startswith("shots"):
            thread.join(5)
            assert not thread.is_alive()


def test_without_the_extra_clips_are_captioned_and_what_needs_it_says_so(run, make_video, monkeypatch) -> None:
    for name in ("scenedetect", "pysubs2", "silero_vad"):
        monkeypatch.setitem(sys.modules, name, None)
    path = make_video(frames=scenes(30))
    assert run(path).status == run(path, "--format", "ttml").status == 0
    install = "which is not installed. Install it with: pip install 'stap[programmes]'\n"
    assert run(path, "--format", "srt").err == f"stap: writing subtitles needs the package pysubs2, {install}"
    assert run(path, "--shots").err.startswith(f"stap: finding shots needs the package scenedetect-headless, {install}")
    assert run(path, "--describe").err.startswith(f"stap: audio description needs the package silero-vad, {install}")


def test_what_the_progress_says() -> None:
    progress = Progress(20)
    progress.end(Path("a"), 3600.0)
    progress.read(Path("b"), 1800.0, 3600.0)
    progress.shots = 700
    assert progress_line(progress, 300) == "1 of 20 files, 700 shots, 18.0x real time, 1:01:40 left"


class SourceClock:
    """A source's time, which stands still a second after a shot has ended until its caption is on standard output, which this is too."""

    encoding = "utf-8"

    def __init__(self, ends: list[float]) -> None:
        self.now, self.due = 0.0, [end + 1 for end in ends]
        self.lines: list[tuple[float, str]] = []
        self._written = threading.Condition()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        due = sum(at <= self.now + seconds for at in self.due)
        with self._written:
            self._written.wait_for(lambda: len(self.lines) >= due, timeout=20)
        self.now += seconds

    def write(self, text: str) -> int:
        if text.strip():
            with self._written:
                self.lines.append((self.now, text))
                self._written.notify()
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        raise OSError


def test_a_live_source_is_captioned_within_a_second_after_each_shot(make_video, monkeypatch) -> None:
    path = make_video(frames=scenes(25, 25, 60), options={"preset": "ultrafast", "g": "10", "bf": "0"})
    clock = SourceClock([1.0, 2.0])
    monkeypatch.setattr("sys.stdout", clock)
    monkeypatch.setattr("stap.programmes.live.time", clock)
    assert main(["caption", "--live", str(path), "--model", "colour"]) == 0
    assert [line.split("\t")[1:3] for _, line in clock.lines] == [
        ["00:00:00.000", "00:00:01.000"], ["00:00:01.000", "00:00:02.000"], ["00:00:02.000", "00:00:04.400"],
    ]  # fmt: skip
    assert all(end <= at < end + 1 for (at, _), end in zip(clock.lines, [1.0, 2.0], strict=False))


def test_a_live_source_gets_the_captions_of_the_file(run, make_video, monkeypatch) -> None:
    path = make_video("film.mkv", scenes(30, 20, 45), options={"preset": "ultrafast", "bf": "0"})
    as_file = run(path, "--shots", "--format", "jsonl")
    live = run("--live", path, "--live-speed", 0, "--format", "jsonl")
    assert (live.status, live.err) == (0, "")
    assert live.out == as_file.out
    with path.open("rb") as stream:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=stream))
        piped = run("--live", "-", "--format", "csv")
    assert [line.split(",")[0] for line in piped.out.splitlines()] == ["path", *["standard input"] * 3]


def test_what_a_live_source_cannot_be(run, make_video, tmp_path: Path) -> None:
    assert run("--live", tmp_path / "none.ts").err.startswith(f"stap: {tmp_path}/none.ts: the source could not be opened (")
    (tmp_path / "text").write_text("no video")
    assert run("--live", tmp_path / "text").status == 1
    assert run("--live", make_video(), "--format", "srt").err == (
        "stap: --live writes a record a shot. Expected --format text, jsonl or csv, got srt.\n"
    )
    both = run(make_video(), "--live", "a")
    assert both.status == 2
    assert "expected video files or folders (PATH), or one source (--live SOURCE)." in both.err
    assert run().status == 2
    cut = make_video("cut.ts", scenes(40, 40), options={"preset": "ultrafast", "bf": "0"})
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])  # ends in a shot
    answer = run("--live", cut, "--live-speed", 0)
    assert answer.status == 0
    assert len(answer.out.splitlines()) >= 1


@pytest.mark.slow
def test_two_hours_of_a_live_source_need_no_more_memory_than_ten_minutes(make_video, captioner) -> None:
    """Two hours at a frame a second, read as fast as they can be; a shot lasts twelve seconds."""
    pictures = [list(scene(number, 12)) for number in range(20)]

    def film(name: str, frames: int) -> Path:
        return make_video(
            name,
            (pictures[k // 12 % 20][k % 12] for k in range(frames)),
            frame_rate=1,
            options={"preset": "ultrafast", "bf": "0"},
        )

    def resident_mib() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    def shots_of(path: Path) -> int:
        return sum(1 for _ in caption_live(LiveSource(str(path), speed=0), captioner, CaptionPlan()))

    short, long = film("short.mkv", 600), film("long.mkv", 7200)
    assert shots_of(short) == 50
    before = resident_mib()
    assert shots_of(long) == 600
    assert resident_mib() - before < 30


def test_a_clock_that_starts_again_goes_on(make_video) -> None:
    frames = [SimpleNamespace(pts=pts) for pts in (0, 40, 80, None, 0, 40, 3000)]
    stream: Any = SimpleNamespace(time_base=Fraction(1, 1000))
    assert [pts for pts, _ in _in_time(iter(frames), stream)] == [0, 40, 80, 120, 160, 200, 3160]
