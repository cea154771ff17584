"""Threads that decode videos."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import Full, Queue
from threading import Event
from typing import TypeVar

__all__ = ["available_cores", "decoding_threads", "hand_over"]

_PATIENCE_SECONDS = 0.2
Item = TypeVar("Item")


def available_cores() -> int:
    """Of the processor, those that this process may run on: a job of a cluster has four of the machine's sixty-four."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def decoding_threads(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads. What they have not begun when the block ends is dropped; after an error the running ones are not waited for."""
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown(wait=True, cancel_futures=True)


def hand_over(queue: Queue[Item], item: Item, is_over: Event) -> None:
    """Put what a thread has found, when there is room for it. Ends the thread once `is_over` is set: then nobody takes anything more."""
    while not is_over.is_set():
        try:
            return queue.put(item, timeout=_PATIENCE_SECONDS)
        except Full:
            continue
    raise SystemExit
