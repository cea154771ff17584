"""Deleted settings: an older config.json may hold them at the value that changes nothing, a recipe never."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raising import error_of
from stap.errors import ConfigError
from stap.recipes.files import load_recipe, recipe_from_config
from stap.recipes.retired import RETIRED
from stap.recipes.settings import Recipe


def with_setting(dotted: str, value: object) -> dict[str, Any]:
    """The default recipe, as config.json holds it, with one more setting."""
    settings = Recipe().model_dump(mode="json")
    *sections, name = dotted.split(".")
    section = settings
    for part in sections:
        section = section.setdefault(part, {})
    assert name not in section, f"{dotted} is a setting"
    section[name] = value
    return settings


@pytest.mark.parametrize("dotted", RETIRED)
def test_a_config_may_hold_it_at_the_value_that_changes_nothing(dotted: str) -> None:
    assert recipe_from_config(with_setting(dotted, RETIRED[dotted].value), "config.json") == Recipe()


@pytest.mark.parametrize("dotted", RETIRED)
def test_a_recipe_may_not(dotted: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(
        ConfigError,
        match=rf"recipe\.yaml: {dotted}: this setting was deleted \(given 7\); (leave it out|its successor is .*; train again with it)$",
    ):
        load_recipe(tmp_path / "recipe.yaml", [f"{dotted}=7"])


def test_another_value_is_refused() -> None:
    settings = with_setting("model.feature_dropout", 0.1)
    assert (
        error_of(ConfigError, recipe_from_config, settings, "config.json")
        == "config.json: model.feature_dropout: this setting was deleted (given 0.1); leave it out"
    )
    assert settings["model"]["feature_dropout"] == 0.1  # the caller's dictionary is untouched
