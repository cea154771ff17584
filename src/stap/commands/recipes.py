"""`stap recipes`: the built-in recipes, and every setting with its default and explanation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from stap.commands.shared.options import UnusedDeviceOption, UnusedSeedOption

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="Print this recipe whole, every default written out.")
    ] = None,
    settings: Annotated[bool, typer.Option("--settings", help="Print every setting with its default and explanation.")] = False,
    device: UnusedDeviceOption = "auto",
    seed: UnusedSeedOption = None,
) -> None:
    """List the built-in recipes, print one, or explain every setting."""
    from stap.recipes.files import built_in_recipes, load_recipe, recipe_to_yaml
    from stap.recipes.settings import Recipe

    if settings:
        print("\n".join(setting_lines(Recipe)))
    elif name is not None:
        print(recipe_to_yaml(load_recipe(name)), end="")
    else:
        descriptions = {known: load_recipe(known).description for known in built_in_recipes()}
        width = max(map(len, descriptions), default=0)
        for known, description in descriptions.items():
            print(f"{known:{width}}  {' '.join(description.split())}".rstrip())


def setting_lines(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """A line a setting, 'training.epochs = 100   at most; ...', with the section's own sentence above its settings."""
    for name, field in model.model_fields.items():
        section = _section(field)
        if section is None:
            line = f"{prefix}{name} = {_shown(field.get_default(call_default_factory=True))}"
            yield f"{line:44}  {field.description}" if field.description else line
        else:
            yield f"\n# {' '.join((section.__doc__ or '').split())}"
            yield from setting_lines(section, f"{prefix}{name}.")


def _section(field: FieldInfo) -> type[BaseModel] | None:
    from pydantic import BaseModel

    kinds = (field.annotation, *get_args(field.annotation))  # the section itself, or `Section | None`
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _shown(default: Any) -> str:
    import json

    return "(empty)" if default is None else json.dumps(default, default=str)
