"""The documents: every command in them exists, every link leads somewhere, every setting is one."""

import ast
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import typer

import stap
from stap.cli import app, main
from stap.recipes.files import load_recipe

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
HARMLESS = {"stap recipes", "stap recipes --settings"}  # run as they stand; the whole path is run in test_cli.py


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def lines(page: Path) -> Iterator[list[str]]:
    """The shell lines of a page, split into words, without comments and pipes."""
    for block in blocks(page, "(?:bash|sh|console)"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.removeprefix("$ ").split(" | "):
                if words := shlex.split(part, comments=True):
                    yield words


def commands(program: str) -> list[tuple[str, list[str]]]:
    """All uses of a program: (page, words after its name)."""
    return [(page.name, words[1:]) for page in PAGES for words in lines(page) if Path(words[0]).name == program]


def test_there_are_commands_to_check() -> None:
    assert {words[0] for _, words in commands("stap") if words} >= {"doctor", "caption", "train", "score", "recipes", "demo"}
    assert [words for page, words in commands("make") if page == "README.md"] == [["install"], ["demo"]]


@pytest.mark.parametrize(
    ("page", "words"), commands("stap"), ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_every_stap_line_is_understood(page: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    verbs = typer.main.get_command(app).commands
    if words[0].startswith("-"):
        assert main(words) == 0
        return
    assert words[0] in verbs, f"{page}: stap {words[0]}"
    verbs[words[0]].make_context(words[0], words[1:])  # raises for an unknown option or a missing argument
    if f"stap {' '.join(words)}" in HARMLESS:
        assert main(words) == 0


def test_every_setting_in_a_line_is_one(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("")
    settings = [word for _, words in commands("stap") for word in words if re.match(r"[a-z_.]+=", word)]
    assert settings
    load_recipe(recipe, settings)


def test_every_recipe_in_a_document_is_valid(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    for page in PAGES:
        for block in blocks(page, "yaml"):
            recipe.write_text(block)
            load_recipe(recipe)


def test_every_make_line_names_a_target() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page, words in commands("make"):
        assert {word for word in words if "=" not in word} <= targets, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_a_document_compiles_and_uses_public_names(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, str(page), "exec")
        for name in re.findall(r"\bstap\.(\w+)\(", block):
            assert name in stap.__all__, f"{page.name}: stap.{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_that_a_document_imports_are_there(page: Path) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "stap":
                offered = import_module(node.module).__all__
                assert {name.name for name in node.names} <= set(offered), f"{page.name}: {node.module}"


@pytest.mark.slow
def test_the_network_of_your_own_has_the_shapes_that_the_page_says() -> None:
    [block] = blocks(ROOT / "docs" / "models.md", "python")
    names: dict[str, object] = {}
    exec(block, names)
    said = re.findall(r"^print\((.+)\)  # (\([^)]*\))", block, re.MULTILINE)
    assert said
    assert [tuple(eval(value, names)) for value, _ in said] == [ast.literal_eval(shape) for _, shape in said]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in link:
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_manual_lists_every_page() -> None:
    trees = re.findall(r"```{toctree}\n(.*?)```", (ROOT / "docs" / "index.md").read_text(), re.DOTALL)
    listed = [line for tree in trees for line in tree.splitlines() if line and not line.startswith((":", "generated/"))]
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "docs").glob("*.md") if path.stem != "index")


def test_every_command_has_its_place_in_the_manual() -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    assert sorted(re.findall(r"^## stap ([\w-]+)", text, re.MULTILINE)) == sorted(typer.main.get_command(app).commands)


def test_the_map_names_every_part() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    parts = [path for path in (ROOT / "src" / "stap").iterdir() if not path.name.startswith("__") and path.name != "py.typed"]
    for part in parts:
        name = f"`{part.name}/`" if part.is_dir() else f"`{part.name}`"
        assert name in text, name
