"""Aligned tables as text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["text_table"]

WIDEST = 10_000  # characters: lines are not wrapped, whatever the terminal


def text_table(lines: Sequence[Sequence[str]], justify: Literal["left", "right"] = "right") -> str:
    """The lines, headings first, with aligned columns.   justify: of all columns but the first."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    headings, *rows = lines
    for place, heading in enumerate(headings):
        table.add_column(Text(heading), justify=justify if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(file=io.StringIO(), width=WIDEST, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().rstrip("\n").splitlines())
