"""Messages and progress on stderr, so that stdout holds results only."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

import typer

from stap.commands.shared.interruption import INTERRUPTED, continued_by, has_been_said
from stap.files import printable

__all__ = ["Report", "complain", "interruptible", "progress", "safe_streams", "say", "say_interrupted", "warn"]

Report = Callable[[int, int, str], None]  # done, total, what is being done


class SafeStream:
    """A text stream for what strangers wrote: unprintable characters and those that its encoding lacks come out as escapes.

    Line ends and tabs stay.
    """

    def __init__(self, stream: TextIO) -> None:
        """Around this stream, which stays open."""
        self.stream = stream

    def write(self, text: str) -> int:
        """Write the text, escaped; returns its own length. Raises TypeError for bytes, by which libraries tell streams of text."""
        if not isinstance(text, str):
            raise TypeError(f"expected text, got {type(text).__name__}")
        encoding = self.stream.encoding or "utf-8"
        self.stream.write(printable(text, keep="\n\t").encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's."""
        return getattr(self.stream, name)


@contextmanager
def safe_streams() -> Iterator[None]:
    """Stdout and stderr as SafeStreams in the block."""
    stdout: Any = SafeStream(sys.stdout)
    stderr: Any = SafeStream(sys.stderr)
    with redirect_stdout(stdout), redirect_stderr(stderr):
        yield


def say(sentence: object) -> None:
    """A line on stderr: a sentence, or an object's `str`.

    Only indented lines continue it: a line end in a file name cannot begin a sentence of stap.
    """
    lines = re.split("\n(?=  )", str(sentence))
    print("\n".join(map(printable, lines)), file=sys.stderr, flush=True)


def warn(sentence: str) -> None:
    """A warning on stderr."""
    say(f"stap: warning: {sentence}")


def complain(sentence: str) -> None:
    """An error on stderr. In one of several processes that torchrun started, it names the process."""
    rank = os.environ.get("RANK", "0") if os.environ.get("WORLD_SIZE", "1") != "1" else None
    say(f"stap: {sentence}" if rank is None else f"stap: process {rank}: {sentence}")


@contextmanager
def interruptible(how_to_continue: str) -> Iterator[None]:
    """Ctrl-C in the block ends the command with exit status 130 and a sentence that says how to continue."""
    try:
        with continued_by(how_to_continue):
            yield
    except KeyboardInterrupt:
        say_interrupted(how_to_continue)
        raise typer.Exit(INTERRUPTED) from None


def say_interrupted(how_to_continue: str) -> None:
    """The last sentence of a command that was interrupted."""
    complain(f"interrupted. {how_to_continue}")
    has_been_said.set()


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """A function to call with (done, total, name): a bar on a terminal, otherwise a line every tenth of the way."""
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    terminal = Console(file=getattr(sys.stderr, "stream", sys.stderr))  # its control codes are our own
    with Progress(*columns, TextColumn("{task.fields[name]}", markup=False), console=terminal) as bar:
        task = bar.add_task(title, name="", total=None)
        yield lambda done, total, name: bar.update(task, completed=done, total=total, name=printable(name))


def _lines(title: str) -> Report:
    tenths_shown = -1

    def report(done: int, total: int, name: str) -> None:
        nonlocal tenths_shown
        tenths = 10 * done // total if total else 10
        if tenths > tenths_shown:
            tenths_shown = tenths
            say(f"{title}: {done} of {total}")

    return report
