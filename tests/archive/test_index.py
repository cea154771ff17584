"""`stap index`: what is in the archive afterwards, what a second run does, and what goes wrong on the way."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stap.archive import indexing
from stap.archive.records import Query, shot_id
from stap.archive.spaces import TEXT_SPACE, text_vector, unit
from stap.archive.store import Archive
from stap.captioning.captioner import Captioner
from stap.cli import main
from stap.commands.shared.machines import Shard
from stap.files import sha256_of_file
from tiny_models import save_model, save_video

Run = Callable[..., SimpleNamespace]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], world: SimpleNamespace) -> Run:
    def command(*words: object, model: object = world.model) -> SimpleNamespace:
        capsys.readouterr()
        status = main(["index", *map(str, words), *(["--model", str(model)] if model else []), "--no-isolate"])
        return SimpleNamespace(status=status, err=capsys.readouterr().err)

    return command


@pytest.fixture
def copy(world: SimpleNamespace, tmp_path: Path, run: Run) -> SimpleNamespace:
    """Videos and an archive of them, to be changed."""
    folder = tmp_path / "films"
    for video in world.videos:
        save_video(folder / video.name, int(video.stem))
    archive = tmp_path / "archive"
    assert run(folder, "--archive", archive).status == 0
    return SimpleNamespace(folder=folder, archive=archive, videos=sorted(folder.iterdir()))


def test_a_shot_is_what_stap_caption_says_with_the_vector_of_the_joint_space(world: SimpleNamespace) -> None:
    captioner: Captioner = world.captioner
    with Archive.open(world.archive) as archive:
        for video in world.videos:
            expected = captioner.caption(video)
            [shot] = archive.shots_of(video)
            assert shot.id == shot_id(sha256_of_file(video), 0.0)
            assert (shot.caption, [word for word, _ in shot.words]) == (expected.caption, list(expected.words))
            assert (shot.start_seconds, shot.end_seconds) == (0.0, 1.0)
            assert shot.score == pytest.approx(expected.score, abs=1e-4)
            assert expected.attention is not None
            assert expected.embedding is not None
            places = expected.attention.argmax(dim=1)
            assert [at for _, at in shot.words] == pytest.approx(expected.times_seconds[places].tolist())
            assert (shot.attention["rows"], shot.attention["columns"]) == (2, 2)
            assert np.array(shot.attention["places"]).shape == (len(expected.words), 4)
            assert [int(np.argmax(row)) for row in shot.attention["frames"]] == places.tolist()
            assert archive.picture(shot.id)[:2] == b"\xff\xd8"
            near = archive.search(Query(vector=unit(expected.embedding.numpy()), limit=1))
            assert [one.shot.id for one in near] == [shot.id]
        assert archive.space.kind == "joint"
        assert archive.space.model == str(world.model)
        assert archive.roots == (world.folder,)
        assert archive.models[shot.model]["captioner"]["weights_sha256"]


def holds_any(world: SimpleNamespace, part: str) -> bool:
    return any(Shard.named(part).holds(video.relative_to(world.folder).as_posix()) for video in world.videos)


def test_parts_fill_one_archive(world: SimpleNamespace, run: Run, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    parts = [run(world.folder, "--archive", archive, "--shard", f"{number}/2") for number in (1, 2)]
    assert [part.status for part in parts] == [0, 0]
    with Archive.open(archive) as filled, Archive.open(world.archive) as whole:
        assert filled.count() == whole.count()
        for video in world.videos:
            assert [replace(shot, model="") for shot in filled.shots_of(video)] == [
                replace(shot, model="") for shot in whole.shots_of(video)
            ]
        assert filled.roots == whole.roots
    assert "Videos: 3 unchanged." in run(world.folder, "--archive", archive).err
    empty = next(number for number in range(1, 60) if not holds_any(world, f"{number}/60"))
    assert (
        run(world.folder, "--archive", tmp_path / "new", "--shard", f"{empty}/60").err == f"stap: part {empty}/60: no videos.\n"
    )
    assert not (tmp_path / "new").exists()
    twice = run(world.folder, world.videos[0], "--archive", archive, "--shard", "1/1")
    assert "Videos: 3 unchanged." in twice.err
    assert run(world.folder, "--archive", archive, "--shard", "1/2", "--forget").err == (
        "stap: --forget: a part does not know what the others find. Give it without --shard, after all parts.\n"
    )


def test_a_video_that_moves_into_another_part_is_not_lost_on_the_way(copy: SimpleNamespace, run: Run) -> None:
    for number, video in enumerate(copy.videos):
        video.rename(video.with_name(f"moved{number}.mp4"))
    for part in ("1/3", "2/3", "3/3"):
        assert "not as they were indexed" not in run(copy.folder, "--archive", copy.archive, "--shard", part).err
    with Archive.open(copy.archive) as archive:
        assert [video.state for video in archive.videos()] == ["present"] * len(copy.videos)


def test_shots_of_a_long_video(world: SimpleNamespace, run: Run, tmp_path: Path) -> None:
    film = save_video(tmp_path / "film.mp4", 4, frames=36)
    assert run(film, "--archive", tmp_path / "archive", "--shots", "--detector", "window", "--window", 1).status == 0
    with Archive.open(tmp_path / "archive") as archive:
        shots = archive.shots_of(film)
        assert [(one.start_seconds, one.end_seconds) for one in shots] == [(0, 1), (1, 2), (2, 3)]
        assert all(archive.picture(one.id)[:2] == b"\xff\xd8" for one in shots)
        assert shots[1].attention["picture_crop"] == shots[1].attention["crop"]
        assert archive.roots == (tmp_path,)


def test_the_same_again_changes_nothing(world: SimpleNamespace, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*given: object) -> None:
        raise AssertionError("a video was captioned or read again")

    monkeypatch.setattr(Captioner, "_describe", never)
    monkeypatch.setattr(indexing, "sha256_of_file", never)
    with Archive.open(world.archive) as archive:
        before = archive.videos(), [archive.shots_of(video) for video in world.videos]
    answer = run(world.folder, "--archive", world.archive)
    assert answer.err.splitlines()[-1] == f"stap: {world.archive}: 3 shots. Videos: 3 unchanged."
    with Archive.open(world.archive) as archive:
        assert before == (archive.videos(), [archive.shots_of(video) for video in world.videos])


def test_a_moved_video_is_found_again(copy: SimpleNamespace, run: Run) -> None:
    with Archive.open(copy.archive, write=True) as archive:
        [shot] = archive.shots_of(copy.videos[0])
        archive.correct(shot.id, "a yellow square", "Ann")
    copy.videos[0].rename(copy.folder / "b.mp4")
    answer = run(copy.videos[1], "--archive", copy.archive)
    assert answer.err.splitlines()[-1] == (
        f"stap: warning: 1 videos are not as they were indexed, the first: {copy.videos[0]} (missing). "
        "Index the folder where they are now, or remove them: --forget."
    )
    assert run(copy.folder, "--archive", copy.archive).err.splitlines()[-1].endswith("Videos: 2 unchanged, 1 moved.")
    with Archive.open(copy.archive) as archive:
        assert [one.caption for one in archive.shots_of(copy.folder / "b.mp4")] == ["a yellow square"]
        assert archive.shots_of(copy.videos[0]) == []


def test_videos_that_change_places(copy: SimpleNamespace, run: Run) -> None:
    """One moved, and a new one stands where it was."""
    copy.videos[0].rename(copy.folder / "z.mp4")
    save_video(copy.videos[0], 7)
    assert "Videos: 1 added, 2 unchanged, 1 moved." in run(copy.folder, "--archive", copy.archive).err
    with Archive.open(copy.archive) as archive:
        assert {video.path.name: video.state for video in archive.videos()} == dict.fromkeys(
            ("1.mp4", "2.mp4", "3.mp4", "z.mp4"), "present"
        )
        assert archive.count() == 4


def test_a_changed_video_takes_the_place_of_what_was_there(copy: SimpleNamespace, run: Run) -> None:
    save_video(copy.videos[0], 8)
    assert "(changed)" in run(copy.videos[1], "--archive", copy.archive).err
    assert "Videos: 1 added, 2 unchanged." in run(copy.folder, "--archive", copy.archive).err
    with Archive.open(copy.archive) as archive:
        assert archive.count() == 3
        assert [one.content for one in archive.shots_of(copy.videos[0])] == [sha256_of_file(copy.videos[0])]


def test_what_is_gone_is_removed_when_that_is_asked_for(copy: SimpleNamespace, run: Run) -> None:
    copy.videos[0].unlink()
    answer = run(copy.folder, "--archive", copy.archive, "--forget")
    assert answer.err.endswith(f"the first: {copy.videos[0]} (missing). They are removed.\n")
    with Archive.open(copy.archive) as archive:
        assert (archive.count(), len(archive.videos())) == (2, 2)


def test_a_copy_is_one_video(copy: SimpleNamespace, run: Run) -> None:
    shutil.copy(copy.videos[0], copy.folder / "copy.mp4")
    assert run(copy.folder, "--archive", copy.archive).err.endswith(": 3 shots. Videos: 4 unchanged.\n")


def test_another_plan_captions_again(copy: SimpleNamespace, run: Run) -> None:
    assert "3 added" in run(copy.folder, "--archive", copy.archive, "--beam", 1).err
    with Archive.open(copy.archive) as archive:
        assert archive.count() == 3
        assert len(archive.models) == 2


def test_another_model_is_refused(copy: SimpleNamespace, run: Run, tmp_path: Path) -> None:
    other = save_model(tmp_path / "other", seed=2)
    answer = run(copy.folder, "--archive", copy.archive, model=other)
    assert answer.status == 1
    assert answer.err.startswith(f"stap: {copy.archive}: an archive of another model: it holds vectors of the model ")
    assert answer.err.endswith("Use the model of the archive, or make a new archive.\n")


def test_a_model_without_a_joint_space_has_vectors_of_words(world: SimpleNamespace, run: Run, tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", matching_weight=0)
    assert run(world.videos[0], "--archive", tmp_path / "archive", model=model).status == 0
    with Archive.open(tmp_path / "archive") as archive:
        assert (archive.space.kind, archive.space.fingerprint) == ("text", TEXT_SPACE.fingerprint)
        [shot] = archive.shots_of(world.videos[0])
        assert archive.search(Query(vector=text_vector(shot.caption)))[0].shot == shot


def test_one_bad_file_stops_no_other(world: SimpleNamespace, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    save_video(folder / "good.mp4", 1)
    (folder / "bad.mp4").write_bytes(b"no video")
    answer = run(folder, "--archive", tmp_path / "archive")
    assert answer.status == 1
    assert f"stap: {folder / 'bad.mp4'}: " in answer.err
    assert answer.err.endswith("stap: 1 files are not in the archive; the reasons are above.\n")
    with Archive.open(tmp_path / "archive") as archive:
        assert [video.path.name for video in archive.videos()] == ["good.mp4"]


def test_an_interrupted_run_is_finished_by_running_it_again(
    world: SimpleNamespace, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two writes: the shots of a video may be there without the video, which is done again."""
    add, archive = Archive.add, tmp_path / "archive"
    monkeypatch.setattr(indexing, "FILES_AT_A_TIME", 1)

    def killed(self: Archive, videos: list) -> None:
        if videos and videos[0][0].path.name == "2.mp4":
            self._videos = None  # type: ignore[assignment]  # what is done to the table of videos fails
        add(self, videos)

    with monkeypatch.context() as patch:
        patch.setattr(Archive, "add", killed)
        with pytest.raises(AttributeError):
            run(world.folder, "--archive", archive)
    with Archive.open(archive) as opened:
        assert (opened.count(), [video.path.name for video in opened.videos()]) == (2, ["1.mp4"])
    assert run(world.folder, "--archive", archive).err.endswith(": 3 shots. Videos: 2 added, 1 unchanged.\n")


def test_a_full_disk_loses_nothing(world: SimpleNamespace, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = shutil.copytree(world.archive, tmp_path / "archive")
    new = save_video(tmp_path / "films" / "new.mp4", 9)

    class Full:
        def __getattr__(self, name: str) -> object:
            raise OSError("LanceError(IO): Execution error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        merge = "lancedb.table.LanceTable.merge_insert"
        patch.setattr(merge, lambda *given: Full())
        answer = run(new, "--archive", archive)
    assert answer.status == 1
    sentence = f"stap: {archive}: the disk is full. What was complete is kept: make room, and run the same line again.\n"
    assert answer.err.endswith(sentence)
    with Archive.open(archive) as opened:
        assert opened.count() == 3
    assert "1 added" in run(new, "--archive", archive).err


def test_without_the_extra(world: SimpleNamespace, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lancedb", None)
    answer = run(world.folder, "--archive", tmp_path / "archive")
    assert answer.err == (
        "stap: an archive needs the package lancedb, which is not installed. Install it with: pip install 'stap[archive]'\n"
    )
    assert not (tmp_path / "archive").exists()


def caption_to_json(world: SimpleNamespace, out: Path, *options: str) -> Path:
    """What `stap caption` writes about the folder."""
    words = ["caption", str(world.folder), "--model", str(world.model), "--format", "json", "--no-isolate", *options]
    assert main([*words, *(["--out", str(out)] if out.suffix else ["--into", str(out)])]) == 0
    return out


@pytest.mark.parametrize("way", ["one file", "a file a video", "shots"])
@pytest.mark.slow
def test_an_archive_is_rebuilt_from_results(world: SimpleNamespace, run: Run, tmp_path: Path, way: str) -> None:
    """With vectors all but pictures and places is as if the videos had been indexed, and nothing is captioned."""
    shots = ["--shots"] if way == "shots" else []
    results = caption_to_json(world, tmp_path / ("out.json" if way == "one file" else "results"), "--vectors", *shots)
    answer = run(results, "--archive", tmp_path / "rebuilt", model=None)
    assert answer.err.endswith(": 3 shots. Videos: 3 added.\n")
    original = tmp_path / "original"
    run(world.folder, "--archive", original, *shots)
    with Archive.open(tmp_path / "rebuilt") as rebuilt, Archive.open(original) as archive:
        assert rebuilt.space.fingerprint == archive.space.fingerprint
        for video in world.videos:
            [shot], [expected] = rebuilt.shots_of(video), archive.shots_of(video)
            for name in ("id", "video", "caption", "start_seconds", "end_seconds", "model", "features"):
                assert getattr(shot, name) == getattr(expected, name), name
            assert [word for word, _ in shot.words] == [word for word, _ in expected.words]
            assert [at for _, at in shot.words] == pytest.approx([at for _, at in expected.words], abs=1e-4)
            assert (shot.score, shot.confidence) == pytest.approx((expected.score, expected.confidence), abs=1e-4)
            query = Query(vector=rebuilt.vector(shot.id), limit=1)
            assert archive.search(query)[0].shot.id == expected.id
    assert run(results, "--archive", original, model=None).err.endswith("Videos: 3 unchanged.\n")
    assert run(world.folder, "--archive", tmp_path / "rebuilt", *shots).err.endswith("Videos: 3 unchanged.\n")


def test_results_without_vectors(world: SimpleNamespace, run: Run, tmp_path: Path) -> None:
    results = caption_to_json(world, tmp_path / "out.json")
    assert run(results, "--archive", tmp_path / "words", model=None).err.endswith(": 3 shots. Videos: 3 added.\n")
    assert run(results, "--archive", tmp_path / "words", model=None).err.endswith(": 3 shots. Videos: 3 unchanged.\n")
    with Archive.open(tmp_path / "words") as archive:
        assert archive.space.kind == "text"
    archive_folder = shutil.copytree(world.archive, tmp_path / "archive")
    answer = run(results, "--archive", archive_folder, model=None)
    assert answer.status == 1
    assert answer.err.startswith(
        f"stap: {world.videos[0]}: its captions have no vectors, and this archive holds those of a model. "
        "Caption it with --vectors, or index the video itself.\n"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is no JSON"),
        ("3", "entry 1: is no result (TypeError"),
        ('[{"path": "x.mp4"}]', "x.mp4: there is no such file"),
        ('[{"path": "VIDEO"}]', "entry 1: is no result (KeyError: 'words')"),
        ('[{"path": "VIDEO", "shots": [3], "duration_seconds": 1}]', "entry 1: is no result (TypeError"),
        ('[{"path": "gone.mp4", "shots": [], "duration_seconds": 1}]', "gone.mp4: cannot be read (No such file or directory)"),
        ('[{"path": "VIDEO", "shots": [], "duration_seconds": "long"}]', "entry 1: is no result (ValueError"),
        (
            '[{"path": "VIDEO", "score": 1, "caption": "a", "times_seconds": [0], "words": [{"word": "a", "attention": [1, 2]}]}]',
            "RuntimeError",
        ),
    ],
)
def test_json_of_something_else(world: SimpleNamespace, run: Run, tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "out.json").write_text(content.replace("VIDEO", str(world.videos[0])))
    answer = run(tmp_path / "out.json", "--archive", tmp_path / "archive", model=None)
    assert answer.status == 1
    assert reason in answer.err
    assert "Traceback" not in answer.err
