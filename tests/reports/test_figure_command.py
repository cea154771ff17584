"""`stap figure`: files of every kind, and what bad input gets."""

import json
import shutil
from pathlib import Path

import pytest

from stap.cli import main
from stap.scenes import write_scenes

SIGNATURES = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]):
    """Run `stap figure` and return its exit status, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(["figure", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize("suffix", SIGNATURES)
@pytest.mark.slow
def test_attention_of_a_file(answer, model_folder: Path, video: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"figure{suffix}"
    assert answer("attention", model_folder, video, "--out", out, "--frames", 4, "--beam", 1) == (0, f"{out}\n", "")
    assert out.read_bytes().startswith(SIGNATURES[suffix])
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.slow
def test_attention_of_a_clip_of_the_corpus(answer, model_folder: Path, tmp_path: Path) -> None:
    folder, out = shutil.copytree(model_folder, tmp_path / "run"), tmp_path / "a.png"
    write_scenes(tmp_path / "corpus", videos=3, seed=1, workers=1)
    config = json.loads((folder / "config.json").read_text())
    config["recipe"]["corpus"]["root"] = str(tmp_path / "corpus")
    (folder / "config.json").write_text(json.dumps(config))
    assert answer("attention", folder, "video0", "--out", out) == (0, f"{out}\n", "")
    next((tmp_path / "corpus").rglob("video1.mp4")).unlink()  # only a part of a corpus may be here
    assert answer("attention", folder, "video1", "--out", out) == (
        1,
        "",
        f"stap: video1: no such file, and none of the 2 clips with a video in {tmp_path}/corpus is called so "
        "(the first is video0). Name a video file or one of these clips.\n",
    )


def test_a_corpus_that_is_not_there(answer, model_folder: Path) -> None:
    status, _, sentence = answer("attention", model_folder, "video0")
    assert status == 1
    assert sentence.startswith("stap: video0: no such file, and the corpus of the run cannot be searched for it: ")


def test_curves(answer, tmp_path: Path) -> None:
    history = [{"epoch": 1, "training": {"loss": 2.0}, "validation": {}, "scores": {}}]
    (tmp_path / "metrics.json").write_text(json.dumps({"history": history}))
    assert answer("curves", tmp_path, "--out", tmp_path / "c.svg") == (0, f"{tmp_path}/c.svg\n", "")
    assert (tmp_path / "c.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("curves run --out a.jpg", "a.jpg: figures are written as .png, .svg or .pdf. Give --out one of these suffixes."),
        ("curves run clip", "curves are drawn for a whole run, but 'clip' names a clip. Leave it out, or draw `attention`."),
        (
            "curves /none",
            "/none: no such folder. Expected one that `stap train` or `stap pretrain` wrote.",
        ),
        ("attention run", "attention is drawn for one clip. Name a video file or a clip of the run's corpus after the run."),
        ("attention /none clip", "/none: no such folder. Expected a model folder, as `stap train` writes it."),
    ],
)
def test_what_cannot_be_drawn(answer, line: str, sentence: str) -> None:
    assert answer(*line.split()) == (1, "", f"stap: {sentence}\n")


def test_a_file_that_cannot_be_written(answer, tmp_path: Path) -> None:
    history = [{"epoch": 1, "training": {"loss": 2.0}, "validation": {}, "scores": {}}]
    (tmp_path / "metrics.json").write_text(json.dumps({"history": history}))
    out = tmp_path / "metrics.json" / "c.png"
    assert answer("curves", tmp_path, "--out", out) == (
        1,
        "",
        f"stap: {out.parent}: cannot be written (File exists). Name a folder where you may write.\n",
    )
