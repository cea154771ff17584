"""A captioner by its name: either kind, by config.json; what is fetched, and a sentence for everything that is no captioner."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import IncompleteSnapshotError

import stap
from raising import error_of
from stap.cli import main
from stap.errors import CheckpointError, ConfigError, MissingDependencyError
from stap.features.offline import OFFLINE
from stap.teachers import loading
from stap.teachers.captioner import TransformersCaptioner
from stap.teachers.default import ON_CPU, ON_GPU, default_model
from stap.teachers.loading import load

Teacher = Callable[[str], Path]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def copy(teacher: Teacher, tmp_path: Path) -> Path:
    return Path(shutil.copytree(teacher("git"), tmp_path / "copy"))


def edit(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_the_public_load_takes_either_kind(teacher: Teacher) -> None:
    assert stap.load is load
    assert isinstance(load(teacher("git"), "cpu"), TransformersCaptioner)


def test_a_model_without_pictures_is_no_captioner(copy: Path) -> None:
    edit(copy, model_type="bert")
    assert error_of(CheckpointError, load, copy, "cpu") == (
        f"{copy}: is no captioner (model type bert): transformers has no model of this type that writes text about pictures. Choose another one, "
        "such as microsoft/git-base-vatex."
    )


def test_code_of_a_repository_is_never_run(copy: Path) -> None:
    edit(copy, model_type="theirs", auto_map={"AutoModelForImageTextToText": "modeling.Model"})
    (copy / "modeling.py").write_text("raise SystemExit('was run')")
    assert error_of(CheckpointError, load, copy, "cpu") == (
        f"{copy}: needs code of its own repository (model type theirs), which stap never runs. Choose a captioner that transformers itself has, "
        "such as microsoft/git-base-vatex."
    )
    edit(copy, model_type="git")  # transformers has the type, so the code plays no part
    assert isinstance(load(copy, "cpu"), TransformersCaptioner)


def test_other_weights_than_safetensors_are_not_read(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    torch.save({}, copy / "pytorch_model.bin")
    assert error_of(CheckpointError, load, copy, "cpu") == (
        f"{copy}: has no weights as safetensors, and other weights files may run code, so stap does not read them. Choose another revision "
        "(user/name@revision) or model."
    )


def test_half_a_download(copy: Path) -> None:
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    said = error_of(CheckpointError, load, copy, "cpu")
    assert said.startswith(f"{copy}: only a part of it is here (model.safetensors: ")
    assert said.endswith("Run again with a network to complete the download, or copy the folder again.")
    (copy / "model.safetensors").write_bytes(weights)
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "(model-00002-of-00002.safetensors is missing)" in error_of(CheckpointError, load, copy, "cpu")


def test_weights_that_lack_a_tensor_are_refused(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["output.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert error_of(CheckpointError, load, copy, "cpu") == (
        f"{copy}: its weights lack 1 tensors of the model (output.weight ...). Get the model again."
    )


def test_a_model_without_its_tokenizer(copy: Path) -> None:
    for path in copy.glob("tokenizer*"):
        path.unlink()
    assert error_of(CheckpointError, load, copy, "cpu") == (
        f"{copy}: only a part of it is here (the files of its tokenizer are missing). Run again with a network to complete the download, or copy "
        "the folder again."
    )


def test_a_model_without_its_processor(copy: Path) -> None:
    for path in copy.glob("*processor*"):
        path.unlink()
    said = error_of(CheckpointError, load, copy, "cpu")
    assert said.startswith(f"{copy}: cannot be loaded (")
    assert said.endswith("Get the model again, or choose another one.")
    assert "\n" not in said


def test_a_question_to_a_model_that_does_not_chat(teacher: Teacher) -> None:
    assert error_of(ConfigError, load, teacher("git"), "cpu", prompt="What?") == (
        f"--prompt: {teacher('git')} does not chat, so it takes no question. Leave --prompt out, or choose a model that chats."
    )


def test_the_licence_is_that_of_the_card(copy: Path) -> None:
    captioner: Any = load(copy, "cpu")
    assert captioner.files.licence == "mit"
    (copy / "README.md").unlink()
    captioner = load(copy, "cpu")
    assert captioner.files.licence is None


# The Hub


@pytest.fixture
def hub(teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A Hub with one model; what it was asked for."""
    asked: list[dict[str, Any]] = []
    folder = tmp_path / "snapshots" / COMMIT
    shutil.copytree(teacher("git"), folder)

    def snapshot_download(repository: str, **options: Any) -> str:
        asked.append({"repository": repository, **options})
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.delenv(OFFLINE, raising=False)
    return asked


def test_from_the_hub_the_revision_is_resolved_first_and_recorded(hub: list[dict[str, Any]]) -> None:
    captioner: Any = load("someone/theirs@main", "cpu")
    assert [one.get("revision") for one in hub] == ["main", "main", COMMIT]
    assert {one["repository"] for one in hub} == {"someone/theirs"}
    assert [any("safetensors" in pattern for pattern in one["allow_patterns"]) for one in hub] == [False, False, True]
    fetched = {pattern for one in hub for pattern in one["allow_patterns"]}
    assert not any(pattern.endswith((".bin", ".py", ".pt", ".h5", "*")) for pattern in fetched)
    assert (captioner.files.name, captioner.files.revision) == ("someone/theirs", COMMIT)
    assert captioner.fingerprint["revision"] == COMMIT


def test_offline_the_cache_is_asked_and_nothing_else(hub: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OFFLINE, "1")
    load("someone/theirs", "cpu")
    assert [one["local_files_only"] for one in hub] == [True] * 3


def test_a_download_that_was_cut_short_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: Any, **__: Any) -> NoReturn:
        raise IncompleteSnapshotError("incomplete", snapshot_path="")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cut)
    monkeypatch.setenv(OFFLINE, "1")
    assert error_of(CheckpointError, load, "someone/theirs", "cpu") == (
        "someone/theirs: only a part of it is in the cache of the Hugging Face Hub on this machine; its download was cut short. Run again with "
        "a network, and it is completed."
    )


def test_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> NoReturn:
        raise OSError("No route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    monkeypatch.delenv(OFFLINE, raising=False)
    assert error_of(CheckpointError, load, "someone/theirs@v1", "cpu") == (
        "someone/theirs@v1: no such folder, and no such model on the Hugging Face Hub (No route to host). Check the name and the network."
    )


# Without a name


def test_the_default_suits_the_device() -> None:
    assert default_model(torch.device("cpu"), lambda _: 10**12) is ON_CPU
    assert default_model(torch.device("cuda"), lambda _: 20 * 10**9) is ON_GPU
    assert default_model(torch.device("cuda"), lambda _: 4 * 10**9) is ON_CPU
    assert str(ON_CPU) == (
        "no --model: captioning with microsoft/git-base-vatex (licence MIT, 0.7 GB, fetched from the Hugging Face Hub unless this machine has it)."
    )


def test_the_command_says_which_model_before_anything_is_fetched(
    make_video: Callable[..., Path], teacher: Teacher, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said_before: list[str] = []

    def fetch(name: str, files: Any) -> Path:
        said_before.append(capsys.readouterr().err)
        return teacher("git")

    for module in ("stap.teachers.loading", "stap.teachers.model_files"):
        monkeypatch.setattr(f"{module}.from_hub", fetch)
    video = make_video("a.mp4")
    assert main(["caption", str(video), "--device", "cpu", "--beam", "1", "--format", "json"]) == 0
    assert said_before[0] == f"stap: {ON_CPU}\n"
    [caption] = json.loads(capsys.readouterr().out)
    assert caption["model"] == "microsoft/git-base-vatex"
    assert main(["caption", str(video), "--device", "cpu", "--sample", "--temperature", "0.5", "--seed", "3"]) == 0
    drawn = capsys.readouterr().out
    assert main(["caption", str(video), "--device", "cpu", "--sample", "--temperature", "0.5", "--seed", "3"]) == 0
    assert capsys.readouterr().out == drawn != ""


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--temperature", "0.5"], "--temperature 0.5: expected --sample, and a temperature above 0."),
        (["--sample", "--temperature", "0"], "--temperature 0: expected --sample, and a temperature above 0."),
        (["--sample", "--beam", "2"], "--sample draws words and --beam searches for them. Give one of the two."),
    ],
)
def test_options_that_do_not_go_together(
    make_video: Callable[..., Path], options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["caption", str(make_video("a.mp4")), "--model", "m", *options]) == 1
    assert capsys.readouterr().err == f"stap: {sentence}\n"


def test_without_the_extra_the_sentence_says_what_to_install(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == "transformers" else found(name))
    advice = "and the package transformers is not installed. Install it with: pip install 'stap[teacher]'; or name a model folder of stap with --model."
    assert error_of(MissingDependencyError, load, teacher("git"), "cpu") == (
        f"{teacher('git')} is a captioner of transformers, {advice}"
    )
    assert error_of(MissingDependencyError, loading.suggested, "cpu") == (
        f"without --model, microsoft/git-base-vatex captions, {advice}"
    )


@pytest.mark.slow
def test_without_the_extra_our_own_models_work() -> None:
    """Nothing but a captioner of transformers imports it."""
    script = (
        "import sys; sys.modules['transformers'] = sys.modules['tokenizers'] = None\n"
        "import stap, stap.teachers.loading, stap.captioning.captioner, stap.cli\n"
        "from stap.errors import CheckpointError\n"
        "try:\n    stap.load('no/such/folder', 'cpu')\nexcept CheckpointError as error:\n    print(error)\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("no/such/folder: no such folder. Give one that `stap train` wrote")
