"""The model folder: written whole, read with checks, and at home anywhere."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from raising import error_of
from stap.captioning.model_card import model_card
from stap.captioning.model_folder import (
    WEIGHTS_FILES,
    check_features,
    load_run,
    save_description,
    save_metrics,
    save_weights,
)
from stap.errors import CheckpointError, FeatureError, StapError
from stap.models.build import build_model
from stap.recipes.files import recipe_from_dict
from stap.recipes.settings import MotionSettings, Recipe, RegionSettings
from stap.recipes.streams import StreamSpec
from vocabularies import vocabulary_of

FINGERPRINT = {"grid": {"kind": "grid", "backbone": "made up", "frames": 4, "feature_size": 6}}
STREAMS = {"grid": StreamSpec.from_fingerprint("grid", FINGERPRINT["grid"])}
VOCABULARY = vocabulary_of(["a ball rises"])
COPY_AGAIN = "Copy the model folder again, whole."


@pytest.fixture
def recipe() -> Recipe:
    return recipe_from_dict(
        {"name": "tiny", "model": {"hidden_size": 3, "attention_size": 2, "embedding_size": 2, "matching_weight": 0}}
    )


@pytest.fixture
def folder(tmp_path: Path, recipe: Recipe) -> Path:
    folder = tmp_path / "run"
    torch.manual_seed(1)
    model = build_model(recipe.model, {"grid": StreamSpec("grid", 6)}, vocabulary_size=len(VOCABULARY))
    save_description(folder, recipe, VOCABULARY, STREAMS)
    save_weights(folder, model)
    save_metrics(folder, recipe, {"best": {"epoch": 2, "scores": {"CIDEr": 0.5}}, "history": [{"epoch": 2}]})
    return folder


def test_write_and_read(folder: Path, recipe: Recipe) -> None:
    run = load_run(folder)
    assert (run.recipe, run.vocabulary, run.streams, run.folder) == (recipe, VOCABULARY, STREAMS, folder)
    assert not run.model.training
    torch.manual_seed(1)
    expected = build_model(recipe.model, {"grid": StreamSpec("grid", 6)}, vocabulary_size=len(VOCABULARY)).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in run.model.state_dict().items())
    versions = json.loads((folder / "config.json").read_text())["versions"]
    assert versions["torch"] == torch.__version__.partition("+")[0]
    assert list(versions) == ["python", "stap", "torch", "timm", "numpy"]
    assert not list(folder.glob("*.tmp")) + list(folder.glob(".*"))


def test_a_folder_written_before_a_setting_was_deleted_loads(folder: Path, recipe: Recipe) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["recipe"]["model"]["feature_dropout"] = 0.0
    (folder / "config.json").write_text(json.dumps(config))
    assert load_run(folder).recipe == recipe


def test_backbone_comes_along_and_moves_with_the_folder(folder: Path, recipe: Recipe, tmp_path: Path) -> None:
    weights = tmp_path / "elsewhere" / "net.safetensors"
    weights.parent.mkdir()
    save_file({"stem": torch.arange(3.0)}, weights)
    features = recipe.features.model_copy(update={"weights": str(weights)})
    save_description(folder, recipe.model_copy(update={"features": features}), VOCABULARY, STREAMS, {"features": weights})
    weights.unlink()
    moved = folder.rename(tmp_path / "moved")
    path = Path(load_run(moved).recipe.features.weights)
    assert path == moved / "backbone.safetensors"
    assert load_file(path)["stem"].tolist() == [0, 1, 2]
    assert str(tmp_path) not in (moved / "config.json").read_text()


def test_features_made_another_way_are_refused(folder: Path) -> None:
    run = load_run(folder)
    check_features(run, STREAMS)
    assert error_of(
        FeatureError,
        check_features,
        run,
        {"grid": StreamSpec.from_fingerprint("grid", FINGERPRINT["grid"] | {"frames": 8, "backbone": "other"})},
    ) == (
        f"{folder}: these features differ from those of training: "
        'stream grid: backbone: expected "made up", found "other"; stream grid: frames: expected 4, found 8. '
        "Extract them with the backbone, weights and settings in features.json of the model folder."
    )


def test_every_difference_is_named_with_its_stream(folder: Path) -> None:
    run = load_run(folder)
    motion = StreamSpec("motion", 600)
    with pytest.raises(FeatureError, match=r"training: stream motion: unknown to the model\. Extract"):
        check_features(run, STREAMS | {"motion": motion})
    with pytest.raises(FeatureError, match=r"training: stream grid: missing; stream motion: unknown to the model\. Extract"):
        check_features(run, {"motion": motion})


def test_weights_of_every_extractor_come_along(folder: Path, recipe: Recipe, tmp_path: Path) -> None:
    sections = {"features": recipe.features, "motion": MotionSettings(), "regions": RegionSettings()}
    files = {}
    for number, section in enumerate(sections):
        files[section] = tmp_path / f"{number}.safetensors"
        save_file({"stem": torch.tensor([float(number)])}, files[section])
        sections[section] = sections[section].model_copy(update={"weights": str(files[section])})
    save_description(folder, recipe.model_copy(update=sections), VOCABULARY, STREAMS, files)
    moved = folder.rename(tmp_path / "moved")
    loaded = load_run(moved).recipe
    for number, (section, name) in enumerate(WEIGHTS_FILES.items()):
        path = Path(getattr(loaded, section).weights)
        assert path == moved / name
        assert load_file(path)["stem"].tolist() == [number]
    assert str(tmp_path) not in (moved / "config.json").read_text()


FORMER_OFF = {"location_bias": 0.0, "frame_bias": 0.0, "frame_differences": False, "grid_shift": 0}


def as_written_before(folder: Path, **former: Any) -> Path:
    """The folder with the settings that earlier versions wrote, and without those of this one."""
    content = json.loads((folder / "config.json").read_text())
    del content["recipe"]["model"]["inputs"]
    content["recipe"]["model"].update(FORMER_OFF | former)
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def test_a_folder_of_an_earlier_version_loads_where_its_former_settings_did_nothing(folder: Path, recipe: Recipe) -> None:
    weights = load_run(folder).model.state_dict()
    run = load_run(as_written_before(folder))
    assert run.recipe == recipe
    assert all(torch.equal(tensor, weights[name]) for name, tensor in run.model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "value", "replaced_by"),
    [
        ("location_bias", 2.0, "place_embedding"),
        ("frame_bias", 0.5, "time_embedding"),
        ("frame_differences", True, "differences"),
        ("grid_shift", 1, "shift"),
    ],
)
def test_a_folder_of_an_earlier_version_that_used_them_must_be_trained_again(
    folder: Path, name: str, value: Any, replaced_by: str
) -> None:
    assert error_of(CheckpointError, load_run, as_written_before(folder, **{name: value})) == (
        f"{folder / 'config.json'}: model.{name}: this setting was deleted (given {json.dumps(value)}); "
        f"its successor is model.inputs.{replaced_by}; train again with it\n"
        "Load the folder with the version of stap that config.json names."
    )


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "features.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert error_of(CheckpointError, load_run, folder) == f"{folder / name}: no such file. {COPY_AGAIN}"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert (
        error_of(CheckpointError, load_run, tmp_path / "nowhere")
        == f"{tmp_path / 'nowhere'}: no such folder. Expected a model folder, as `stap train` writes it."
    )


def edit_json(name: str, edit: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        edit(content)
        (folder / name).write_text(json.dumps(content))

    return change


def edit_weights(edit: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        edit(weights)
        save_file(weights, folder / "model.safetensors")

    return change


def cut(name: str, length: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:length]) and None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            cut("config.json", 1),
            f"config.json: not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)). {COPY_AGAIN}",
        ),
        (edit_json("config.json", dict.clear), f"config.json: 'recipe' is missing. {COPY_AGAIN}"),
        (
            edit_json("config.json", lambda content: content["recipe"]["model"].update(hiden_size=3)),
            "config.json: model.hiden_size: no such setting; did you mean hidden_size?\n"
            "Load the folder with the version of stap that config.json names.",
        ),
        (
            edit_json("features.json", lambda content: content["grid"].update(feature_size="6")),
            f"features.json: feature_size of the stream grid is '6', expected a whole number from 1. {COPY_AGAIN}",
        ),
        (
            lambda folder: (folder / "features.json").write_text(json.dumps(FINGERPRINT["grid"])),
            "features.json: holds one fingerprint, as stap wrote it before models could have several streams of features; expected one for "
            "each stream. Train the model again.",
        ),
        (
            edit_json("features.json", lambda content: content.update(motion=[600])),
            f"features.json: motion holds a list, expected an object. {COPY_AGAIN}",
        ),
        (lambda folder: (folder / "features.json").write_text("[]"), f"features.json: holds a list, expected an object. {COPY_AGAIN}"),
        (
            lambda folder: (folder / "features.json").write_bytes(b"\xff"),
            "features.json: cannot be read ('utf-8' codec can't decode byte 0xff in position 0: invalid start byte). " + COPY_AGAIN,
        ),
        (
            edit_json("vocabulary.json", lambda content: content["words"].append("ball")),
            "vocabulary.json: a vocabulary must hold each word once; this one repeats ball.",
        ),
        (
            edit_json("vocabulary.json", lambda content: content["words"].append("cube")),
            "model.safetensors: does not fit config.json, vocabulary.json and features.json: "
            "of another shape: decoder.output.weight [7, 3] where [8, 3] is needed, embedding.weight [7, 2] where [8, 2] is needed. "
            + COPY_AGAIN,
        ),
        (
            edit_weights(lambda weights: weights.update(extra=weights.pop("embedding.weight"))),
            "model.safetensors: does not fit config.json, vocabulary.json and features.json: "
            f"missing: embedding.weight; unexpected: extra. {COPY_AGAIN}",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_named(folder: Path, change: Callable[[Path], None], message: str) -> None:
    change(folder)
    assert error_of(CheckpointError, load_run, folder) == f"{folder}/{message}"


def test_truncated_weights_are_refused(folder: Path) -> None:
    cut("model.safetensors", 300)(folder)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged \(.+\)\. Copy the model folder again, whole\.$"):
        load_run(folder)


def test_a_pickle_is_never_read(folder: Path) -> None:
    torch.save({"embedding.weight": torch.zeros(7, 2)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged"):
        load_run(folder)


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "run").write_text("notes")
    assert error_of(CheckpointError, save_description, tmp_path / "run", recipe, VOCABULARY, STREAMS) == (
        f"{tmp_path / 'run/config.json'}: cannot be written (File exists). What was there before is kept; "
        "make room or choose another folder, and run again."
    )


def test_model_card_shows_html_of_strangers_as_text(recipe: Recipe) -> None:
    hostile = "a\n<script>alert(1)</script> \x1b[31m & &lt; <b"
    named = recipe.model_copy(update={"name": hostile, "description": hostile})
    card = model_card(named, {})
    shown = "&lt;script&gt;alert(1)&lt;/script&gt; \\x1b[31m & &amp;lt; &lt;b"
    assert f"\n# a {shown}\n\na\n{shown}\n" in card
    assert "<" not in card


def test_model_card_says_what_it_is_and_how_to_use_it(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: stap\n")
    assert "\n# tiny\n" in card
    assert "stap caption video.mp4 --model" in card
    assert "| CIDEr | 50.0 |" in card


@pytest.mark.parametrize(
    "given", ["/etc/passwd", "../other/net.safetensors", "net.pth", "motion.safetensors", "backbone.safetensors/../x", ""]
)
def test_a_folder_names_no_weights_outside_of_itself(folder: Path, given: str) -> None:
    edit_json("config.json", lambda content: content["recipe"]["features"].update(weights=given))(folder)
    assert error_of(CheckpointError, load_run, folder) == (
        f"{folder}/config.json: features.weights is {given!r}, and a model folder names no file outside of itself; expected "
        "backbone.safetensors, or pretrained or random. Train again, or copy the weights there as safetensors and correct the line."
    )


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "features.json", "model.safetensors"])
def test_a_link_out_of_the_folder_is_not_followed(folder: Path, name: str, tmp_path: Path) -> None:
    (folder / name).rename(tmp_path / "private")
    (folder / name).symlink_to("../private")
    assert error_of(CheckpointError, load_run, folder) == (
        f"{folder}/{name}: a link out of the folder, and a model folder holds its own files. Copy the file there."
    )


def test_the_hub_s_cache_and_a_link_to_the_folder_are_read(folder: Path, tmp_path: Path) -> None:
    """The Hub's client keeps files as blobs, and a snapshot of links to them."""
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (tmp_path / "models--a--b" / "blobs").mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(tmp_path / "models--a--b" / "blobs" / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    load_run(snapshot)
    (tmp_path / "model").symlink_to(snapshot)
    load_run(tmp_path / "model")


@pytest.mark.parametrize(
    "change",
    [
        edit_json("config.json", lambda content: content["recipe"]["model"].update(hidden_size=10**5)),
        edit_json("config.json", lambda content: content["recipe"]["model"].update(hidden_size=10**9)),
        edit_json("config.json", lambda content: content["recipe"]["model"].update(embedding_size=10**18)),
        edit_json("config.json", lambda content: content["recipe"]["model"].update(attention_size=10**12)),
        edit_json("features.json", lambda content: content["grid"].update(feature_size=10**10)),
        edit_json("features.json", lambda content: content["grid"].update(feature_size=10**30)),
        edit_json("vocabulary.json", lambda content: content["words"].extend(f"w{number}" for number in range(10**5))),
    ],
)
def test_sizes_are_compared_with_the_weights_before_memory_is_taken(folder: Path, change: Callable[[Path], None]) -> None:
    change(folder)
    tracemalloc.start()
    try:
        message = error_of(StapError, load_run, folder)
        assert tracemalloc.get_traced_memory()[1] < 5e7
    finally:
        tracemalloc.stop()
    assert "does not fit config.json" in message or "cannot be built in these sizes" in message
    assert len(message) < 2000


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "features.json"])
@pytest.mark.parametrize(
    "text", ["[" * 100_000, "9" * 5000, '{"recipe": NaN}', "{}", "null", '{"grid": {"feature_size": 1e400}}']
)
def test_json_of_any_kind_is_one_sentence(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    assert error_of(CheckpointError, load_run, folder).startswith(str(folder))


def test_a_named_pipe_is_not_waited_for(folder: Path) -> None:
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        assert (
            error_of(CheckpointError, load_run, folder)
            == f"{folder}/{name}: a named pipe, and a file was expected. {COPY_AGAIN}"
        )
