"""The floors of the house (docs/architecture.md): imports run downwards only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import stap

PACKAGE = Path(stap.__file__).parent
# From the top floor down. A room imports from the floors below its own, so what it reaches through others lies below it too.
FLOORS = (
    "cli",
    "commands",
    "experiments",
    "archive",
    "programmes",
    "teachers",
    "reports",
    "training",
    "captioning",
    "scoring",
    "decoding",
    "scenes",
    "corpora",
    "features",
    "importers",
    "models",
    "video",
    "text",
    "recipes",
    "files",
    "errors",
)
NEVER_MEET = {
    ("models", "video"),
    ("features", "models"),
    ("scoring", "models"),
    ("corpora", "models"),
    ("importers", "models"),
}
LIGHT = ("text", "recipes", "files", "errors", "corpora", "scenes")  # rooms that need no torch


def nodes_that_run(file: Path) -> Iterator[ast.AST]:
    """All of a module but what only the type checker looks at."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    only_types = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    left_out = {inner for node in only_types for inner in ast.walk(node)}
    return (node for node in ast.walk(tree) if node not in left_out)


def names_imported(file: Path) -> set[str]:
    """The modules that a module's text names in its imports, those inside functions too."""
    found = set()
    for node in nodes_that_run(file):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms_imported(file: Path) -> set[str]:
    """The rooms that a module imports from."""
    return {name.split(".")[1] for name in names_imported(file) if name.startswith("stap.")} & set(FLOORS)


def modules_of(room: str) -> list[Path]:
    """The modules of a room."""
    return sorted((PACKAGE / room).rglob("*.py")) if (PACKAGE / room).is_dir() else [PACKAGE / f"{room}.py"]


def test_every_entry_has_a_floor() -> None:
    entries = {path.stem for path in PACKAGE.iterdir() if not path.name.startswith("__") and path.name != "py.typed"}
    assert entries == set(FLOORS)
    assert len(entries) <= 22


@pytest.mark.parametrize("room", FLOORS)
def test_no_import_runs_upwards(room: str) -> None:
    above = set(FLOORS[: FLOORS.index(room)])
    wrong = {str(file.relative_to(PACKAGE)): found for file in modules_of(room) if (found := rooms_imported(file) & above)}
    assert wrong == {}


@pytest.mark.parametrize(("upper", "lower"), sorted(NEVER_MEET))
def test_rooms_that_never_meet(upper: str, lower: str) -> None:
    wrong = [str(file.relative_to(PACKAGE)) for file in modules_of(upper) if lower in rooms_imported(file)]
    assert wrong == []


@pytest.mark.parametrize("room", LIGHT)
def test_light_rooms_need_no_torch(room: str) -> None:
    wrong = [str(file.relative_to(PACKAGE)) for file in modules_of(room) if "torch" in names_imported(file)]
    assert wrong == []


@pytest.mark.slow
def test_no_circle_of_modules() -> None:
    """Nothing imports, through others, what imports it."""
    files = {module_name(file): file for file in PACKAGE.rglob("*.py")}
    needs = {name: {other for other in names_imported(file) if other in files} for name, file in files.items()}
    while free := {name for name, others in needs.items() if not others or not any(name in needs[other] for other in needs)}:
        needs = {name: others - free for name, others in needs.items() if name not in free}
    assert needs == {}  # what is left imports something that is left, and is imported by something that is


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
