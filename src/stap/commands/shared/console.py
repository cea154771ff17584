"""What commands show people: sentences and progress on stderr, so that stdout holds results only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

__all__ = ["Report", "complain", "interruptible", "progress", "say", "warn"]

Report = Callable[[int, int, str], None]  # done, total, what is being done

INTERRUPTED = 130  # the shell's exit status of a program stopped with Ctrl-C


def say(sentence: object) -> None:
    """A line on stderr: a sentence, or what an object says of itself."""
    print(sentence, file=sys.stderr, flush=True)


def warn(sentence: str) -> None:
    """A warning on stderr."""
    say(f"stap: warning: {sentence}")


def complain(sentence: str) -> None:
    """An error on stderr."""
    say(f"stap: {sentence}")


@contextmanager
def interruptible(how_to_continue: str) -> Iterator[None]:
    """Ctrl-C in the block ends the command with exit status 130 and a sentence that says how to continue."""
    try:
        yield
    except KeyboardInterrupt:
        complain(f"interrupted. {how_to_continue}")
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """A function to call with (done, total, name): a bar on a terminal, otherwise a line every tenth of the way."""
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[name]}"), console=Console(stderr=True)) as bar:
        task = bar.add_task(title, name="", total=None)
        yield lambda done, total, name: bar.update(task, completed=done, total=total, name=name)


def _lines(title: str) -> Report:
    tenths_shown = -1

    def report(done: int, total: int, name: str) -> None:
        nonlocal tenths_shown
        tenths = 10 * done // total if total else 10
        if tenths > tenths_shown:
            tenths_shown = tenths
            say(f"{title}: {done} of {total}")

    return report
