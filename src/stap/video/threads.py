"""Threads that decode videos."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import Full, Queue
from threading import Event
from typing import TypeVar

__all__ = ["available_cores", "decoding_threads", "hand_over", "keep_to_cores"]

_PATIENCE_SECONDS = 0.2
Item = TypeVar("Item")


_share: int | None = None


def available_cores() -> int:
    """The number of cores that this process may use: a cluster job may have 4 of a machine's 64."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return cores if _share is None else min(cores, _share)


def keep_to_cores(count: int) -> None:
    """From now on no more than so many cores are available to this process, which shares its machine with others like it."""
    global _share
    _share = count


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
