"""What the demo is doing and how long each stage takes, over all the runs that it took to finish."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stap.files import write_json

__all__ = ["Say", "Stages", "quarters"]

Say = Callable[[str], None]


class Stages:
    """Seconds of each stage, kept in a file: a demo that was interrupted and run again adds them up."""

    def __init__(self, file: Path, say: Say) -> None:
        self.file, self.say = file, say
        self.seconds = _read(file)

    @contextmanager
    def stage(self, name: str, doing: str) -> Iterator[None]:
        """Say what is being done, and after it how long that took. name: what the stage is called in the file."""
        self.say(f"{doing} ...")
        began = time.perf_counter()
        try:
            yield
        finally:  # the seconds before an interruption count too
            took = time.perf_counter() - began
            self.seconds[name] = self.seconds.get(name, 0.0) + took
            write_json(self.file, self.seconds)
        self.say(f"  {took:.0f} s")


def quarters(say: Say, things: str) -> Callable[[int, int, str], None]:
    """A function to call with (done, total, name) after each thing, which speaks at every quarter of the way."""
    told = 0

    def report(done: int, total: int, name: str) -> None:
        nonlocal told
        if 4 * done // total > told:
            told = 4 * done // total
            say(f"  {done} of {total} {things}")

    return report


def _read(file: Path) -> dict[str, float]:
    try:
        return {str(name): float(seconds) for name, seconds in json.loads(file.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):  # none yet, or no longer readable: only the times are lost
        return {}
