"""The stages of a long run: a line at the beginning and the end of each, and its seconds, added up over interrupted runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stap.files import read_json, write_json

__all__ = ["Say", "Stages", "progress_lines"]

Say = Callable[[str], None]


class Stages:
    """Seconds of each stage, kept in a file: a run that was interrupted and continued adds them up."""

    def __init__(self, file: Path, say: Say) -> None:
        self.file, self.say = file, say
        self.seconds = _read(file)

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        """Print the title, and after the stage its seconds. name: of the stage in the file."""
        self.say(f"{title} ...")
        began = time.perf_counter()
        try:
            yield
        finally:  # the seconds before an interruption count too
            seconds = time.perf_counter() - began
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
            write_json(self.file, self.seconds)
        self.say(f"  {seconds:.0f} s")


def progress_lines(say: Say, things: str, parts: int = 4) -> Callable[[int, int, str], None]:
    """A function to call with (done, total, name) after each thing, which prints a line at every quarter (or other part) of the way."""
    printed = 0

    def report(done: int, total: int, name: str) -> None:
        nonlocal printed
        if parts * done // total > printed:
            printed = parts * done // total
            say(f"  {done:,} of {total:,} {things}")

    return report


def _read(file: Path) -> dict[str, float]:
    try:
        return {str(name): float(seconds) for name, seconds in read_json(file).items()}
    except (OSError, ValueError, TypeError, AttributeError):  # none yet, or unreadable: only the times are lost
        return {}
