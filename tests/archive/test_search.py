"""`stap search`: sentences and clips find shots, in every format; what cannot be answered is a sentence."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from stap.archive.records import Query
from stap.archive.spaces import sentence_encoder, text_vector
from stap.archive.store import Archive
from stap.cli import main
from tiny_models import SENTENCES, save_model

Run = Callable[..., SimpleNamespace]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], world: SimpleNamespace) -> Run:
    def command(*words: object, archive: Path = world.archive) -> SimpleNamespace:
        capsys.readouterr()
        status = main(["search", *map(str, words), "--archive", str(archive)])
        out, err = capsys.readouterr()
        return SimpleNamespace(status=status, out=out, err=err)

    return command


@pytest.fixture
def corrected(world: SimpleNamespace, tmp_path: Path) -> Path:
    """An archive with captions that people wrote."""
    folder = shutil.copytree(world.archive, tmp_path / "archive")
    with Archive.open(folder, write=True) as archive:
        for video, text in zip(
            world.videos, ("a man repairs a bicycle", "a dog runs", 'the "<b>" & {cat}, it\'s\x1b[31m'), strict=True
        ):
            archive.correct(archive.shots_of(video)[0].id, text, "Ann")
    return folder


def test_a_sentence_is_near_the_shots_as_in_training(world: SimpleNamespace, run: Run) -> None:
    """By the cosine of the encoder's last state and the sentence encoder's."""
    captioner = world.captioner
    [sentence] = captioner.embed([SENTENCES[1]])
    videos = torch.stack([captioner.caption(video).embedding for video in world.videos])
    order = (normalize(videos, dim=1) @ normalize(sentence, dim=0)).argsort(descending=True).tolist()
    found = json.loads(run(SENTENCES[1], "--by", "meaning", "--format", "json").out)
    assert [one["path"] for one in found] == [str(world.videos[place]) for place in order]
    assert [one["routes"] for one in found] == [["meaning"]] * 3
    assert [one["score"] for one in found] == [pytest.approx(1 / (60 + rank), abs=1e-6) for rank in (1, 2, 3)]


def test_a_clip_finds_itself_first(world: SimpleNamespace, run: Run) -> None:
    for video in world.videos:
        [found] = json.loads(run("--like", video, "--limit", 1, "--format", "json").out)
        assert found["path"] == str(video)


def test_a_sentence_and_a_clip_are_fused(world: SimpleNamespace, run: Run) -> None:
    found = json.loads(run(SENTENCES[0], "--like", world.videos[2], "--by", "meaning", "--format", "json").out)
    captioner = world.captioner
    vectors = captioner.embed([SENTENCES[0]])[0], captioner.caption(world.videos[2]).embedding
    wanted = sum(normalize(vector, dim=0) for vector in vectors)
    videos = torch.stack([captioner.caption(video).embedding for video in world.videos])
    order = (normalize(videos, dim=1) @ wanted).argsort(descending=True).tolist()
    assert [one["path"] for one in found] == [str(world.videos[place]) for place in order]


def test_text_is_a_line_a_shot(world: SimpleNamespace, run: Run, corrected: Path) -> None:
    answer = run("repairing bicycles", "--by", "words", archive=corrected)
    line = f"{world.videos[0]}\t00:00:00.000\t00:00:01.000\ta man repairs a bicycle\n"
    assert (answer.status, answer.out, answer.err) == (0, line, "")
    hostile = run("cat", "--by", "words", archive=corrected)
    assert hostile.out.endswith('\tthe "<b>" & {cat}, it\'s\\x1b[31m\n')


def test_json_and_csv_say_the_same(world: SimpleNamespace, run: Run, corrected: Path, tmp_path: Path) -> None:
    [found] = json.loads(run("dog", "--by", "words", "--format", "json", archive=corrected).out)
    assert (found["caption"], found["author"], found["routes"], found["state"]) == ("a dog runs", "Ann", ["words"], "present")
    out = tmp_path / "found.csv"
    for _ in range(2):  # over its own output
        assert run("dog", "--by", "words", "--format", "csv", "--out", out, archive=corrected).out == ""
    [row] = csv.DictReader(io.StringIO(out.read_text()))
    assert row == {name: "words" if name == "routes" else str(value) for name, value in found.items()}


def test_subtitles_of_the_found_shots(world: SimpleNamespace, run: Run, corrected: Path) -> None:
    answer = run("man dog cat", "--by", "words", "--format", "srt", archive=corrected)
    assert answer.out.replace("\u2060", "").rstrip("\n").split("\n\n") == [
        f"{number}\n00:00:00,000 --> 00:00:01,000\n{text}"
        for number, text in enumerate(
            ("1.mp4: a man repairs a bicycle", "2.mp4: a dog runs", '3.mp4: the "<b>" & {cat}, it\'s [31m'), start=1
        )
    ]
    one = run("dog", "--by", "words", "--format", "srt", archive=corrected)
    assert one.out.splitlines()[2] == "a dog runs"


def test_a_condition(world: SimpleNamespace, run: Run, corrected: Path) -> None:
    answer = run("man dog cat", "--where", "video LIKE '%/2.mp4' OR caption = 'nothing'", "--format", "json", archive=corrected)
    assert [one["caption"] for one in json.loads(answer.out)] == ["a dog runs"]
    bad = run("dog", "--where", "caption = 'it's'")
    assert bad.status == 1
    assert bad.err.startswith("stap: \"caption = 'it's'\" is no condition on shots: ")
    assert len(bad.err.splitlines()) == 1


def test_a_file_that_is_gone_is_said(world: SimpleNamespace, run: Run, corrected: Path, tmp_path: Path) -> None:
    with Archive.open(corrected, write=True) as archive:
        [video] = [one for one in archive.videos() if one.path == world.videos[1]]
        archive.move(type(video)(**{**vars(video), "path": tmp_path / "gone.mp4"}))
    answer = run("dog", "--by", "words", archive=corrected)
    assert answer.out == f"{tmp_path / 'gone.mp4'}\t00:00:00.000\t00:00:01.000\ta dog runs\t(missing)\n"


@pytest.mark.parametrize("words", [(), ("",), (" ",)])
@pytest.mark.parametrize("by", ["both", "meaning", "words"])
def test_a_query_without_words(run: Run, words: tuple[str, ...], by: str) -> None:
    answer = run(*words, "--by", by)
    assert (answer.status, answer.out) == (1, "")
    assert answer.err == "stap: a query needs words, or a clip to compare with. Say what to look for.\n"


def test_words_that_nobody_knows_find_nothing(run: Run) -> None:
    answer = run("xylophone")
    assert (answer.status, answer.out, answer.err) == (0, "", "stap: nothing was found.\n")


def test_another_model_than_the_archives(run: Run, tmp_path: Path, world: SimpleNamespace) -> None:
    answer = run("square", "--model", save_model(tmp_path / "other", seed=2))
    assert answer.status == 1
    assert answer.err.startswith(f"stap: {world.archive}: an archive of another model: it holds vectors of the model ")


def test_a_model_that_is_gone(run: Run, tmp_path: Path, world: SimpleNamespace) -> None:
    folder = shutil.copytree(world.archive, tmp_path / "archive")
    about = json.loads((folder / "archive.json").read_text())
    for name, said in (
        (str(tmp_path / "gone"), f"its model {tmp_path / 'gone'} is not there any more"),
        ("", "it does not say what its model is called"),
    ):
        about["space"]["model"] = name
        (folder / "archive.json").write_text(json.dumps(about))
        assert run("square", archive=folder).err == (
            f"stap: {folder}: {said}. Name the model (--model), or look for words only (--by words).\n"
        )
        assert run("square", "--by", "words", archive=folder).status == 0
        assert run("square", "--model", world.model, archive=folder).status == 0


def test_a_clip_has_no_words(run: Run, world: SimpleNamespace) -> None:
    answer = run("--like", world.videos[0], "--by", "words")
    assert answer.err == "stap: --like looks for what is near in meaning. Leave --by words out.\n"


def test_no_archive(run: Run, tmp_path: Path) -> None:
    answer = run("dog", archive=tmp_path / "none")
    assert answer.status == 1
    assert answer.err.startswith(f"stap: {tmp_path / 'none'}: is not there: it has no archive.json.")


def test_vectors_of_words_find_words_like_them() -> None:
    near = text_vector("a man repairs a bicycle") @ text_vector("men repair bicycles")
    assert near > 2 * abs(text_vector("a man repairs a bicycle") @ text_vector("the sun sets slowly"))
    assert not text_vector("...").any()
    assert np.linalg.norm(text_vector("dog")) == pytest.approx(1)


def test_a_page_encodes_sentences_as_the_command_does(world: SimpleNamespace) -> None:
    loaded = []

    def load(name: str) -> object:
        loaded.append(name)
        return world.captioner

    with Archive.open(world.archive) as archive:
        encode = sentence_encoder(archive, load)
        first = archive.search(Query(vector=encode(SENTENCES[1])))
        assert [one.shot.id for one in first] == [one.shot.id for one in archive.search(Query(vector=encode(SENTENCES[1])))]
    assert loaded == [str(world.model)]
