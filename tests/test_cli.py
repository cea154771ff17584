"""The command line: from a corpus to captions with the commands alone, and what bad input gets."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import typer

from films import scene
from stap import cli, load
from stap.cli import app, main
from stap.commands.shared import console
from stap.commands.shared.outputs import result_file, writable_folder
from stap.errors import StapError
from stap.recipes.files import built_in_recipes
from stap.video import Frames
from stap.video.clips import FrameStream

VERBS = [
    "demo", "caption", "scenes", "prepare", "pretrain", "extract", "train", "import", "import-features", "distil", "index", "search", "serve", "evaluate",
    "score", "compare", "reproduce", "figure", "recipes", "doctor",
]  # fmt: skip
STAP = [sys.executable, "-c", "import sys; from stap.cli import main; sys.exit(main())"]


@dataclass(frozen=True)
class Answer:
    """What a command left: exit status, stdout, stderr."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks this small are slower with more, above all on a machine that is busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes started here
    yield
    del os.environ["OMP_NUM_THREADS"]
    torch.set_num_threads(before)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """A command in this process."""

    def command(*arguments: object) -> Answer:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return Answer(status, *capsys.readouterr())

    return command


@dataclass(frozen=True)
class World:
    """A small corpus, the recipe for it, and the model that the commands made of them."""

    corpus: Path
    recipe: Path
    model: Path
    test_videos: list[Path]


@pytest.fixture(scope="module")
def world(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> World:
    """`stap scenes`, `extract` and `train`, as small as they get."""
    import timm
    import torch

    folder = tmp_path_factory.mktemp("world")
    torch.manual_seed(1)
    safetensors.torch.save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), folder / "backbone.safetensors")
    corpus, recipe, model = folder / "corpus", folder / "recipe.yaml", folder / "model"
    recipe.write_text(
        f"""
        name: small
        corpus: {{root: {corpus}}}
        features: {{backbone: test_resnet, weights: {folder}/backbone.safetensors, frames: 6, image_size: 64, store: {folder}/store}}
        model: {{hidden_size: 16, attention_size: 8, embedding_size: 8}}
        training: {{epochs: 2, batch_size: 8, optimizer: {{kind: adam, learning_rate: 0.01}}}}
        decoding: {{beam_width: 2, max_words: 12}}
        """
    )
    for line in (
        ["scenes", corpus, "--videos", 12, "--seed", 3, "--seconds", 1, "--pixels", 48],
        ["extract", recipe],
        ["train", recipe, "--out", model],
    ):
        assert main([str(argument) for argument in line]) == 0, line
    return World(corpus, recipe, model, sorted((corpus / "TestVideo").iterdir()))


# The whole path


def test_every_command_shares_the_cores_and_keeps_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: seen.append("memory"))

    def run(_: object) -> int:
        seen.extend(thread.name for thread in threading.enumerate())
        return 0

    monkeypatch.setattr(cli, "_run", run)
    assert main([]) == 0
    assert {"memory", "polite-threads"} <= set(seen)


def test_the_model_folder_is_complete(world: World) -> None:
    assert {path.name for path in world.model.iterdir()} >= {
        "README.md", "backbone.safetensors", "config.json", "features.json", "metrics.json", "model.safetensors", "vocabulary.json",
    }  # fmt: skip
    assert len(json.loads((world.model / "metrics.json").read_text())["history"]) == 2


def test_extracting_again_finds_everything_there(world: World, run) -> None:
    answer = run("extract", world.recipe)
    assert answer.status == 0
    assert answer.err.splitlines()[-1].endswith(": 0 written, 12 already there, 0 failed.")


def test_parts_of_an_extraction_are_the_whole_bit_for_bit(world: World, run, tmp_path: Path) -> None:
    written = []
    for part in ("1/3", "2/3", "3/3"):
        answer = run("extract", world.recipe, f"features.store={tmp_path}", "--shard", part)
        assert answer.status == 0
        first, last = answer.err.splitlines()[0], answer.err.splitlines()[-1]
        assert first.startswith(f"part {part}: ")
        assert first.endswith(" of 12 videos.")
        assert last.endswith(" 0 already there, 0 failed.")
        written.append(int(last.split()[-7]))
    assert sum(written) == 12
    whole = {path.name: path.read_bytes() for path in (world.recipe.parent / "store").rglob("*.*")}
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*.*")} == whole


def test_a_run_is_not_overwritten_but_continued(world: World, run, tmp_path: Path) -> None:
    again = run("train", world.recipe, "--out", world.model)
    assert (again.status, again.out) == (1, "")
    assert again.err == f"stap: {world.model}: holds a training run. Continue it with --resume, or choose another folder.\n"
    copy = shutil.copytree(world.model, tmp_path / "copy")
    continued = run("train", world.recipe, "--out", copy, "--resume")
    assert continued.status == 0
    assert continued.out.startswith(f"{copy}: 2 epochs")


@pytest.mark.slow
def test_captions_of_files_and_folders(world: World, run) -> None:
    first, *_ = world.test_videos
    answer = run("caption", first, world.corpus / "TestVideo", "--model", world.model)
    assert answer.status == 0
    lines = [line.split("\t") for line in answer.out.splitlines()]
    assert [path for path, _ in lines] == [str(first), *map(str, world.test_videos)]
    assert answer.err == f"stap: warning: {first}: is given 2 times, and is captioned as often.\n"
    assert all(re.fullmatch(r"[a-z<>' ]*", caption) for _, caption in lines)


@pytest.mark.slow
@pytest.mark.slow
def test_a_profiled_training_gives_the_same_weights_and_says_where_the_time_went(world: World, run, tmp_path: Path) -> None:
    trained = run("train", world.recipe, "--out", tmp_path, "--profile")
    assert trained.status == 0, trained.err
    ours, theirs = ((folder / "model.safetensors").read_bytes() for folder in (tmp_path, world.model))
    assert ours == theirs
    assert [line.split("  ")[0] for line in trained.err.splitlines() if line.endswith("%")] == [
        "waiting for features", "features to float32", "encoder", "decoder and losses", "captions", "backward", "optimizer",
        "validation", "other", "all",
    ]  # fmt: skip
    trace = json.loads((tmp_path / "profile.json").read_text())["traceEvents"]
    assert (
        len([event for event in trace if event["name"] == "backward" and event["cat"] == "user_annotation"]) == 2
    )  # 11 and 12, of 12


@pytest.mark.slow
def test_a_profile_of_captioning(world: World, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain = run("caption", world.test_videos[0], "--model", world.model)
    found = run("caption", world.test_videos[0], "--model", world.model, "--profile")
    assert (found.status, found.out) == (0, plain.out)
    shown = [line.split("  ")[0] for line in found.err.splitlines() if line.endswith("%")]
    assert {"loading the model", "networks of the features", "encoder", "captions", "all"} <= set(shown)
    assert json.loads((tmp_path / "stap-profile.json").read_text())["traceEvents"]


@pytest.mark.slow
def test_captions_as_json_can_be_scored(world: World, run, tmp_path: Path) -> None:
    out = tmp_path / "captions.json"
    answer = run("caption", world.corpus / "TestVideo", "--model", world.model, "--format", "json", "--out", out, "--beam", 1)
    assert (answer.status, answer.out) == (0, "")
    captions = json.loads(out.read_text())
    assert [caption["path"] for caption in captions] == list(map(str, world.test_videos))
    scored = run("score", out, world.corpus / "videodatainfo.json", "--split", "test")
    assert scored.status == 0
    assert [line.split()[0] for line in scored.out.splitlines()] == [
        "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_shot_gets_the_caption_of_a_file_of_its_own(world: World, run, make_video, tmp_path: Path) -> None:
    pictures = [list(scene(number, 30)) for number in range(3)]
    lossless = {"options": {"qp": "0", "preset": "ultrafast"}, "pix_fmt": "yuv444p"}
    film = make_video("film.mp4", [picture for part in pictures for picture in part], **lossless)
    parts = [make_video(f"{number}.mp4", part, **lossless) for number, part in enumerate(pictures)]
    alone = run("caption", *parts, "--model", world.model).out.splitlines()
    answer = run("caption", film, "--model", world.model, "--shots")
    assert answer.status == 0
    shots = [line.split("\t") for line in answer.out.splitlines()]
    assert [shot[3] for shot in shots] == [line.split("\t")[1] for line in alone]
    assert (
        run("caption", world.corpus / "TestVideo", "--model", world.model, "--format", "vtt", "--into", tmp_path / "v").status
        == 0
    )
    assert sorted(path.stem for path in (tmp_path / "v").glob("*.vtt")) == [path.stem for path in world.test_videos]


def test_a_live_source_that_is_read_frame_by_frame_gets_the_captions_of_the_same_frames(world: World, run, make_video) -> None:
    film = make_video("film.mkv", [*scene(0, 40), *scene(1, 33)], options={"preset": "ultrafast", "bf": "0"})
    live = run("caption", "--live", film, "--live-speed", 0, "--live-rate", 5, "--model", world.model, "--format", "jsonl")
    assert (live.status, live.err) == (0, "")
    shots = [json.loads(line) for line in live.out.splitlines()]
    captioner = load(world.model)
    pictures = np.stack(list(FrameStream(film, None, short_side=captioner.extractor.short_side)))
    for shot, first, last in zip(shots, (0, 40), (40, 73), strict=True):
        frames = Frames(pictures[first:last:5], np.arange(0, last - first, 5) / 25, 0.0)
        [expected] = captioner._describe([(film, [captioner.extractor.prepare(frames)])], None, None)
        assert shot["caption"] == expected.caption
        assert shot["score"] == pytest.approx(expected.score, abs=2e-4)
        assert shot["frame_seconds"] == pytest.approx([first / 25 + at for at in frames.times_seconds], abs=1e-3)
    other = run("caption", "--live", film, "--live-rate", 5, "--sample", "--model", world.model)
    assert other.err == "stap: --live-rate: expected an L-STAP, and no --sample. Leave --live-rate out.\n"


def test_the_next_best_captions_of_a_beam_are_kept(world: World, run) -> None:
    line = ("caption", world.test_videos[0], "--model", world.model, "--format", "json")
    [best] = json.loads(run(*line, "--beam", 5).out)
    assert "alternatives" not in best
    [kept] = json.loads(run(*line, "--keep-alternatives", 2).out)
    assert kept["caption"] == best["caption"]
    scores = [kept["score"], *(one["score"] for one in kept["alternatives"])]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert len({kept["caption"], *(one["caption"] for one in kept["alternatives"])}) == 3
    [shots] = json.loads(run(*line, "--keep-alternatives", 2, "--shots").out)
    assert [one["caption"] for one in shots["shots"][0]["alternatives"]] == [one["caption"] for one in kept["alternatives"]]


@pytest.mark.slow
def test_evaluate_says_the_same_as_caption_and_counts_facts(world: World, run, tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    answer = run("evaluate", "--model", world.model, "--split", "test", "--out", out)
    assert "retrieval, sentence to video  R@1 " in answer.out
    assert json.loads(out.read_text())["retrieval"]["video_to_sentence"]["median rank"] >= 1
    assert answer.status == 0
    assert answer.out.splitlines()[0] == f"{world.model}: {len(world.test_videos)} clips of split test"
    results = json.loads(out.read_text())
    lines = [line.split() for line in answer.out.splitlines()]
    assert ["BLEU-4", f"{100 * results['scores']['BLEU-4']:.2f}"] in lines
    recalled = sum(kind["recalled"] for kind in results["facts"].values())
    total = sum(kind["total"] for kind in results["facts"].values())
    assert " ".join(lines[-1]) == f"facts, all {100 * recalled / total:.2f} ({recalled} of {total})"
    captions = run("caption", world.corpus / "TestVideo", "--model", world.model)
    said = {Path(path).stem: caption for path, caption in (line.split("\t") for line in captions.out.splitlines())}
    assert {entry["video_id"]: entry["caption"] for entry in results["captions"]} == said


def test_settings_and_seed_on_the_line_replace_the_recipes(world: World, run, tmp_path: Path) -> None:
    answer = run("train", world.recipe, "training.epochs=1", "model.kind=lrcn", "--seed", 9, "--out", tmp_path / "run")
    assert answer.status == 0
    recipe = json.loads((tmp_path / "run" / "config.json").read_text())["recipe"]
    assert (recipe["training"]["epochs"], recipe["model"]["kind"], recipe["seed"], recipe["name"]) == (1, "lrcn", 9, "small")


# Bad input: one sentence, the exit status, nothing lost or half-written


def test_one_bad_file_does_not_stop_the_others(world: World, run, tmp_path: Path) -> None:
    text, empty, missing = tmp_path / "text.mp4", tmp_path / "empty.mp4", tmp_path / "missing.mp4"
    text.write_text("this is no video\n")
    empty.touch()
    good = world.test_videos[0]
    answer = run("caption", missing, text, good, empty, "--model", world.model)
    assert answer.status == 1
    assert [line.split("\t")[0] for line in answer.out.splitlines()] == [str(good)]
    complaints = answer.err.splitlines()
    assert [complaint.split(": ")[:2] for complaint in complaints[:3]] == [
        ["stap", str(missing)], ["stap", str(text)], ["stap", str(empty)],
    ]  # fmt: skip
    assert complaints[3:] == ["stap: 3 of 4 files could not be captioned; the reasons are above."]


def test_a_video_of_one_frame_is_captioned_with_a_warning(world: World, run, make_video) -> None:
    path = make_video(frames=1)
    answer = run("caption", path, "--model", world.model)
    assert (answer.status, answer.out.split("\t")[0]) == (0, str(path))
    assert answer.err == f"stap: warning: {path}: the video has a single frame, so there is no motion to describe.\n"


def test_no_file_at_all_needs_no_model(run, tmp_path: Path) -> None:
    answer = run("caption", tmp_path, "--model", "no-such-model")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.splitlines() == [
        f"stap: {tmp_path}: no video in this folder or below it, and files such as .mp4, .mkv, .webm or .avi were expected. "
        "Give another folder, or name the files themselves.",
        "stap: 1 of 1 files could not be captioned; the reasons are above.",
    ]


def test_a_model_that_is_not_there(world: World, run, tmp_path: Path) -> None:
    out = tmp_path / "captions.txt"
    out.write_text("from before\n")
    answer = run("caption", world.test_videos[0], "--model", tmp_path / "none", "--out", out)
    assert answer == Answer(
        1,
        "",
        f"stap: {tmp_path / 'none'}: no such folder. Give one that `stap train` wrote, or user/name on the Hugging Face Hub.\n",
    )
    assert out.read_text() == "from before\n"
    assert list(tmp_path.iterdir()) == [out]


def test_an_unwritable_result_file_is_found_before_the_work(run, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for out, sentence in (
        (file / "captions.txt", f"{file}: cannot be written (File exists). Name a folder where you may write."),
        (tmp_path, f"{tmp_path}: is a folder. Name a file to write."),
    ):
        answer = run("caption", "clip.mp4", "--model", "no-such-model", "--out", out)
        assert answer == Answer(1, "", f"stap: {sentence}\n")


@pytest.mark.parametrize("verb", ["train", "pretrain", "demo", "scenes"])
def test_an_unwritable_folder_is_found_before_the_work(verb: str, world: World, run, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    line = {
        "train": [world.recipe, "--out", file],
        "pretrain": [world.recipe, "--out", file],
        "demo": ["--out", file],
        "scenes": [file],
    }
    answer = run(verb, *line[verb])
    assert (answer.status, answer.out) == (1, "")
    assert re.fullmatch(rf"stap: {file}[^\n]*\.\n", answer.err)
    assert file.read_text() == "mine"


def test_all_problems_of_a_recipe_at_once(run, tmp_path: Path) -> None:
    recipe = tmp_path / "bad.yaml"
    recipe.write_text("trainin: {epochs: 3}\n")
    answer = run("train", recipe, "model.poling=mean", "--out", tmp_path / "run")
    assert answer == Answer(
        1,
        "",
        f"stap: {recipe}: 2 problems:\n"
        "  - model.poling: no such setting; did you mean pooling?\n"
        "  - trainin: no such setting; did you mean training?\n",
    )
    assert not (tmp_path / "run").exists()


def test_an_unknown_backbone_and_an_unknown_device(world: World, run) -> None:
    answer = run("extract", world.recipe, "features.backbone=resnet5")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.startswith("stap: features.backbone: timm has no model 'resnet5'; nearest: resnet50, ")
    answer = run("extract", world.recipe, "--device", "gpu")
    assert answer == Answer(1, "", "stap: device 'gpu': expected auto, cpu, cuda, cuda:1 (the second GPU) or mps.\n")


def test_a_bad_video_is_listed_after_the_others_are_extracted(world: World, run, tmp_path: Path) -> None:
    corpus = shutil.copytree(world.corpus, tmp_path / "corpus")
    bad = world.test_videos[0].name
    (corpus / "TestVideo" / bad).write_bytes(b"")
    line = ["extract", world.recipe, f"corpus.root={corpus}", f"features.store={tmp_path / 'store'}"]
    answer = run(*line)
    assert (answer.status, answer.out) == (1, "")
    summary, complaint = answer.err.splitlines()[-2:]
    assert summary.endswith(": 11 written, 0 already there, 1 failed.")
    assert complaint.startswith(f"stap: {Path(bad).stem}: ")
    (corpus / "TestVideo" / bad).write_bytes(world.test_videos[0].read_bytes())
    mended = run(*line)
    assert mended.status == 0
    assert mended.err.splitlines()[-1].endswith(": 1 written, 11 already there, 0 failed.")


def test_features_that_are_not_there(world: World, run, tmp_path: Path) -> None:
    answer = run("train", world.recipe, f"features.store={tmp_path / 'store'}", "--out", tmp_path / "run")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err == (
        f"stap: {tmp_path / 'store'}: no such feature store (stream grid). Run `stap extract` first, or name the folder that it filled.\n"
    )


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("captoin clip.mp4", "No such command 'captoin'"),
        ("evaluate", "Missing option '--model'"),
        ("train --out", "Option '--out' requires an argument"),
        ("scenes corpus --videos many", "Invalid value for '--videos'"),
        ("demo --fast", "No such option: --fast"),
    ],
)
def test_a_line_that_is_not_understood(run, line: str, error: str) -> None:
    answer = run(*line.split())
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.splitlines()[-1].startswith(f"Error: {error}")


# Errors of the machine


def test_a_full_disk_is_a_sentence(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    assert main_of(monkeypatch, lambda: full.write_text("x")) == 1
    assert main_of(monkeypatch, lambda: (tmp_path / "none").read_text()) == 1


def main_of(monkeypatch: pytest.MonkeyPatch, action) -> int:
    """The exit status where a command does this."""
    monkeypatch.setattr(cli, "app", lambda *_, **__: action())
    return main([])


def raising(error: BaseException):
    def action() -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(28, "No space left on device", "a.bin"), "stap: a.bin: the disk is full. Complete files are kept: free some space and run the same command again.\n"),
        (PermissionError(13, "Permission denied", "b.bin"), "stap: b.bin: Permission denied. Check that the path is right and that you may read or write it.\n"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried\nmore"), "stap: the GPU's memory is full. Try a smaller training.batch_size, or --device cpu. (CUDA out of memory. Tried)\n"),
        (StapError("clip.mp4: no."), "stap: clip.mp4: no.\n"),
    ],
)  # fmt: skip
def test_errors_become_sentences(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, sentence: str
) -> None:
    assert main_of(monkeypatch, raising(error)) == 1
    assert capsys.readouterr() == ("", sentence)


def test_the_module_is_the_command_line_for_torchrun() -> None:
    shown = subprocess.run([sys.executable, "-m", "stap.cli", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("stap ")


def test_our_own_mistakes_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        main_of(monkeypatch, raising(RuntimeError("a bug")))


# Interruption


def test_ctrl_c_says_how_to_continue(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, console.interruptible("Run the same command again."):
        raise KeyboardInterrupt
    assert ended.value.exit_code == 130
    assert capsys.readouterr() == ("", "stap: interrupted. Run the same command again.\n")


# A training that waits after each epoch, since so small a one could be over before the signal comes.
WAITING_STAP = """
import signal, sys
from stap.cli import main
from stap.commands import train

signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background has it ignored

def say_and_wait(sentence, say=train.say):
    say(sentence)
    signal.pause()

train.say = say_and_wait
sys.exit(main())
"""


@pytest.mark.slow
def test_an_interrupted_training_is_continued(world: World, run, tmp_path: Path) -> None:
    settings = ["training.epochs=3", "training.validate_every=3"]
    line = ["train", world.recipe, *settings, "--out", tmp_path / "run"]
    program = [sys.executable, "-c", WAITING_STAP, *map(str, line)]
    process = subprocess.Popen(program, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("epoch 1/3")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "stap: interrupted. Add --resume to the same command to continue after the last whole epoch.\n"
    assert len(json.loads((tmp_path / "run" / "metrics.json").read_text())["history"]) == 1
    answer = run(*line, "--resume")
    assert answer.status == 0, answer.err
    assert [line.split()[1] for line in answer.err.splitlines() if line.startswith("epoch")] == ["2/3", "3/3"]


# Results


def test_a_result_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    path.write_text("before")
    with contextlib.suppress(ZeroDivisionError), result_file(path) as file:
        file.write("half")
        raise ZeroDivisionError
    assert path.read_text() == "before"
    with result_file(path) as file:
        file.write("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    with contextlib.suppress(KeyboardInterrupt), result_file(path) as file:
        file.write("until Ctrl-C")
        raise KeyboardInterrupt
    assert path.read_text() == "until Ctrl-C"
    assert list(tmp_path.iterdir()) == [path]
    with result_file(tmp_path / "new" / "result.txt") as file:
        file.write("in a new folder")
    assert (tmp_path / "new" / "result.txt").read_text() == "in a new folder"


def test_a_device_file_is_written_and_not_replaced() -> None:
    with result_file(Path(os.devnull)) as file:
        file.write("nothing")
    assert not Path(os.devnull).is_file()


def test_a_writable_folder_is_made(tmp_path: Path) -> None:
    assert list(writable_folder(tmp_path / "a" / "b").iterdir()) == []


def test_progress_without_a_terminal_is_a_line_a_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("scenes") as report:
        for done in range(1, 41):
            report(done, 40, "video")
    assert capsys.readouterr() == ("", "".join(f"scenes: {done} of 40\n" for done in [1, *range(4, 41, 4)]))


# Every command


def test_the_commands_and_their_common_options() -> None:
    group = typer.main.get_command(app)
    assert list(group.commands) == VERBS
    for verb, command in group.commands.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--device", "--seed"} <= options, verb
        assert all(getattr(parameter, "help", None) for parameter in command.params), verb


def test_version_and_help(run) -> None:
    assert run("--version") == Answer(0, "stap 0.1.0\n", "")
    answer = run("--help")
    assert (answer.status, answer.err) == (0, "")
    assert [verb for verb in VERBS if f" {verb} " not in answer.out] == []


def test_recipes(run) -> None:
    listed = run("recipes").out.splitlines()
    names = [line.split()[0] for line in listed if line.startswith("  ")]
    assert sorted(names) == list(built_in_recipes())
    assert [line for line in listed if line.endswith(":")] == [
        "Generated scenes:", "Students:", "MSR-VTT, L-STAP and LRCN:", "MSR-VTT, STAT:", "MSVD, L-STAP and LRCN:", "MSVD, STAT:", "Pretraining:",
    ]  # fmt: skip
    assert max(map(len, listed)) <= 100
    assert "  msvd/stat                     STAT as its released code computes it" in listed
    assert "C3D's weights go to motion.weights." in run("recipes", "msvd/stat").out
    settings = run("recipes", "--settings")
    assert "training.batch_size = 64" in settings.out


def test_help_lists_options_in_groups(run) -> None:
    answer = run("score", "--help")
    headings = [line for line in answer.out.splitlines() if re.fullmatch(r"[A-Z][a-z ]+:", line)]
    assert headings == [
        "Arguments:",
        "Options:",
        "References:",
        "Comparisons:",
        "Document frequencies:",
        "Confidence intervals:",
    ]
    [group] = re.findall(r"Confidence intervals:\n((?:  .*\n?)+)", answer.out)
    assert re.findall(r"^  (--\w+)", group, re.MULTILINE) == ["--draws", "--level", "--seed"]


@pytest.mark.parametrize(
    ("verb", "group", "options"),
    [
        ("prepare", "Corpus", ["--root", "--videos", "--captions", "--available-only", "--other-counts"]),
        ("reproduce", "Rows and seeds", ["--rows", "--seeds", "--seed", "--data", "--full"]),
        ("reproduce", "MSVD and MSR-VTT", ["--root", "--videos", "--captions", "--weights", "--other-counts"]),
    ],
)
def test_help_lists_the_options_of_a_group(run, verb: str, group: str, options: list[str]) -> None:
    [lines] = re.findall(rf"{group}:\n((?:  .*\n?)+)", run(verb, "--help").out)
    assert re.findall(r"^  (--[a-z-]+)", lines, re.MULTILINE) == options


def test_help_answers_at_once_in_a_process() -> None:
    """In processor time, which a busy machine does not stretch; `stap --help` does nothing but compute."""

    def seconds() -> float:
        before = os.times()
        subprocess.run([*STAP, "--help"], capture_output=True, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(seconds() for _ in range(2)) < 0.5


@pytest.mark.slow
def test_the_installed_command(world: World, tmp_path: Path) -> None:
    """A moved model, another folder, and a pipe that is closed early."""
    stap = Path(sys.executable).with_name("stap")
    model = shutil.copytree(world.model, tmp_path / "moved")
    line = f"'{stap}' caption '{world.corpus}' --model '{model}' | head -n 1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
