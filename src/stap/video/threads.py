"""Threads that decode videos."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

__all__ = ["decoding_threads"]


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
