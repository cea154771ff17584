"""Ctrl-C, SIGTERM and SIGHUP end a command within five seconds, also in the middle of a call that does not return.

The first of them raises KeyboardInterrupt in the main thread, as Ctrl-C does, so that files are finished and temporary ones removed.
That waits for the call that runs, and a decoder may run for minutes. So a thread, which the operating system wakes even then, gives
the command `PATIENCE_SECONDS`; after them it removes the unfinished files and ends the process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from stap.files import remove_unfinished

__all__ = ["INTERRUPTED", "Interruption", "continued_by", "has_been_said"]

INTERRUPTED = 130  # the shell's exit status of a program stopped with Ctrl-C
PATIENCE_SECONDS = 3.5
SOON_SECONDS = 0.05

has_been_said = threading.Event()  # that the command was interrupted, and how to continue
_how_to_continue = ["Run the same line again."]  # of the block that runs, innermost last


class Interruption:
    """A block that these signals end. Signals that were ignored before (nohup, a shell's background job) stay ignored.

    It does nothing outside the main thread, where Python handles no signals.
    """

    def __init__(self) -> None:
        """Not yet interrupted."""
        self.has_come = False
        self._may_raise = False  # a signal that comes while the block is entered or left is only noted
        self._deadline = float("inf")
        self._is_over = threading.Event()
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> Interruption:
        """Take the signals, and start the thread that waits for them."""
        has_been_said.clear()
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._handlers[number] = signal.signal(number, self._raise_once)
        if self._handlers:
            self._hook, sys.unraisablehook = sys.unraisablehook, self._raise_again
            self._waker, self._sleeper = socket.socketpair()
            self._waker.setblocking(False)
            self._waker_before = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
            threading.Thread(target=self._watch, daemon=True, name="interruption").start()
        if self.has_come:
            self.__exit__()
            raise KeyboardInterrupt
        self._may_raise = True
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the threads that a program would wait for, no longer than the deadline; give the signals back."""
        self._may_raise = False
        if not self._handlers:
            return
        if self.has_come:
            self._wait_for_threads()
        self._is_over.set()
        sys.unraisablehook = self._hook
        signal.set_wakeup_fd(self._waker_before)
        self._waker.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _raise_once(self, number: int, frame: FrameType | None) -> None:
        """A second signal would only disturb the first one's work, which is over soon."""
        self.has_come = True
        if self._may_raise:
            self._may_raise = False
            raise KeyboardInterrupt

    def _raise_again(self, lost: sys.UnraisableHookArgs) -> None:
        """Where the signal came while an object was finalized, Python prints the KeyboardInterrupt and goes on: raise it soon after."""
        if self._may_raise or lost.exc_type is not KeyboardInterrupt:
            self._hook(lost)
            return
        self._may_raise = True
        threading.Timer(SOON_SECONDS, self._signal_again).start()

    def _signal_again(self) -> None:
        if not self._is_over.is_set():
            os.kill(os.getpid(), next(iter(self._handlers)))

    def _watch(self) -> None:
        with self._sleeper, contextlib.suppress(OSError):
            while (data := self._sleeper.recv(1)) and data[0] not in self._handlers:
                pass
            self._deadline = time.monotonic() + PATIENCE_SECONDS
            self.has_come |= bool(data)  # a library may have handlers of its own for a while
            if data and not self._is_over.wait(PATIENCE_SECONDS):
                _end_now()

    def _wait_for_threads(self) -> None:
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join(max(0.0, min(self._deadline - time.monotonic(), PATIENCE_SECONDS)))
                if thread.is_alive():
                    _end_now()


@contextmanager
def continued_by(how_to_continue: str) -> Iterator[None]:
    """The sentence that says how to go on, for a block whose process may have to be ended."""
    _how_to_continue.append(how_to_continue)
    try:
        yield
    finally:
        _how_to_continue.pop()


def _end_now() -> None:
    """End the process without its consent. Rows of results are already written; what is half written goes."""
    for child in multiprocessing.active_children():
        child.kill()
    remove_unfinished()
    with contextlib.suppress(OSError, ValueError):
        if not has_been_said.is_set():
            os.write(sys.__stderr__.fileno(), f"stap: interrupted. {_how_to_continue[-1]}\n".encode())  # type: ignore[union-attr]
    os._exit(INTERRUPTED)
