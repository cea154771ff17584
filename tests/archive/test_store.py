"""The archive on disk: what is written is what is read, one writer, and clear errors."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raising import error_of
from stap.archive import database, store
from stap.archive.database import ARCHIVE_FILE
from stap.archive.records import ArchivedShot, ArchivedVideo, Query, Space, shot_id
from stap.archive.store import Archive
from stap.errors import ArchiveError

SPACE = Space("joint", 4, "f" * 64, "runs/model")
A, B = "a" * 64, "b" * 64


def video(content: str = A, path: str = "/films/one.mp4") -> ArchivedVideo:
    return ArchivedVideo(content, Path(path), 1000, 5, 12.5, "m" * 64)


def shot(start: float, caption: str, vector: tuple[float, ...], content: str = A, path: str = "/films/one.mp4") -> ArchivedShot:
    return ArchivedShot(
        shot_id(content, start),
        Path(path),
        content,
        start,
        start + 2.5,
        caption,
        words=tuple((word, None if place else 0.25) for place, word in enumerate(caption.split())),
        attention={"rows": 1, "columns": 2, "places": [[255, 0]]},
        score=-3.5,
        confidence=0.75,
        frame_seconds=(0.25, 0.75),
        model="m" * 64,
        features="e" * 64,
        picture=b"\xff\xd8 a picture",
        embedding=np.array(vector, np.float32),
    )


SHOTS = (
    shot(0.0, "a man repairs a bicycle", (1, 0, 0, 0)),
    shot(2.5, "a dog runs on the beach", (0, 1, 0, 0)),
    shot(5.0, "it's a \"ball\" \\ of O'Brien", (0, 0, 1, 0)),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of two videos; tests that write copy it."""
    folder = tmp_path_factory.mktemp("archives") / "archive"
    with Archive.create(folder, SPACE) as archive:
        archive.add(
            [
                (video(), SHOTS),
                (video(B, "/films/two.mp4"), [shot(0.0, "men repair bikes", (0.9, 0.1, 0, 0), B, "/films/two.mp4")]),
            ]
        )
        archive.note([Path("/films")], {"m" * 64: {"captioner": "one"}})
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "archive")


@pytest.fixture
def archive(made: Path) -> Iterator[Archive]:
    with Archive.open(made) as found:
        yield found


def test_what_is_read_is_what_was_written(archive: Archive) -> None:
    ids = [one.id for one in reversed(SHOTS)]
    assert archive.shots([ids[0], "nobody's", *ids[1:]]) == [replace(one, picture=b"") for one in reversed(SHOTS)]
    assert archive.shots_of(Path("/films/one.mp4")) == [replace(one, picture=b"") for one in SHOTS]
    assert archive.picture(ids[0]) == b"\xff\xd8 a picture"
    assert [one.path.name for one in archive.videos()] == ["one.mp4", "two.mp4"]
    assert (archive.space, archive.roots, archive.models) == (SPACE, (Path("/films"),), {"m" * 64: {"captioner": "one"}})
    assert archive.count() == 4


def test_words_and_meaning_are_fused(archive: Archive) -> None:
    by_words = archive.search(Query(words="repairing bicycles"))
    assert (by_words[0].shot.caption, by_words[0].routes) == ("a man repairs a bicycle", ("words",))
    query = Query(words="a dog", vector=np.array([1, 0.05, 0, 0], np.float32))
    both = archive.search(query)
    # The dog is first by words (1 / 61) and third by meaning (1 / 63): more than the first by meaning alone.
    assert [one.shot.caption for one in both[:2]] == ["a dog runs on the beach", "a man repairs a bicycle"]
    assert both[0].routes == ("meaning", "words")
    assert both[0].score == pytest.approx(1 / 61 + 1 / 63)
    assert len(archive.search(replace(query, limit=1))) == 1


def test_a_condition_is_on_what_may_be_found(archive: Archive) -> None:
    query = Query(words="man dog ball bikes", where="video LIKE '%two%' OR caption LIKE '%O''Brien%'")
    assert {one.shot.caption for one in archive.search(query)} == {"men repair bikes", SHOTS[2].caption}


@pytest.mark.parametrize("where", ["nonsense(", "colour = 'red'", "1 = 1; DROP TABLE shots", "caption = 'it's'", "confidence"])
def test_a_condition_that_is_none(archive: Archive, where: str) -> None:
    with pytest.raises(ArchiveError, match="is no condition on shots") as error:
        archive.search(Query(words="man", where=where))
    assert str(error.value).endswith("Expected SQL, such as: confidence > 0.5")
    assert archive.count() == 4


@pytest.mark.parametrize("words", ["", "  \n"])
def test_a_query_of_nothing(archive: Archive, words: str) -> None:
    sentence = "a query needs words, or a clip to compare with. Say what to look for."
    assert error_of(ArchiveError, archive.search, Query(words=words)) == sentence


def test_a_vector_of_another_space(archive: Archive) -> None:
    with pytest.raises(ArchiveError, match="its vectors have 4 numbers, and the query's 3"):
        archive.search(Query(vector=np.ones(3, np.float32)))


@pytest.mark.parametrize("words", ['"', "(", "AND", "ball:", "*", "O'Brien", "\\", "\x00"])
def test_any_words_are_a_query(archive: Archive, words: str) -> None:
    found = archive.search(Query(words=words))
    assert [one.shot.id for one in found] == ([SHOTS[2].id] if words in ("ball:", "O'Brien") else [])


def test_adding_again_changes_nothing(folder: Path) -> None:
    with Archive.open(folder, write=True) as archive:
        before = archive.shots_of(Path("/films/one.mp4"))
        archive.add([(video(), SHOTS)])
        assert (archive.count(), len(archive.videos()), archive.shots_of(Path("/films/one.mp4"))) == (4, 2, before)


def test_shots_that_are_no_more_are_gone_but_for_corrected_ones(folder: Path) -> None:
    with Archive.open(folder, write=True) as archive:
        archive.correct(SHOTS[0].id, "Bob repairs a bicycle", "Ann")
        archive.add([(video(), [replace(SHOTS[0], caption="a person works"), shot(3.5, "a cat sleeps", (0, 0, 0, 1))])])
        assert [one.caption for one in archive.shots_of(Path("/films/one.mp4"))] == ["Bob repairs a bicycle", "a cat sleeps"]
        texts = [(one.text, one.author) for one in archive.versions(SHOTS[0].id)]
        assert texts == [("a man repairs a bicycle", ""), ("a person works", ""), ("Bob repairs a bicycle", "Ann")]


def test_a_correction_keeps_every_version_and_is_found(folder: Path) -> None:
    hostile = "the o'clock \"; DROP TABLE shots; -- <b> \\"
    with Archive.open(folder) as reader:
        with Archive.open(folder, write=True) as archive:
            archive.correct(SHOTS[1].id, "a  wolf\nruns", "Ann")
            archive.correct(SHOTS[1].id, hostile, "Bob")
        [found] = reader.shots([SHOTS[1].id])
        assert (found.caption, found.author) == (hostile, "Bob")
        assert found.when.endswith("+00:00")
        assert [one.text for one in reader.versions(SHOTS[1].id)] == ["a dog runs on the beach", "a wolf runs", hostile]
        assert [one.shot.id for one in reader.search(Query(words="clock"))] == [SHOTS[1].id]
        assert reader.search(Query(words="dog")) == []
        assert reader.picture(SHOTS[1].id) == SHOTS[1].picture


@pytest.mark.parametrize(("text", "who", "missing"), [(" ", "Ann", "text"), ("a dog", "\n", "author")])
def test_a_correction_needs_a_text_and_an_author(folder: Path, text: str, who: str, missing: str) -> None:
    with Archive.open(folder, write=True) as archive:
        sentence = f"{SHOTS[0].id}: a correction without {missing}. Expected a sentence, and who wrote it."
        assert error_of(ArchiveError, archive.correct, SHOTS[0].id, text, who) == sentence


def test_an_unknown_id(archive: Archive) -> None:
    for id in ("nobody", "' OR 1 = 1 --"):
        with pytest.raises(ArchiveError, match="there is no shot"):
            archive.versions(id)


def test_a_moved_video_is_at_its_new_path(folder: Path) -> None:
    with Archive.open(folder, write=True) as archive:
        archive.move(replace(video(), path=Path("/films/it's.mp4")))
        assert len(archive.shots_of(Path("/films/it's.mp4"))) == 3
        assert archive.shots_of(Path("/films/one.mp4")) == []
        archive.forget([A])
        assert [one.content for one in archive.videos()] == [B]
        assert archive.count() == 1


def test_a_large_archive_is_indexed_and_finds_the_same(tmp_path: Path, monkeypatch) -> None:
    random = np.random.default_rng(1)
    vectors = np.vstack([np.zeros((1, 8)), random.standard_normal((599, 8))]).astype(np.float32)
    shots = [shot(float(number), f"caption {number}", tuple(vector)) for number, vector in enumerate(vectors)]
    queries = [
        Query(words=words, vector=vector, limit=5) for words, vector in zip(("", "caption 7"), vectors[1:], strict=False)
    ]

    def found(archive: Archive) -> list[list[str]]:
        return [[one.shot.id for one in archive.search(query)] for query in queries]

    with Archive.create(tmp_path / "archive", Space("joint", 8, "model")) as archive:
        archive.add([(video(), shots)])
        archive.optimize()
        small, before = archive._shots.list_indices(), found(archive)
        monkeypatch.setattr(store, "INDEXED_FROM", 500)
        archive.optimize()
        assert {one.columns[0] for one in archive._shots.list_indices()} == {"caption", "vector", "id", "content"}
        assert [one.columns for one in small] == [["caption"]]
        assert found(archive) == before
        monkeypatch.setattr(store, "_GROUPS_SEARCHED", 1)
        far = Query(vector=vectors[1], where="caption IN ('caption 300', 'caption 301', 'caption 302')")
        assert len(archive.search(far)) == 3  # wherever their groups are
        monkeypatch.setattr(store, "_GROUPS_SEARCHED", 40)
        archive.add([(video(B, "/films/two.mp4"), [shot(0.5, "added later", tuple(vectors[1]), B, "/films/two.mp4")])])
        archive.correct(shots[3].id, "somebody corrects it", "Ann")
        assert archive.search(Query(vector=vectors[1], limit=2))[1].shot.caption == "added later"
        archive.optimize()
        assert [one.shot.id for one in archive.search(Query(words="corrects"))] == [shots[3].id]
        archive.forget([A])
        assert [one.shot.content for one in archive.search(Query(vector=vectors[1]))] == [B, A]  # the corrected one stays


def test_one_writer(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from stap.archive.store import Archive\n"
        "from stap.errors import ArchiveError\n"
        "try:\n    with Archive.open(Path(sys.argv[1]), write=True): pass\n"
        "except ArchiveError as error: print(error)"
    )
    with Archive.open(folder, write=True):
        answer = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True).stdout
    assert answer.startswith(f"{folder}: `")
    assert answer.endswith("is writing in this folder. Wait until it has ended, or name another folder.\n")


def test_several_writers_take_turns(tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "archive"
    with Archive.shared(folder, SPACE) as one, Archive.shared(folder, SPACE) as other:
        one.note([Path("/films")], {"m": {"captioner": 1}})
        one.add([(video(), SHOTS)])
        other.note([Path("/more")])
        other.add([(video(B, "/films/two.mp4"), [shot(0.0, "men repair bikes", (0.9, 0.1, 0, 0), B, "/films/two.mp4")])])
        one.correct(SHOTS[0].id, "two men", "Ann")
        other.optimize()
        assert one.count() == other.count() == 4
        with Archive.open(folder, write=True):
            monkeypatch.setattr(database, "PATIENCE_SECONDS", 0.1)
            assert error_of(ArchiveError, one.forget, [A]).startswith(f"{folder}: ")
            assert one.count() == 4
        one.forget([A])
    with Archive.open(folder) as archive:
        assert archive.roots == (Path("/films"), Path("/more"))
        assert archive.models == {"m": {"captioner": 1}}
        assert {found.caption for found in archive.shots_of(Path("/films/one.mp4"))} == {"two men"}
        assert error_of(ArchiveError, archive.forget, [A]).endswith("is open for reading. Open it with write=True.")


def test_a_reader_writes_nothing(archive: Archive, made: Path) -> None:
    said = error_of(ArchiveError, archive.correct, SHOTS[0].id, "a dog", "Ann")
    assert said == f"{made}: is open for reading. Open it with write=True."


def test_reading_creates_nothing(tmp_path: Path) -> None:
    for write in (False, True):
        with (
            pytest.raises(ArchiveError, match=r"is not there: it has no archive\.json"),
            Archive.open(tmp_path / "x", write=write),
        ):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(ArchiveError, match="is no archive"), Archive.open(tmp_path):
        pass
    with pytest.raises(ArchiveError, match="is not empty"), Archive.create(tmp_path, SPACE):
        pass


def test_an_interrupted_making_is_refused_and_can_be_repeated(folder: Path) -> None:
    (folder / ARCHIVE_FILE).unlink()
    with pytest.raises(ArchiveError, match="is an archive whose making was interrupted"), Archive.open(folder):
        pass
    with Archive.create(folder, SPACE) as archive:
        assert archive.count() == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"format": 9}', "an archive of format 9, and this stap reads format 1"),
        ("{", "is damaged"),
        ('{"format": 1}', "is damaged"),
        ("[]", "is damaged"),
    ],
)
def test_another_format(folder: Path, text: str, sentence: str) -> None:
    (folder / ARCHIVE_FILE).write_text(text)
    with pytest.raises(ArchiveError, match=sentence), Archive.open(folder):
        pass


def test_lost_data_is_said_in_a_sentence(folder: Path) -> None:
    shutil.rmtree(folder / "shots.lance" / "data")
    with Archive.open(folder) as archive, pytest.raises(ArchiveError, match="the archive cannot be used"):
        archive.shots([SHOTS[0].id])
    shutil.rmtree(folder / "shots.lance")
    with pytest.raises(ArchiveError, match="the archive cannot be used"), Archive.open(folder):
        pass


def test_about_is_json_of_the_space(made: Path) -> None:
    assert json.loads((made / ARCHIVE_FILE).read_text())["space"]["fingerprint"] == "f" * 64
