"""Options in groups are options like others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from typer.testing import CliRunner

from stap.commands.shared.option_groups import with_option_groups


@dataclass(frozen=True)
class Place:
    root: Annotated[Path | None, typer.Option(metavar="DIR", help="The root.")] = None
    files: Annotated[list[str] | None, typer.Option("--file", "-f")] = None


@with_option_groups
def command(
    name: Annotated[str, typer.Argument()],
    place: Place,
    rest: Annotated[list[str] | None, typer.Argument()] = None,
    count: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Print what was given."""
    print(name, place, rest, count)


def answer(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, arguments).output


def test_fields_are_options() -> None:
    given = answer("a", "b", "--root", "data", "-f", "x", "--file", "y", "--count", "3")
    assert given == f"a {Place(Path('data'), ['x', 'y'])} ['b'] 3\n"


def test_defaults() -> None:
    assert answer("a") == f"a {Place()} None 2\n"


def test_help_shows_all_options() -> None:
    shown = answer("--help")
    assert "Print what was given." in shown
    assert all(text in shown for text in ("--root", "The root.", "--file", "--count"))
