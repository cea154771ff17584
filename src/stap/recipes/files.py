"""Recipes as files: found by name, read with overrides, checked as a whole, and written.

Everything is checked, and all problems are told at once, with the nearest valid name.
"""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from stap.errors import ConfigError
from stap.recipes.retired import RETIRED, without_retired
from stap.recipes.settings import Recipe

__all__ = ["built_in_recipes", "load_recipe", "recipe_from_config", "recipe_from_dict", "recipe_to_yaml"]


def built_in_recipes() -> dict[str, Path]:
    """The recipes that come with stap: name ('msvd/lstap-mean') to file."""
    folder = Path(__file__).parent
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A checked recipe from a YAML file or a built-in name, with `section.key=value` overrides.

    Raises ConfigError that lists every problem with the nearest valid name.
    """
    path = _recipe_path(name_or_path)
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(
            f"{path}: cannot be read as YAML: {' '.join(str(error).split())}. Expected `section:` lines with settings under them."
        ) from error
    settings = {} if settings is None else settings
    if not isinstance(settings, dict):
        raise ConfigError(
            f"{path}: holds a {type(settings).__name__}, expected settings in sections ({', '.join(Recipe.model_fields)})."
        )
    for override in overrides:
        _apply_override(settings, override)
    return recipe_from_dict(settings, source=str(path))


def recipe_from_dict(settings: dict[str, Any], source: str = "recipe") -> Recipe:
    """A checked recipe from nested dictionaries (what `recipe.model_dump(mode='json')` gives). Raises ConfigError."""
    try:
        return Recipe.model_validate(settings)
    except ValidationError as error:
        problems = [_problem(item["loc"], item["type"], item["msg"], item.get("input")) for item in error.errors()]
        raise ConfigError(_listed(source, problems)) from error


def recipe_from_config(settings: dict[str, Any], source: str) -> Recipe:
    """A checked recipe from the config.json of a run, which an older version may have written.

    Deleted settings (`stap.recipes.retired`) are ignored at the value that changes nothing. Raises ConfigError at any other.
    """
    return recipe_from_dict(without_retired(settings), source)


def recipe_to_yaml(recipe: Recipe) -> str:
    """The whole recipe as YAML, every default written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _recipe_path(name_or_path: str | Path) -> Path:
    built_in = built_in_recipes()
    if str(name_or_path) in built_in:
        return built_in[str(name_or_path)]
    path = Path(name_or_path)
    if path.is_file():
        return path
    near = _nearest(str(name_or_path), built_in)
    raise ConfigError(f"{name_or_path}: no such recipe file or built-in recipe{near}. Built in: {', '.join(built_in)}.")


def _apply_override(settings: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"{override!r}: expected section.key=value, for example training.epochs=20.")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"{override!r}: the value cannot be read: {' '.join(str(error).split())}.") from error
    if isinstance(parsed, str):  # YAML 1.1 reads 1e-4 as text; people mean the number
        with contextlib.suppress(ValueError):
            parsed = float(parsed)
    *sections, name = key.split(".")
    for section in sections:
        settings = settings.setdefault(section, {})
        if not isinstance(settings, dict):
            raise ConfigError(f"{override!r}: {section} is a single setting, not a section.")
    settings[name] = parsed


def _problem(location: tuple[int | str, ...], kind: str, message: str, given: object) -> str:
    dotted = ".".join(str(part) for part in location)
    if kind == "extra_forbidden" and dotted in RETIRED:
        return f"{dotted}: this setting was deleted (given {json.dumps(given, default=str)}); leave it out"
    if kind == "extra_forbidden":
        *sections, name = (str(part) for part in location)
        known = _keys_of(sections)
        return f"{dotted}: no such setting{_nearest(name, known)}"
    shown = json.dumps(given, default=str)
    message = message.removeprefix("Value error, ")
    return f"{dotted}: {message[0].lower()}{message[1:]} (given {shown if len(shown) <= 60 else shown[:57] + '...'})"


def _keys_of(sections: Sequence[str]) -> Iterable[str]:
    model: type[BaseModel] = Recipe
    for section in sections:
        field = model.model_fields.get(section)
        candidates = (field.annotation, *get_args(field.annotation)) if field else ()
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), Recipe)
    return model.model_fields


def _nearest(name: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]}?" if matches else ""


def _listed(source: str, problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return f"{source}: {problems[0]}"
    return f"{source}: {len(problems)} problems:\n" + "\n".join(f"  - {problem}" for problem in problems)
