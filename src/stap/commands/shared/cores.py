"""PyTorch's threads on cores that other programs use too.

GNU OpenMP's threads spin for milliseconds while they wait for each other. That is fastest on idle cores. Beside another program they spin on
the core that the thread they wait for needs, and a training step of the demo takes dozens of times as long. OpenMP itself has the
cure: when a process has more threads in its teams than there are cores, they spin for a thousandth of the time and then sleep. So
while this process waits for cores, one more team exists. No number changes: every operation keeps its threads.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["polite_threads"]

POLL_SECONDS = 0.5
BUSY, IDLE = 0.5, 0.05  # seconds that this process's threads waited for a core, a second
SECONDS_HELD = 10.0  # before the cores are tried again


@contextmanager
def polite_threads() -> Iterator[None]:
    """Let PyTorch's threads sleep instead of spin whenever the cores are taken. Does nothing where Linux's /proc is missing."""
    stop = threading.Event()
    if Path("/proc/self/task").is_dir():
        threading.Thread(target=_watch_the_cores, args=(stop,), name="polite-threads", daemon=True).start()
    try:
        yield
    finally:
        stop.set()


def _watch_the_cores(stop: threading.Event) -> None:
    team: threading.Event | None = None  # set to end it
    held_until = 0.0
    waited, at = _seconds_waited(), time.monotonic()
    while not stop.wait(POLL_SECONDS):
        before, then = waited, at
        waited, at = _seconds_waited(), time.monotonic()
        share = (waited - before) / (at - then)
        if share > BUSY and "torch" in sys.modules:
            held_until = at + SECONDS_HELD
            team = team or _one_more_team()
        elif team and share < IDLE and at > held_until:
            team.set()
            team = None
    if team:
        team.set()


def _seconds_waited() -> float:
    """How long the threads of this process have been ready to run without a core (the second field of schedstat, in ns)."""
    waited = 0
    for task in Path("/proc/self/task").iterdir():
        try:
            waited += int((task / "schedstat").read_text().split()[1])
        except (OSError, IndexError):  # a thread that has ended, a kernel that does not count
            continue
    return waited / 1e9


def _one_more_team() -> threading.Event:
    """A thread that has an OpenMP team of its own until the event is set."""
    import torch

    done = threading.Event()

    def hold() -> None:
        torch.ones(1 << 20).add_(1)  # large enough for all threads
        done.wait()

    threading.Thread(target=hold, name="one-more-team", daemon=True).start()
    return done
