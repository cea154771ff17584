"""The manual as a site: `make docs` writes it to docs/_build/html. Warnings are errors."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

import stap
from stap.cli import app as command_line
from stap.commands.recipes import setting_lines
from stap.recipes.settings import Recipe

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.ext.autodoc import Options

project = "stap"
version = release = stap.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "stap"
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
suppress_warnings = ["myst.xref_missing"]  # links out of docs/, to files of the repository; tests/test_docs.py checks them

SECTION = "\n# "  # how `stap recipes --settings` begins a section
ARGUMENT = re.compile(r"\w+(, \w+)*: ")  # how a docstring explains one
GENERATED = Path(__file__).parent / "generated"


def _settings_page() -> Iterator[str]:
    """Every setting by section, from the models that check recipes."""
    yield "# Settings\n\nEvery setting of a recipe, its default and its meaning. `stap recipes --settings` prints the same.\n"
    explanation = ""
    for line in setting_lines(Recipe()):
        if line.startswith(SECTION):
            explanation = line.removeprefix(SECTION)
            continue
        setting, _, meaning = line.partition("  ")
        if explanation:
            yield f"\n## {setting.partition(' ')[0].rpartition('.')[0]}\n\n{explanation}\n"
            explanation = ""
        yield f"`{setting.strip()}`\n: {meaning.strip() or 'as its name says'}\n"


def _options_page() -> Iterator[str]:
    """Every option of every command, from the commands' own help."""
    yield "# Options of every command\n\nThe same text as `stap COMMAND --help`. [Commands](../commands.md) explains the commands with examples.\n"
    for name, command in sorted(typer.main.get_command(command_line).commands.items()):
        yield f"\n## {name}\n\n{inspect.cleandoc(command.help or '')}\n"
        for parameter in command.params:
            shown = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
            text = " ".join((getattr(parameter, "help", None) or "").split())
            yield f"{shown}\n: {text or 'see above'}\n"


def _generate(_: Sphinx) -> None:
    GENERATED.mkdir(exist_ok=True)
    for name, lines in (("settings", _settings_page()), ("options", _options_page())):
        (GENERATED / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _as_restructured_text(_: Sphinx, what: str, name: str, thing: object, options: Options, lines: list[str]) -> None:
    """Docstrings are plain text: an indented block is literal, an indented line within a paragraph continues it, and an argument
    (`name: ...`, several in a line with three spaces between them) begins a paragraph.
    """
    written: list[str] = []
    for line in re.sub(r"   (?=\w+: )", "\n", "\n".join(lines)).split("\n"):
        starts_block = line.startswith("    ") and bool(written) and not written[-1]
        if starts_block and "::" not in written:
            written += ["::", ""]
        if starts_block or (line.startswith("    ") and bool(written) and written[-1].startswith("    ")):
            written.append(line)
            continue
        if ARGUMENT.match(line):
            written.append("")
        written.append(re.sub(r"[*|]|(?<!`)`(?!`)", _escaped, line.lstrip()))
    lines[:] = written


def _escaped(mark: re.Match[str]) -> str:
    return "``" if mark[0] == "`" else f"\\{mark[0]}"


def setup(app: Sphinx) -> None:
    """Write the generated pages before they are read."""
    app.connect("builder-inited", _generate)
    app.connect("autodoc-process-docstring", _as_restructured_text)
