"""A row of the table that `python -m benchmarks` prints, and how a script times what it compares."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stap.commands.shared.memory import keep_freed_memory

__all__ = ["CannotRunError", "Row", "against", "clocked", "markdown"]

keep_freed_memory()  # as every command does

HEADINGS = ("what", "compared with", "measured", "goal", "reached", "bound by")


class CannotRunError(Exception):
    """This machine lacks what a benchmark needs; the message says what, and how to get it."""


@dataclass(frozen=True)
class Row:
    """A ratio measured in one run.

    goal: None for a ratio without one.   at_least: a larger ratio is better.   bound: what limits it.
    detail: seconds, rates ... behind the ratio.
    """

    what: str
    against: str
    measured: float
    goal: float | None = None
    bound: str = ""
    at_least: bool = False
    detail: str = ""

    @property
    def is_reached(self) -> bool | None:
        """Whether the printed figure meets the goal; None without a goal."""
        if self.goal is None:
            return None
        measured = float(_figure(self.measured))
        return measured >= self.goal if self.at_least else measured <= self.goal

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as text, under HEADINGS."""
        measured = f"{_figure(self.measured)} ({self.detail})" if self.detail else _figure(self.measured)
        goal = "" if self.goal is None else f"{'at least' if self.at_least else 'at most'} {self.goal:g}"
        reached = {None: "", True: "yes", False: "no"}[self.is_reached]
        return self.what, self.against, measured, goal, reached, self.bound


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table of Markdown, as docs/performance.md keeps it."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def clocked(call: Callable[[], object]) -> float:
    """Seconds of a call, until a GPU has done its part."""
    import torch

    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def against(call: Callable[[], object], limit: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of a call, and the median of its ratio to the limit, the two timed in turn after one round to warm up."""
    rounds = [(clocked(limit), clocked(call)) for _ in range(repeats + 1)][1:]
    return statistics.median(taken for _, taken in rounds), statistics.median(taken / least for least, taken in rounds)


def _figure(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"
