"""Aligned tables as plain text."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stap.files import printable

__all__ = ["text_table"]

_WIDEST = 10_000  # characters: lines are never wrapped, whatever the terminal


def text_table(lines: Iterable[Sequence[str]], justify: Literal["left", "right"] = "right") -> str:
    """The lines with aligned columns, without control codes, frame and trailing spaces.

    lines: equally many cells each, headings among them.   justify: of all columns but the first, which is on the left.
    """
    rows = list(lines)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for place in range(len(rows[0]) if rows else 0):
        table.add_column(justify=justify if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(file=io.StringIO(), width=_WIDEST, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
