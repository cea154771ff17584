"""The report of an evaluation: from a small corpus and a model of it to the page."""

import shutil
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

from stap.cli import main
from stap.experiments.evaluate import Evaluation, evaluate
from stap.reports.evaluation_page import EvaluatedSplit, evenly_ranked, write_evaluation_page
from stap.reports.page import ScoresRow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, its features and a model, as small as they get."""
    folder = tmp_path_factory.mktemp("world")
    torch.manual_seed(1)
    safetensors.torch.save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), folder / "backbone.safetensors")
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"""
        name: small
        description: As small as they get.
        corpus: {{root: {folder}/corpus}}
        features: {{backbone: test_resnet, weights: {folder}/backbone.safetensors, frames: 4, image_size: 64, store: {folder}/store}}
        model: {{hidden_size: 16, attention_size: 8, embedding_size: 8}}
        training: {{epochs: 1, batch_size: 8}}
        decoding: {{beam_width: 2, max_words: 8}}
        """
    )
    for line in (
        f"scenes {folder}/corpus --videos 12 --seed 3 --seconds 1 --pixels 48",
        f"extract {recipe}",
        f"train {recipe} --out {folder}/model",
    ):
        assert main(line.split()) == 0, line
    return folder


@pytest.fixture(scope="module")
def evaluation(world: Path) -> Evaluation:
    """The test split's captions and scores."""
    return evaluate(world / "model", "test")


def split_of(evaluation: Evaluation, corpus: Path | None = None) -> EvaluatedSplit:
    return EvaluatedSplit(evaluation.run, evaluation.split, evaluation.scores, corpus)


@pytest.mark.slow
def test_the_page_of_an_evaluation(world: Path, evaluation: Evaluation, tmp_path: Path) -> None:
    columns = len(evaluation.scores.corpus)
    paper = ScoresRow("L-STAP", (0.5,) * columns, "the paper", is_published=True)
    assert write_evaluation_page(tmp_path / "r.html", split_of(evaluation), published=[paper], clips=2) == ()
    html = (tmp_path / "r.html").read_text()
    best, *_, worst = evenly_ranked({v: s["CIDEr"] for v, s in evaluation.scores.per_video.items()}, len(evaluation.captions))
    assert html.count('<article class="clip"') == 2
    for text in (
        "As small as they get.", "from the best CIDEr to the worst", f">{best}<", f">{worst}<", "Published", "the paper", "<h2 id=\"training\">",
        f"{world}/model (small, lstap, seed 1)", "backbone test_resnet", "beam of 2",
    ):  # fmt: skip
        assert text in html
    said = evaluation.captions[best].words
    assert "".join(f">{word}</button>" for word in said[:1]) in html


@pytest.mark.slow
def test_the_command_writes_it_and_says_which_videos_are_not_here(
    world: Path, evaluation: Evaluation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = shutil.copytree(world / "corpus", tmp_path / "corpus")
    missing, *others = sorted(evaluation.captions)
    next(corpus.rglob(f"{missing}.mp4")).unlink()
    remarks = write_evaluation_page(tmp_path / "r.html", split_of(evaluation, corpus), clips=len(evaluation.captions))
    assert remarks == (f"{missing}: its video file is missing, so the clip is not shown.",)
    assert (tmp_path / "r.html").read_text().count('<article class="clip"') == len(others)
    capsys.readouterr()
    line = f"evaluate --model {world}/model --report {tmp_path}/page.html --draws 20"
    assert main(line.split()) == 0
    assert "its confidence interval" in (tmp_path / "page.html").read_text()


def test_clips_are_spread_from_the_best_to_the_worst() -> None:
    scores = {f"v{number}": number / 10 for number in range(11)}
    assert evenly_ranked(scores, 3) == ["v10", "v5", "v0"]
    assert evenly_ranked(scores, 99) == [f"v{number}" for number in range(10, -1, -1)]
    assert evenly_ranked({"b": 1.0, "a": 1.0}, 2) == ["a", "b"]
    assert evenly_ranked(scores, 0) == []
