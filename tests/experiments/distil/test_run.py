"""`stap distil`, very small: from videos to a student and a report; what is finished is not done again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from raising import error_of
from stap.captioning.captioner import Captioner
from stap.cli import main
from stap.corpora.loading import load_corpus
from stap.errors import ConfigError
from stap.experiments.distil import results, said
from stap.experiments.distil.clips import Said
from stap.experiments.distil.results import STUDENT, TEACHER, UNFILTERED
from stap.recipes.files import load_recipe
from stap.teachers import answers
from stap.teachers.loading import load

pytestmark = pytest.mark.usefixtures("one_thread")

VIDEOS = 10


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Without METEOR, whose start takes longer than all the rest; short answers; answers are written after every four videos."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "METRICS", ("bleu", "rouge", "cider"))
        patch.setattr(answers, "MOST_TOKENS", 12)
        patch.setattr(said, "VIDEOS_AT_A_TIME", 4)
        yield


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, make_video_in: Callable[..., Path]) -> Path:
    """Videos of noise, one of which cannot be decoded; human captions of half of them; a small recipe."""
    folder, random = tmp_path_factory.mktemp("distil"), np.random.default_rng(5)
    for number in range(VIDEOS):
        make_video_in(folder / "films", f"v{number}.mp4", random.integers(0, 255, (6, 32, 48, 3), dtype=np.uint8), frame_rate=6)
    (folder / "films" / "bad.mp4").write_text("no video")
    splits = {0: "test", 1: "validation"}
    rows = [
        {"video": f"v{number}.mp4", "caption": f"people write number {number}", "split": splits.get(number, "train")}
        for number in range(4)
    ]
    (folder / "human.jsonl").write_text("\n".join(map(json.dumps, rows)))
    torch.manual_seed(1)
    safetensors.torch.save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), folder / "backbone.safetensors")
    (folder / "tiny.yaml").write_text(
        f"features: {{backbone: test_resnet, weights: {folder}/backbone.safetensors, image_size: 48, frames: 3}}\n"
        "model: {hidden_size: 8, attention_size: 4, embedding_size: 5}\n"
        "training: {epochs: 1, batch_size: 8}\ndecoding: {beam_width: 1, max_words: 6}\n"
    )
    return folder


def line(work: Path, teacher: Path | str, out: Path, *more: str) -> list[str]:
    options = ["--recipe", str(work / "tiny.yaml"), "--device", "cpu", "--no-isolate", "--samples", "2", "--beam", "2"]
    return ["distil", str(work / "films"), "--teacher", str(teacher), "--out", str(out), *options, *more]


class Finished(NamedTuple):
    out: Path
    status: int
    metrics: dict[str, Any]


@pytest.fixture(scope="module")
def finished(work: Path, teacher: Callable[[str], Path]) -> Finished:
    out = work / "run"
    more = ("--captions", str(work / "human.jsonl"), "--human-weight", "3", "--drop-improbable", "0.2")
    status = main(line(work, teacher("talker"), out, *more))
    return Finished(out, status, json.loads((out / "metrics.json").read_text()))


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(row) for row in file.read_text().splitlines()]


@pytest.mark.slow
def test_everything_is_there(finished: Finished) -> None:
    assert finished.status == 0
    assert sorted(path.name for path in finished.out.iterdir()) == [
        "corpus", "features", "metrics.json", "model", "recipe.yaml", "report.html", "said.jsonl", "stages.json", "unfiltered",
    ]  # fmt: skip
    assert finished.metrics["agreement_with_teacher"].keys() == {STUDENT, UNFILTERED}
    assert finished.metrics["human"].keys() == {STUDENT, UNFILTERED, TEACHER}
    assert finished.metrics["human_videos"] == 1
    assert finished.metrics["speed"].keys() == {STUDENT, TEACHER}
    assert all(one["captions_per_second"] > 0 and one["parameters"] > 0 for one in finished.metrics["speed"].values())
    counts = finished.metrics["counts"]
    assert (counts["test videos"], counts["captions said"]) == (1, 3 * (VIDEOS - 1))
    assert counts["captions said"] - counts["captions kept"] == sum(finished.metrics["dropped"].values()) > 0


@pytest.mark.slow
def test_what_the_teacher_said_is_a_corpus_with_provenance(
    finished: Finished, teacher: Callable[[str], Path], work: Path
) -> None:
    header, *answers_ = rows_of(finished.out / "said.jsonl")
    assert [one["video"] for one in answers_] == ["bad", *(f"v{number}" for number in range(VIDEOS))]
    assert answers_[0]["captions"] == []
    assert "bad.mp4" in answers_[0]["error"]
    captioner: Any = load(teacher("talker"), "cpu")
    path = work / "films" / "v3.mp4"
    beam = captioner.caption(path, 2)
    of_three = next(one for one in answers_ if one["video"] == "v3")["captions"]
    assert [one["by"] for one in of_three] == ["beam", "sample", "sample"]
    assert of_three[0]["caption"] == beam.caption
    assert of_three[0]["score"] == pytest.approx(beam.score, abs=1e-4)
    kept = rows_of(finished.out / "corpus" / "teacher.jsonl")
    assert {one["teacher"] for one in kept} == {str(teacher("talker"))}
    assert all(
        one.keys() == {"video", "caption", "split", "by", "score", "seconds", "teacher", "revision", "prompt"} for one in kept
    )
    assert {one["revision"] for one in kept} == {header["fingerprint"]["weights_sha256"][:12]}
    human = rows_of(finished.out / "corpus" / "human.jsonl")
    assert [(one["video"], one["split"]) for one in human] == [
        ("v1.mp4", "validation"),
        *[("v2.mp4", "train")] * 3,
        *[("v3.mp4", "train")] * 3,
    ]
    recipe = load_recipe(finished.out / "recipe.yaml")
    corpus = load_corpus(recipe.corpus)
    by_id = {clip.id: clip for clip in corpus.clips}
    assert by_id["v3"].captions.count("people write number 3") == 3
    assert (by_id["v0"].split, by_id["v1"].split, by_id["v2"].split) == ("test", "validation", "train")


@pytest.mark.slow
def test_the_licence_is_in_the_model_card(finished: Finished) -> None:
    card = (finished.out / "model" / "README.md").read_text()
    assert "Licence of the teacher's output: mit (the model's own, as its card states)." in card
    assert "A student of" in card


@pytest.mark.slow
def test_the_student_captions_by_itself(finished: Finished, work: Path) -> None:
    captioner = load(finished.out / "model", "cpu")
    assert isinstance(captioner, Captioner)
    assert captioner.caption(work / "films" / "v0.mp4").path.name == "v0.mp4"


@pytest.mark.slow
def test_the_page_keeps_agreement_and_accuracy_apart(finished: Finished) -> None:
    page = (finished.out / "report.html").read_text()
    headings = [
        "Agreement with the teacher",
        "Against human captions",
        "Speed and size",
        "What the filter dropped",
        "Some of what was dropped",
    ]
    places = [page.index(f">{heading}</h2>") for heading in headings]
    assert places == sorted(places)
    assert "accura" not in page.lower()
    dropped = sum(finished.metrics["dropped"].values())
    assert page.count('<th scope="row">v') == min(20, dropped)
    assert "people write number 0" in page


@pytest.mark.slow
def test_a_run_that_is_finished_asks_and_trains_nothing(
    finished: Finished, work: Path, teacher: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    corrected = finished.out / "corpus" / "teacher.jsonl"
    before = {
        path: path.stat().st_mtime_ns
        for path in [corrected, finished.out / "said.jsonl", finished.out / "model" / "model.safetensors"]
    }
    monkeypatch.setattr(said, "load", lambda *_, **__: pytest.fail("the teacher was loaded again"))
    more = ("--captions", str(work / "human.jsonl"), "--human-weight", "3", "--drop-improbable", "0.2")
    assert main(line(work, teacher("talker"), finished.out, *more)) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_an_interrupted_run_asks_about_the_others_only(
    finished: Finished, work: Path, teacher: Callable[[str], Path], tmp_path: Path
) -> None:
    whole = (finished.out / "said.jsonl").read_bytes().split(b"\n")
    out = tmp_path / "run"
    out.mkdir()
    (out / "said.jsonl").write_bytes(b"\n".join(whole[:6]) + b"\n" + whole[6][:20])  # a last line that was cut short
    asked: list[str] = []
    caption_many = load(teacher("talker"), "cpu").__class__.caption_many

    def counting(self: Any, paths: Any, **options: Any) -> Any:
        paths = list(paths)
        asked.extend(path.stem for path in paths if "beam_width" in options)
        return caption_many(self, paths, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stap.teachers.captioner.TransformersCaptioner.caption_many", counting)
        more = ("--captions", str(work / "human.jsonl"), "--human-weight", "3", "--drop-improbable", "0.2")
        assert main([*line(work, teacher("talker"), out, *more), "--no-ablation"]) == 0
    assert asked == [f"v{number}" for number in range(4, VIDEOS)]

    def texts(folder: Path) -> list[Any]:
        return [[each["caption"] for each in one.get("captions", ())] for one in rows_of(folder / "said.jsonl")]

    assert texts(out) == texts(finished.out)
    assert not (out / "unfiltered").exists()


def test_another_teacher_or_question_is_refused(
    work: Path, teacher: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = {
        "asked": {"teacher": "somebody", "prompt": None, "beam_width": 2, "draws": {"count": 2, "temperature": 1.0, "seed": 1}}
    }
    (tmp_path / "said.jsonl").write_text(json.dumps(header | {"fingerprint": {}, "licence": None, "parameters": 1}) + "\n")
    assert main(line(work, teacher("talker"), tmp_path)) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f'stap: {tmp_path}/said.jsonl: what the teacher said when it was asked otherwise: teacher: expected "somebody", found '
        f'"{teacher("talker")}". Choose another --out.'
    )


def test_a_licence_that_nobody_states_is_asked_for(
    work: Path, teacher: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = shutil.copytree(teacher("talker"), tmp_path / "silent")
    (silent / "README.md").unlink()
    assert main(line(work, silent, tmp_path / "run")) == 1
    assert not (tmp_path / "run" / "said.jsonl").exists()  # before the work
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"stap: --output-licence: the model card of {silent} states no licence. Say under which licence you may use what it says, for example "
        '--output-licence "MIT"; it is recorded in the model card of the student.'
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["blip", "smolvlm", "qwen"])
def test_each_kind_of_teacher(work: Path, teacher: Callable[[str], Path], tmp_path: Path, kind: str) -> None:
    """Random weights say nonsense; the shares that are dropped are 0, and what is left is a corpus."""
    out = tmp_path / "run"
    more = ("--no-ablation", "--output-licence", "ours", "--drop-improbable", "0", "--drop-disagreeing", "0")
    if kind == "qwen":
        more = (*more, "--prompt", "What is it?")
    assert main(line(work, teacher(kind), out, *more)) == 0
    assert "Licence of the teacher's output: ours." in (out / "model" / "README.md").read_text()
    asked = {one["prompt"] for one in rows_of(out / "corpus" / "teacher.jsonl")}
    assert asked == {
        {"qwen": "What is it?", "blip": None}.get(kind, "Describe what happens in this video in one plain sentence.")
    }


@pytest.mark.slow
def test_a_model_of_stap_is_a_teacher_too(finished: Finished, work: Path, tmp_path: Path) -> None:
    out, videos = tmp_path / "run", work / "films" / "v2.mp4"
    status = main(line(work, finished.out / "model", out, "--no-ablation", "--drop-improbable", "0", "--drop-disagreeing", "0"))
    header, *answers_ = rows_of(out / "said.jsonl")
    assert header["fingerprint"]["kind"] == "stap"
    captioner: Any = load(finished.out / "model", "cpu")
    own = captioner.caption(videos, 2)
    first = Said(**next(one for one in answers_ if one["video"] == "v2")["captions"][0])
    assert first.caption == own.caption
    assert first.score == pytest.approx(own.score / (len(own.words) + 1), abs=1e-4)
    assert status == 0
    assert "not stated; a model of stap" in (out / "model" / "README.md").read_text()


def test_something_else_in_the_folder(work: Path, tmp_path: Path) -> None:
    (tmp_path / "said.jsonl").write_text('{"asked": 1}\n')
    said_ = error_of(ConfigError, said._said_before, tmp_path / "said.jsonl")
    assert said_ == (
        f"{tmp_path}/said.jsonl: not what `stap distil` writes (another first line). Move it away, or choose another --out."
    )
