"""The size of the project in numbers: entries at the top, lines, long functions, long lists of parameters.

Run it from the root of a checkout: python -m benchmarks.size
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "stap"
MARKERS = {"__init__.py", "py.typed"}  # every typed package has these two; they are not rooms
MOST_ENTRIES, MOST_LINES, MOST_PARAMETERS = 21, 60, 8


@dataclasses.dataclass(frozen=True)
class Function:
    """A function or method. parameters: without self and cls.   may_have_many: it is a verb of the command line, whose parameters are
    options, or a GPU's kernel, which takes pointers and sizes one by one.
    """

    name: str
    lines: int
    parameters: int
    may_have_many: bool


def entries() -> list[str]:
    """Modules and folders at the top of the package."""
    return sorted(path.name for path in PACKAGE.iterdir() if path.name != "__pycache__" and path.name not in MARKERS)


def lines_of(files: Iterable[Path]) -> int:
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def functions(package: Path = PACKAGE) -> Iterator[Function]:
    """Every function of the package, private and nested ones too."""
    for file in sorted(package.rglob("*.py")):
        module = file.relative_to(package).with_suffix("")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                is_command = module.parent == Path("commands") and node.name == module.name
                is_kernel = any(ast.unparse(decorator) == "triton.jit" for decorator in node.decorator_list)
                yield Function(
                    f"{module.as_posix()}.{node.name}", _lines(node), _parameters(node.args), is_command or is_kernel
                )


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _parameters(arguments: ast.arguments) -> int:
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    starred = [each for each in (arguments.vararg, arguments.kwarg) if each]
    return len([each for each in named if each.arg not in ("self", "cls")]) + len(starred)


def long_functions(package: Path = PACKAGE) -> dict[str, int]:
    """Functions over MOST_LINES lines, with their lines."""
    return {each.name: each.lines for each in functions(package) if each.lines > MOST_LINES}


def functions_of_many_parameters(package: Path = PACKAGE) -> dict[str, int]:
    """Functions with more than MOST_PARAMETERS parameters, with their number; commands and kernels are left out."""
    return {
        each.name: each.parameters
        for each in functions(package)
        if each.parameters > MOST_PARAMETERS and not each.may_have_many
    }


def main() -> None:
    print(f"entries at the top of src/stap: {len(entries())} (at most {MOST_ENTRIES}): {' '.join(entries())}")
    print(f"lines of src:   {lines_of(PACKAGE.rglob('*.py')):,}")
    print(f"lines of tests: {lines_of((ROOT / 'tests').rglob('*.py')):,}")
    print(f"lines of YAML:  {lines_of(PACKAGE.rglob('*.yaml')):,}")
    long, many = long_functions(), functions_of_many_parameters()
    print(f"functions over {MOST_LINES} lines: {_shown(long)}")
    print(f"functions with more than {MOST_PARAMETERS} parameters (commands and kernels excepted): {_shown(many)}")


def _shown(found: dict[str, int]) -> str:
    return ", ".join(f"{name} ({size})" for name, size in found.items()) or "none"


if __name__ == "__main__":
    main()
