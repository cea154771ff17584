"""Which way imports run (docs/architecture.md): what must never know what."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import stap

PACKAGE = Path(stap.__file__).parent
ABOVE = {"cli", "commands", "captioner", "demo", "doctor", "evaluation", "reproduce"}
NEVER = {
    "errors": {"config", "video", "text", "features", "corpora", "models", "decoding", "training", "scoring"} | ABOVE,
    "config": {"video", "text", "features", "corpora", "models", "decoding", "training", "scoring"} | ABOVE,
    "device": {"video", "text", "features", "corpora", "models", "decoding", "training", "scoring"} | ABOVE,
    "video": {"config", "text", "features", "corpora", "models", "decoding", "training", "scoring"} | ABOVE,
    "features": {"text", "corpora", "models", "decoding", "training", "scoring"} | ABOVE,
    "corpora": {"features", "models", "decoding", "training", "scoring"} | ABOVE,
    "models": {"video", "features", "corpora", "decoding", "training", "scoring"} | ABOVE,
    "text": {"video", "features", "corpora", "decoding", "training", "scoring"} | ABOVE,
    "decoding": {"video", "features", "corpora", "training", "scoring"} | ABOVE,
    "scoring": {"video", "features", "corpora", "models", "decoding", "training"} | ABOVE,
    "training": ABOVE,
    "evaluation": ABOVE - {"evaluation"},
    "captioner": ABOVE - {"captioner"},
}


def nodes_that_run(file: Path) -> Iterator[ast.AST]:
    """All of a module but what only the type checker looks at."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    only_types = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    left_out = {inner for node in only_types for inner in ast.walk(node)}
    return (node for node in ast.walk(tree) if node not in left_out)


def imported(file: Path) -> set[str]:
    """The parts of stap that a module imports, anywhere in it, except where only the type checker looks."""
    parts = set()
    for node in nodes_that_run(file):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        parts |= {name.split(".")[1] for name in names if name.startswith("stap.")}
    return parts


@pytest.mark.parametrize("part", NEVER)
def test_imports_run_one_way(part: str) -> None:
    files = (PACKAGE / part).rglob("*.py") if (PACKAGE / part).is_dir() else [PACKAGE / f"{part}.py"]
    wrong = {str(file.relative_to(PACKAGE)): found for file in files if (found := imported(file) & NEVER[part])}
    assert wrong == {}


def test_no_circle_of_modules() -> None:
    """Nothing imports, through others, what imports it."""
    files = {module_name(file): file for file in PACKAGE.rglob("*.py")}
    needs = {name: {other for other in modules_of(file) if other in files} for name, file in files.items()}
    while free := {name for name, others in needs.items() if not others or not any(name in needs[other] for other in needs)}:
        needs = {name: others - free for name, others in needs.items() if name not in free}
    assert needs == {}  # what is left imports something that is left, and is imported by something that is


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def modules_of(file: Path) -> set[str]:
    """The modules that a module's text names in its imports, those inside functions too."""
    found = set()
    for node in nodes_that_run(file):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found
