"""`base:` in a recipe file: the lines in which a recipe differs from another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stap.errors import ConfigError
from stap.recipes.files import built_in_recipes, load_recipe
from stap.recipes.settings import Recipe


@pytest.fixture
def write(tmp_path: Path):
    """A recipe file of a name with this text."""

    def file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return file


def message(path: Path, *overrides: str) -> str:
    """The error of a recipe, with paths relative to its folder."""
    with pytest.raises(ConfigError) as error:
        load_recipe(path, overrides)
    return str(error.value).replace(f"{path.parent}/", "")


# The rule


def test_sections_are_merged_and_everything_else_is_replaced(write) -> None:
    write(
        "bases/one.yaml",
        "seed: 4\n"
        "corpus: {captions: [a.csv, b.csv]}\n"
        "features: {backbone: resnet10t, backbone_options: {output_stride: 16, stem_width: 8}, mean: [0.1, 0.2, 0.3]}\n"
        "training: {epochs: 3, optimizer: {kind: adam, learning_rate: 0.5}}\n",
    )
    path = write(
        "row.yaml",
        "base: bases/one.yaml\n"
        "corpus: {captions: [c.csv]}\n"
        "features: {backbone_options: {stem_width: 4}, mean: null}\n"
        "training: {optimizer: {learning_rate: 0.25}}\n",
    )
    recipe = load_recipe(path)
    assert recipe.seed == 4
    assert recipe.corpus.captions == (Path("c.csv"),)
    assert (recipe.features.backbone, recipe.features.backbone_options) == ("resnet10t", {"stem_width": 4})
    assert recipe.features.mean is None
    assert recipe.training.epochs == 3
    assert (recipe.training.optimizer.kind, recipe.training.optimizer.learning_rate) == ("adam", 0.25)


def test_a_built_in_base_with_sections_left_out_and_others_added(write) -> None:
    stat = load_recipe("msvd/stat")
    assert stat.motion is not None
    row = load_recipe(write("row.yaml", "base: msvd/stat\nregions: null\nmotion: {per: video}\n"))
    assert row.regions is None
    assert row.motion == stat.motion.model_copy(update={"per": "video"})
    assert (row.model, row.training, row.text) == (stat.model, stat.training, stat.text)


def test_a_base_of_a_base_is_found_from_its_own_folder(write) -> None:
    write("one/a.yaml", "seed: 1\ntext: {max_words: 11, min_count: 2}\n")
    write("two/b.yaml", "base: ../one/a.yaml\nseed: 2\n")
    recipe = load_recipe(write("c.yaml", "base: two/b.yaml\ntext: {min_count: 3}\n"))
    assert (recipe.seed, recipe.text.max_words, recipe.text.min_count) == (2, 11, 3)


def test_name_and_description_are_the_file_s_own(write) -> None:
    write("one.yaml", "name: first\ndescription: the first\n")
    assert load_recipe(write("two.yaml", "base: one.yaml\n")).name == "two"
    assert load_recipe(write("two.yaml", "base: one.yaml\n")).description == ""
    named = load_recipe(write("three.yaml", "base: one.yaml\nname: mine\ndescription: my own\n"))
    assert (named.name, named.description) == ("mine", "my own")


def test_overrides_have_the_last_word(write) -> None:
    write("one.yaml", "training: {epochs: 3, batch_size: 5}\nregions: {}\n")
    path = write("two.yaml", "base: one.yaml\ntraining: {epochs: 4}\nregions: null\n")
    recipe = load_recipe(path, ["training.epochs=6", "regions.frames=2"])
    assert (recipe.training.epochs, recipe.training.batch_size) == (6, 5)
    assert recipe.regions is not None
    assert recipe.regions.frames == 2


# Errors


def test_problems_name_the_file_that_they_are_in(write) -> None:
    write("one.yaml", "trainin: {}\ntext: {max_words: 0, min_count: 0}\n")
    path = write("two.yaml", "base: one.yaml\ntext: {min_count: -1}\nmodel: {hiden_size: 3}\n")
    one = path.parent / "one.yaml"
    assert message(path, "seed=-1") == (
        "two.yaml: 5 problems:\n"
        "  - seed: input should be greater than or equal to 0 (given -1)\n"
        "  - text.max_words: input should be greater than or equal to 1 (given 0) (in its base one.yaml)\n"
        "  - text.min_count: input should be greater than or equal to 1 (given -1)\n"
        "  - model.hiden_size: no such setting; did you mean hidden_size?\n"
        "  - trainin: no such setting; did you mean training? (in its base one.yaml)"
    )
    assert message(path, "text.max_words=-2", "trainin=3").count("(in its base") == 0
    one.write_text("a: [1, 2")
    assert message(path).startswith("one.yaml: cannot be read as YAML: ")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("base: none.yaml", "two.yaml: base: none.yaml: no such recipe file or built-in recipe"),
        ("base: msvd/sta", "two.yaml: base: msvd/sta: no such recipe file or built-in recipe; did you mean msvd/stat?"),
        ("base: [a, b]", 'two.yaml: base: expected the name of a built-in recipe or a file (given ["a", "b"]).'),
        ("base: two.yaml", "two.yaml: base: two.yaml: recipes that are based on each other (two.yaml -> two.yaml). Delete one"),
    ],
)
def test_a_base_that_cannot_be_used(write, text: str, sentence: str) -> None:
    assert message(write("two.yaml", text)).startswith(sentence)


def test_a_circle(write) -> None:
    write("one.yaml", "base: two.yaml")
    write("two.yaml", "base: ./three.yaml")
    assert message(write("three.yaml", "base: one.yaml")) == (
        "two.yaml: base: ./three.yaml: recipes that are based on each other "
        "(three.yaml -> one.yaml -> two.yaml -> three.yaml). Delete one `base`."
    )


# The built-in recipes


def leaves(settings: dict[str, Any], inherited: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each setting of a file: dotted name, its value, and the value without it. The options of a backbone are one setting."""
    for name, value in settings.items():
        is_section = isinstance(value, dict) and name != "backbone_options"
        before = inherited.get(name)
        if is_section and isinstance(before, dict) and value:
            yield from leaves(value, before, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, before


@pytest.mark.parametrize("name", built_in_recipes())
def test_a_recipe_repeats_nothing_of_its_base(name: str) -> None:
    """Nor of the defaults, where it has no base; and it leaves its name to its file."""
    own = yaml.safe_load(built_in_recipes()[name].read_text())
    base = own.pop("base", None)
    assert own.pop("description")
    assert "name" not in own
    inherited = (load_recipe(base) if base else Recipe()).model_dump(mode="json")
    assert [dotted for dotted, value, before in leaves(own, inherited) if value == before] == []
