"""Recipes: defaults of the paper, overrides, and all problems at once with the nearest valid name."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stap.commands.recipes import setting_lines
from stap.errors import ConfigError
from stap.recipes.files import built_in_recipes, load_recipe, recipe_from_dict, recipe_to_yaml
from stap.recipes.settings import MotionSettings, Recipe, RegionSettings, VideoLimits


@pytest.fixture
def write(tmp_path: Path):
    """A recipe file with this text."""

    def file(text: str) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return file


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_recipe(path, overrides)
    return str(error.value).replace(str(path), "recipe.yaml")


def test_the_defaults_are_those_of_the_paper(write) -> None:
    recipe = load_recipe(write(""))
    assert (recipe.model.hidden_size, recipe.model.attention_size, recipe.model.embedding_size) == (1024, 256, 300)
    assert (recipe.model.dropout, recipe.model.matching_weight, recipe.model.margin) == (0.5, 0.4, 0.2)
    optimizer = recipe.training.optimizer
    assert (optimizer.kind, optimizer.learning_rate, optimizer.decay, optimizer.epsilon) == ("rmsprop", 1e-4, 0.9, 1e-10)
    assert (recipe.training.batch_size, recipe.training.captions_per_video, recipe.training.clip_norm) == (64, 1, 5.0)
    assert (recipe.features.backbone, recipe.features.frames, recipe.features.image_size) == ("resnet152", 30, 224)
    assert (recipe.text.max_words, recipe.text.vocabulary_size) == (30, None)


def test_a_recipe_written_out_is_the_same_recipe(write) -> None:
    recipe = load_recipe(write("name: mine\nfeatures: {mean: [0.1, 0.2, 0.3], store: somewhere}\ntraining: {epochs: 3}\n"))
    assert load_recipe(write(recipe_to_yaml(recipe))) == recipe
    assert recipe_from_dict(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize("name", sorted(built_in_recipes()))
def test_a_built_in_recipe_is_valid_and_says_what_it_is(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description


def test_overrides(write) -> None:
    path = write("training: {epochs: 3, optimizer: {kind: adam}}\n")
    recipe = load_recipe(
        path,
        [
            "training.epochs=7",
            "training.optimizer.learning_rate=2e-3",
            "corpus.root=/data/my videos",
            "seed=5",
            "text.vocabulary_size=null",
        ],
    )
    assert recipe.training.epochs == 7
    assert (recipe.training.optimizer.kind, recipe.training.optimizer.learning_rate) == ("adam", 0.002)
    assert recipe.corpus.root == Path("/data/my videos")
    assert recipe.seed == 5


def test_a_setting_of_pretraining_s_optimizer_leaves_its_others_alone(write) -> None:
    optimizer = load_recipe(write(""), ["pretraining.optimizer.learning_rate=0.25"]).pretraining.optimizer
    assert optimizer == Recipe().pretraining.optimizer.model_copy(update={"learning_rate": 0.25})
    assert optimizer.kind == "adam"


def test_text_of_several_lines_is_written_as_such() -> None:
    text = recipe_to_yaml(Recipe(description="STAT\nas its code computes it"))
    assert "description: |-\n  STAT\n  as its code computes it\nseed: 1\n" in text
    assert yaml.safe_load(text)["description"] == "STAT\nas its code computes it"


def test_all_problems_at_once_with_the_nearest_valid_name(write) -> None:
    path = write("trainin: {}\ntraining: {epoch: 3, batch_size: 0}\nmodel: {kind: lstm, pooling: mean}\n")
    assert message(path, "features.bakcbone=resnet18", "training.optimizer.learning_rate=fast") == (
        "recipe.yaml: 6 problems:\n"
        "  - features.bakcbone: no such setting; did you mean backbone?\n"
        "  - model.kind: input should be 'lstap', 'lrcn', 'stat', 'stat-mm17' or 'lstap-stat' (given \"lstm\")\n"
        '  - training.optimizer.learning_rate: input should be a valid number, unable to parse string as a number (given "fast")\n'
        "  - training.batch_size: input should be greater than or equal to 1 (given 0)\n"
        "  - training.epoch: no such setting; did you mean epochs?\n"
        "  - trainin: no such setting; did you mean training?"
    )


@pytest.mark.parametrize(
    ("text", "overrides", "sentence"),
    [
        ("training: {epoch: 3}", (), "recipe.yaml: training.epoch: no such setting; did you mean epochs?"),
        ("- a\n- b\n", (), "recipe.yaml: holds a list, expected settings in sections (name, description, seed, corpus, text, features, motion, regions, pretraining, model, training, decoding)."),
        ("model: {kind: stat, stat: {positions: }}", (), 'recipe.yaml: model: stat.positions is empty, so the padding depends on the other videos of a batch; set stat.mask_attention: true (given {"kind": "stat", "stat": {"positions": null}})'),
        ("model: {kind: stat, inputs: {place_embedding: 0.3}}", (), 'recipe.yaml: model: inputs is for a grid; set stat.global_from or stat.local_from to grid, or leave inputs out (given {"kind": "stat", "inputs": {"place_embedding": 0.3}})'),
        ("model: {grid_shift: 1}", (), "recipe.yaml: model.grid_shift: this setting was deleted (given 1); its successor is model.inputs.shift; train again with it"),
        ("model: {inputs: {shifts: 1}}", (), "recipe.yaml: model.inputs.shifts: no such setting; did you mean shift?"),
        ("training: {optimizer: {kind: muon, weight_decay: 0.1}}", (), 'recipe.yaml: training.optimizer: muon has no weight decay here; set weight_decay: 0, or use training.l2 (given {"kind": "muon", "weight_decay": 0.1})'),
        ("model: {kind: stat, inputs: {differences: true}, stat: {local_from: grid}}", (), 'recipe.yaml: model: inputs.differences is for recurrent encoders; set stat.motion_from: differences, or inputs.differences: false (given {"kind": "stat", "inputs": {"differences": true}, "stat":...)'),
        ("model: {kind: stat-mm17, stat: {project_global: true}}", (), 'recipe.yaml: model: stat-mm17 projects nothing; set stat.project_global: false, or use kind: stat (given {"kind": "stat-mm17", "stat": {"project_global": true}})'),
        ("", ("training.epochs",), "'training.epochs': expected section.key=value, for example training.epochs=20."),
        ("", ("=3",), "'=3': expected section.key=value, for example training.epochs=20."),
        ("seed: 4", ("seed.epochs=3",), "'seed.epochs=3': seed is a single setting, not a section."),
    ],
)  # fmt: skip
def test_one_problem_is_one_sentence(write, text: str, overrides: tuple[str, ...], sentence: str) -> None:
    assert message(write(text), *overrides) == sentence


def test_text_that_is_not_yaml(write) -> None:
    assert message(write("a: [1, 2")).startswith("recipe.yaml: cannot be read as YAML: ")
    assert message(write("a: [1, 2")).endswith("Expected `section:` lines with settings under them.")


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(ConfigError) as error:
        load_recipe("no-such-recipe")
    assert str(error.value).startswith("no-such-recipe: no such recipe file or built-in recipe")
    assert f"Built in: {', '.join(built_in_recipes())}." in str(error.value)


def test_settings_are_frozen(write) -> None:
    recipe = load_recipe(write(""))
    with pytest.raises(ValueError, match="frozen"):
        recipe.training.epochs = 3


def test_every_setting_is_listed_with_its_default() -> None:
    listed = [line.partition("  ") for line in setting_lines(Recipe()) if " = " in line]
    defaults = dict(head.split(" = ") for head, _, _ in listed)
    whole = Recipe(motion=MotionSettings(), regions=RegionSettings())  # the sections that a recipe may leave out
    expected = _leaves(whole.model_dump(mode="json"))
    assert {name: json.loads("null" if value == "(empty)" else value) for name, value in defaults.items()} == expected
    assert defaults["pretraining.optimizer.kind"] == '"adam"'
    assert all(description.strip() not in ("", "None") for _, _, description in listed)


def _leaves(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in settings.items():
        is_section = isinstance(value, dict) and name not in ("backbone_options", "imported")
        leaves |= _leaves(value, f"{prefix}{name}.") if is_section else {f"{prefix}{name}": value}
    return leaves


def test_many_files_are_decoded_in_processes_of_their_own() -> None:
    limits = VideoLimits(seconds=7)
    assert limits.for_files(99) == limits
    assert limits.for_files(100) == VideoLimits(seconds=7, isolate=True)
    assert VideoLimits(isolate=True).for_files(1).isolate
