"""Which way imports run (docs/architecture.md): what must never know what."""

import ast
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


def imported(file: Path) -> set[str]:
    """The parts of stap that a module imports, anywhere in it, except where only the type checker looks."""
    parts = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    only_types = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    left_out = {inner for node in only_types for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if node in left_out:
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        parts |= {name.split(".")[1] for name in names if name.startswith("stap.")}
    return parts


@pytest.mark.parametrize("part", NEVER)
def test_imports_run_one_way(part: str) -> None:
    files = (PACKAGE / part).rglob("*.py") if (PACKAGE / part).is_dir() else [PACKAGE / f"{part}.py"]
    wrong = {str(file.relative_to(PACKAGE)): found for file in files if (found := imported(file) & NEVER[part])}
    assert wrong == {}
