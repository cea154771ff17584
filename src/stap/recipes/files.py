"""Recipes as files: found by name, merged with their bases and overrides, checked as a whole, and written.

A recipe with `base: msvd/stat` holds the lines in which it differs from that one. Errors list all problems at once, each with the
nearest valid name.
"""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from stap.errors import ConfigError
from stap.files import one_line, read_bytes
from stap.recipes.retired import RETIRED, without_retired
from stap.recipes.settings import Recipe, section_of
from stap.recipes.yaml_text import parse_yaml

__all__ = ["built_in_recipes", "load_recipe", "recipe_from_config", "recipe_from_dict", "recipe_to_yaml"]

_FOLDER = Path(__file__).parent
_Files = list[tuple[Path, dict[str, Any]]]  # a recipe file, its base, the base of that ..., each with its own settings


def built_in_recipes() -> dict[str, Path]:
    """The recipes that come with stap: name ('msvd/lstap-mean') to file."""
    return dict(sorted((_built_in_name(path), path) for path in _FOLDER.rglob("*.yaml")))


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A checked recipe from a YAML file or a built-in name, with `section.key=value` overrides.

    `base:` in a file names the built-in recipe, or the file relative to this one, that the file differs from: sections are merged, any
    other value replaces the base's, and `regions: null` leaves a section out. Name and description are not taken from a base; a
    recipe without a name gets its file's. Raises ConfigError that lists every problem with the nearest valid name.
    """
    path = _recipe_path(name_or_path, Path())
    files = _with_bases(path)
    settings: dict[str, Any] = {}
    for _, own in reversed(files):
        inherited = {name: value for name, value in settings.items() if name not in ("name", "description")}
        settings = _merged(inherited, own, Recipe)
    for override in overrides:
        _apply_override(settings, override)
    name = _built_in_name(path) if path.is_relative_to(_FOLDER) else path.stem
    given_last = [(path, _nested(overrides)), *files]
    return _checked({"name": name} | settings, str(path), given_last)


def recipe_from_dict(settings: dict[str, Any], source: str = "recipe") -> Recipe:
    """A checked recipe from nested dictionaries (what `recipe.model_dump(mode='json')` gives). Raises ConfigError."""
    return _checked(settings, source, [])


def recipe_from_config(settings: dict[str, Any], source: str) -> Recipe:
    """A checked recipe from the config.json of a run, which an older version may have written.

    Deleted settings (`stap.recipes.retired`) are ignored at the value that changes nothing. Raises ConfigError at any other.
    """
    return recipe_from_dict(without_retired(settings), source)


def recipe_to_yaml(recipe: Recipe) -> str:
    """The whole recipe as YAML, every default written out."""
    return yaml.dump(recipe.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Text of several lines stays several lines."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


# Files


def _built_in_name(path: Path) -> str:
    return path.relative_to(_FOLDER).with_suffix("").as_posix()


def _recipe_path(name_or_path: str | Path, folder: Path) -> Path:
    """The file of a built-in name, or of a path relative to the folder."""
    built_in = built_in_recipes()
    if str(name_or_path) in built_in:
        return built_in[str(name_or_path)]
    path = folder / name_or_path
    if path.exists():  # what is no file is refused when it is read
        return path
    near = _nearest(str(name_or_path), built_in)
    raise ConfigError(f"{name_or_path}: no such recipe file or built-in recipe{near}. Built in: {', '.join(built_in)}.")


def _with_bases(path: Path) -> _Files:
    files: _Files = []
    while True:
        own = _read(path)
        base = own.pop("base", None)
        files.append((path, own))
        if base is None:
            return files
        if not isinstance(base, str):
            given = json.dumps(base, default=str)
            raise ConfigError(f"{path}: base: expected the name of a built-in recipe or a file (given {given}).")
        try:
            base_path = _recipe_path(base, path.parent)
        except ConfigError as error:
            raise ConfigError(f"{path}: base: {error}") from error
        if any(base_path.samefile(file) for file, _ in files):
            chain = " -> ".join(str(file) for file in [*(file for file, _ in files), base_path])
            raise ConfigError(f"{path}: base: {base}: recipes that are based on each other ({chain}). Delete one `base`.")
        path = base_path


def _read(path: Path) -> dict[str, Any]:
    expected = "Expected `section:` lines with settings under them."
    try:
        settings = parse_yaml(read_bytes(path, ConfigError, expected).decode("utf-8-sig"))
    except ValueError as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {one_line(error)}. {expected}") from error
    if settings is not None and not isinstance(settings, dict):
        raise ConfigError(
            f"{path}: holds a {type(settings).__name__}, expected settings in sections ({', '.join(Recipe.model_fields)})."
        )
    return settings or {}


# Settings


def _merged(base: Mapping[str, Any], own: Mapping[str, Any], section: type[BaseModel]) -> dict[str, Any]:
    """The base's settings of a section, replaced by a file's own; only sections are merged, a mapping that is a setting is not."""
    merged = dict(base)
    for name, value in own.items():
        field = section.model_fields.get(name)
        inner = section_of(field) if field else None
        both = inner is not None and isinstance(value, dict) and isinstance(base.get(name), dict)
        merged[name] = _merged(base[name], value, inner) if inner is not None and both else value
    return merged


def _apply_override(settings: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"{override!r}: expected section.key=value, for example training.epochs=20.")
    try:
        parsed = parse_yaml(value)
    except ValueError as error:
        raise ConfigError(f"{override!r}: the value cannot be read: {one_line(error)}.") from error
    if isinstance(parsed, str):  # YAML 1.1 reads 1e-4 as text; people mean the number
        with contextlib.suppress(ValueError):
            parsed = float(parsed)
    *sections, name = key.split(".")
    for section in sections:
        if settings.get(section) is None:  # absent, or left out with null
            settings[section] = {}
        settings = settings[section]
        if not isinstance(settings, dict):
            raise ConfigError(f"{override!r}: {section} is a single setting, not a section.")
    settings[name] = parsed


def _nested(overrides: Sequence[str]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for override in overrides:
        _apply_override(nested, override)
    return nested


# Problems


def _checked(settings: dict[str, Any], source: str, files: _Files) -> Recipe:
    """files: where the settings were given, the last word first; a problem of a base names the base's file."""
    try:
        return Recipe.model_validate(settings)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            problem = _problem(item["loc"], item["type"], item["msg"], item.get("input"))
            origin = next((str(path) for path, given in files if _holds(given, item["loc"])), source)
            problems.append(problem if origin == source else f"{problem} (in its base {origin})")
        raise ConfigError(_listed(source, problems)) from error


def _holds(settings: Any, location: Sequence[int | str]) -> bool:
    for part in location:
        if not isinstance(settings, dict) or part not in settings:
            return False
        settings = settings[part]
    return True


def _problem(location: tuple[int | str, ...], kind: str, message: str, given: object) -> str:
    dotted = ".".join(str(part) for part in location)
    if kind == "extra_forbidden" and dotted in RETIRED:
        successor = RETIRED[dotted].successor
        advice = f"its successor is {successor}; train again with it" if successor else "leave it out"
        return f"{dotted}: this setting was deleted (given {json.dumps(given, default=str)}); {advice}"
    if kind == "extra_forbidden":
        *sections, name = (str(part) for part in location)
        return f"{dotted}: no such setting{_nearest(name, _keys_of(sections))}"
    shown = json.dumps(given, default=str)
    message = message.removeprefix("Value error, ")
    return f"{dotted}: {message[0].lower()}{message[1:]} (given {shown if len(shown) <= 60 else shown[:57] + '...'})"


def _keys_of(sections: Sequence[str]) -> Iterable[str]:
    model: type[BaseModel] = Recipe
    for section in sections:
        field = model.model_fields.get(section)
        model = (section_of(field) if field else None) or Recipe
    return model.model_fields


def _nearest(name: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]}?" if matches else ""


def _listed(source: str, problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return f"{source}: {problems[0]}"
    return f"{source}: {len(problems)} problems:\n" + "\n".join(f"  - {problem}" for problem in problems)
