"""The progress of `stap caption`: files, shots, how much faster than the videos play, and the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stap.commands.shared.console import say

if TYPE_CHECKING:
    from stap.programmes.caption_files import Progress

__all__ = ["caption_progress", "progress_line"]


@contextmanager
def caption_progress(is_quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """A function to call as the work goes on: a bar on a terminal, otherwise a line every tenth of the way.

    is_quiet: captions go to stdout: no lines, and no bar where it would stand between them.
    """
    begun = time.perf_counter()
    if not sys.stderr.isatty() or (is_quiet and sys.stdout.isatty()):
        yield _lines(begun, is_quiet)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    terminal = Console(file=getattr(sys.stderr, "stream", sys.stderr))  # its control codes are our own
    columns = BarColumn(), TextColumn("{task.description}", markup=False)
    with Progress(*columns, console=terminal, redirect_stdout=False) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda progress: bar.update(
            task, completed=progress.part, description=progress_line(progress, time.perf_counter() - begun)
        )


def _lines(begun: float, is_quiet: bool) -> Callable[[Progress], None]:
    tenths_shown = 0

    def report(progress: Progress) -> None:
        nonlocal tenths_shown
        if not is_quiet and int(10 * progress.part) > tenths_shown:
            tenths_shown = int(10 * progress.part)
            say(progress_line(progress, time.perf_counter() - begun))

    return report


def progress_line(progress: Progress, seconds: float) -> str:
    """For people.   seconds: since the work began."""
    parts = [f"{progress.files_done} of {progress.files} files", f"{progress.shots} shots"]
    if seconds > 0 and progress.seconds > 0:
        parts.append(f"{progress.seconds / seconds:.1f}x real time")
    if 0 < progress.part < 1:
        left = round(seconds * (1 - progress.part) / progress.part)
        parts.append(f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left")
    return ", ".join(parts)
