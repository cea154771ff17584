"""METEOR 1.5 as a process that stays alive: loading its tables takes ten seconds, a caption less than a millisecond.

Denkowski & Lavie 2014; the Java archive and its options are those of pycocoevalcap. The protocol is lines of text:
`SCORE ||| reference ||| ... ||| hypothesis` is answered by a line of statistics of that caption, and
`EVAL ||| statistics ||| ...` by a line with the score of each caption and one with the score of all together.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from typing import IO

from stap.errors import ScoringError
from stap.text.java import archive, java_command

__all__ = ["ARCHIVE", "OPTIONS", "MeteorProcess", "MeteorRunner"]

ARCHIVE = "meteor/meteor-1.5.jar"
OPTIONS = ["-", "-", "-stdio", "-l", "en", "-norm"]


class MeteorRunner:
    """METEOR's process, started at the first need, and again after it has ended; measures may share it."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._process: MeteorProcess | None = None

    def start(self) -> MeteorProcess:
        """The running process; returns at once, while it loads its tables."""
        if self._process is None or not self._process.close.alive:
            self._process = MeteorProcess()
        return self._process

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.close()
            self._process = None


class MeteorProcess:
    """A running METEOR. `close()` ends it; so does the garbage collector, or the exit of Python."""

    def __init__(self) -> None:
        """Start the process and return at once: it loads its tables while the caller goes on.

        Raises MissingDependencyError if Java or the archive is not installed.
        """
        command = [*java_command(), "-XX:+UseSerialGC", "-Xmx2G", "-jar", str(archive(ARCHIVE)), *OPTIONS]
        # A file, not a pipe: nobody reads it while METEOR works, and a full pipe would stop METEOR.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed by _end)
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr)
        self.close = weakref.finalize(self, _end, self._process, self._stderr)

    def statistics(self, hypothesis: str, references: Sequence[str]) -> str:
        """What METEOR counts for one caption (matches, lengths, chunks), as a line for `evaluate`."""
        fields = [text.replace("|||", "").replace("  ", " ") for text in (*references, hypothesis)]
        return self._ask(" ||| ".join(["SCORE", *fields]), answers=1)[0]

    def evaluate(self, statistics: Sequence[str]) -> tuple[float, list[float]]:
        """The score of all captions together and of each, from their statistics."""
        *each, together = self._ask(" ||| ".join(["EVAL", *statistics]), answers=len(statistics) + 1)
        return float(together), [float(score) for score in each]

    def _ask(self, question: str, *, answers: int) -> list[str]:
        """Send a line and read lines of numbers. Whatever goes wrong ends the process: it may hold half an answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        lines: list[str] = []
        try:
            with contextlib.suppress(OSError):  # the process has ended: the missing answers show it
                self._process.stdin.write(question.encode() + b"\n")
                self._process.stdin.flush()
                lines = [self._process.stdout.readline().decode().strip() for _ in range(answers)]
        except BaseException:
            self.close()
            raise
        if not lines or not all(line and line[0] in "-0123456789N" for line in lines):
            raise ScoringError(self._failure(next((line for line in lines if line and line[0].isalpha()), "")))
        return lines

    def _failure(self, answer: str) -> str:
        """The sentence for a METEOR that failed, with its own last words; ends the process."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1)
        status = self._process.poll()
        self._stderr.seek(0)
        said = f"{answer}\n{self._stderr.read().decode(errors='replace')}".strip()[-2000:]
        self.close()
        what = "answered with no score" if status is None else f"ended with exit status {status}"
        return f"METEOR {what}. It said: {said or '(nothing)'}. It needs about 2 GB of memory; leave 'meteor' out of the metrics to go on without it."


def _end(process: subprocess.Popen[bytes], stderr: IO[bytes]) -> None:
    """Stop the process, wait for it, and release its pipes."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was never sent to a process that is gone
                pipe.close()
    process.wait()
    stderr.close()
