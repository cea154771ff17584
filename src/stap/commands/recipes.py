"""`stap recipes`: the built-in recipes, and every setting with its default and explanation."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stap.commands.shared.options import UnusedDeviceOption, UnusedSeedOption

if TYPE_CHECKING:
    from stap.recipes.settings import Recipe, Section

FOLDERS = {"demo": "Generated scenes", "distil": "Students", "msrvtt": "MSR-VTT", "msvd": "MSVD", "vsepp": "Pretraining"}


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="Print one recipe in full: its description and all its settings.")
    ] = None,
    settings: Annotated[bool, typer.Option("--settings", help="Print every setting with its default and explanation.")] = False,
    device: UnusedDeviceOption = "auto",
    seed: UnusedSeedOption = None,
) -> None:
    """List the built-in recipes, print one, or explain every setting."""
    from stap.recipes.files import built_in_recipes, load_recipe, recipe_to_yaml
    from stap.recipes.settings import Recipe

    if settings:
        print("\n".join(setting_lines(Recipe())))
    elif name is not None:
        print(recipe_to_yaml(load_recipe(name)), end="")
    else:
        print("\n".join(_list({known: load_recipe(known) for known in built_in_recipes()})))


def _list(built_in: dict[str, Recipe]) -> Iterator[str]:
    """A line per recipe, the first of its description, in groups by corpus and model."""
    width = max(map(len, built_in))
    for heading, group in groupby(built_in.items(), key=_heading):
        yield f"{heading}:"
        yield from (f"  {name:{width}}  {recipe.description.partition(chr(10))[0]}".rstrip() for name, recipe in group)
        yield ""
    yield "`stap recipes NAME` prints one in full, `stap recipes --settings` explains every setting."


def _heading(named: tuple[str, Recipe]) -> str:
    name, recipe = named
    folder = name.partition("/")[0]
    if folder not in ("msvd", "msrvtt"):
        return FOLDERS[folder]
    return f"{FOLDERS[folder]}, {'STAT' if recipe.model.kind.startswith('stat') else 'L-STAP and LRCN'}"


def setting_lines(section: Section, prefix: str = "") -> Iterator[str]:
    """A line per setting, 'training.epochs = 100   ...', under the sentence of its section. section: with the defaults."""
    from stap.recipes.settings import section_of

    for name, field in type(section).model_fields.items():
        inner, value = section_of(field), getattr(section, name)
        if inner is None:
            yield f"{f'{prefix}{name} = {_shown(value)}':44}  {field.description}"
        else:
            yield f"\n# {' '.join((inner.__doc__ or '').split())}"
            yield from setting_lines(inner() if value is None else value, f"{prefix}{name}.")


def _shown(default: Any) -> str:
    import json

    return "(empty)" if default is None else json.dumps(default, default=str)
