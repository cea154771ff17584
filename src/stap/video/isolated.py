"""Decoding in a process that may die: what a hostile or damaged file does there ends as a VideoError here.

The process is `python -m stap.video.worker`. It is asked in lines of JSON and answers in lines of JSON, each followed by as many bytes as
the line says under "bytes"; nothing that it sends is ever executed. A process serves one file at a time and is used again for the next.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from stap.errors import VideoError
from stap.recipes.settings import VideoLimits
from stap.video.files import check_file

__all__ = ["Answers", "ask", "end_idle"]

Answers = Iterator[tuple[dict[str, Any], np.ndarray | None]]

_GRACE_SECONDS = 10  # the process keeps the limit of time itself; it is killed where one picture takes longer than that
_CHUNK_BYTES = 1 << 20


def ask(path: Path, limits: VideoLimits, request: dict[str, Any]) -> Answers:
    """What the process answers, each with its picture or pictures (uint8, of the shape that it names) if there are some.

    Raises VideoError where the process reports one, dies, or does not answer in time.
    """
    check_file(path)
    with _worker() as worker:
        worker.send(
            {**request, "path": os.fspath(path), "folder": os.fspath(Path.cwd()), "limits": limits.model_dump(mode="json")}
        )
        while True:
            try:
                answer = worker.receive(limits.seconds + _GRACE_SECONDS)
                array = worker.receive_array(answer, limits.seconds + _GRACE_SECONDS)
            except TimeoutError:
                raise VideoError(
                    f"{path}: reading it takes more than {limits.seconds:g} seconds, which is the limit. If you trust the file, raise the "
                    "limit 'seconds'."
                ) from None
            except EOFError:
                raise VideoError(
                    f"{path}: decoding it ended the process that did it ({worker.end()}). The file is damaged or made to do harm. Get it "
                    f"again, or re-encode it, for example: ffmpeg -i {path.name} out.mp4"
                ) from None
            if "error" in answer:
                break
            yield answer, array
            if answer.get("is_last"):
                return
    raise VideoError(str(answer["error"]))  # the process is idle again


class _Worker:
    """The process, with its pipes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "stap.video.worker"],  # -P: no module of the current folder
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us; the process ends when we do, for its input ends then
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input: IO[bytes] = self._process.stdin
        self._output: IO[bytes] = self._process.stdout
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)
        self._unread = bytearray()
        with contextlib.suppress(ImportError, AttributeError, OSError):  # only Linux lets a pipe hold more
            import fcntl

            fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, _CHUNK_BYTES)

    def send(self, request: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # a process that is dead is met when its answer is read
            self._input.write(json.dumps(request).encode() + b"\n")
            self._input.flush()

    def receive(self, seconds: float) -> dict[str, Any]:
        """The next line. Raises TimeoutError, or EOFError if the process has ended or writes nonsense."""
        ends = time.monotonic() + seconds
        while b"\n" not in self._unread:
            self._wait(ends)
            part = os.read(self._output.fileno(), _CHUNK_BYTES)
            if not part:
                raise EOFError
            self._unread += part
        line, _, rest = bytes(self._unread).partition(b"\n")
        self._unread = bytearray(rest)
        try:
            return dict(json.loads(line))
        except (ValueError, TypeError):
            raise EOFError from None

    def receive_array(self, answer: dict[str, Any], seconds: float) -> np.ndarray | None:
        """The bytes behind a line, as its "shape" says."""
        if "shape" not in answer:
            return None
        array = np.empty([int(size) for size in answer["shape"]], dtype=np.uint8)
        flat, ends = memoryview(array.reshape(-1).data), time.monotonic() + seconds
        done = min(len(flat), len(self._unread))
        flat[:done] = self._unread[:done]
        del self._unread[:done]
        while done < len(flat):
            self._wait(ends)
            read = os.readv(self._output.fileno(), [flat[done:]])
            if not read:
                raise EOFError
            done += read
        return array

    def _wait(self, ends: float) -> None:
        if not self._poll.poll(max(0.0, 1000 * (ends - time.monotonic()))):
            raise TimeoutError

    def end(self) -> str:
        """How the process ended, which is over or writes nonsense."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        status = self._process.poll()
        if status is None:
            return "it answered nonsense"
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"

    def kill(self) -> None:
        """End the process, wherever it is."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._input, self._output):
            with contextlib.suppress(OSError):
                pipe.close()


_idle: list[_Worker] = []
_lock = threading.Lock()


@contextmanager
def _worker() -> Iterator[_Worker]:
    """An idle process, or a new one. One that was not used to its last answer is killed."""
    with _lock:
        worker = _idle.pop() if _idle else _Worker()
    try:
        yield worker
    except BaseException:
        worker.kill()
        raise
    with _lock:
        _idle.append(worker)


@atexit.register
def end_idle() -> None:
    """End the processes that wait for a file."""
    while _idle:
        _idle.pop().kill()
