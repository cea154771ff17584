"""Memory that is freed stays with the process, for the next batch.

The C library of Linux (glibc) gives large blocks back to the system as soon as they are freed, and the system clears every page of the
next one. A training step allocates the same large blocks again and again.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

# Numbers and names of malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGE = 1 << 30  # bytes; larger blocks are given back as before


def keep_freed_memory() -> None:
    """Keep freed blocks of up to 1 GiB for this process. Does nothing where the C library is not glibc."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, LARGE)
