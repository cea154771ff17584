"""What one video file may still cost: the limits of `stap.recipes.settings.VideoLimits`, watched while it is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from stap.errors import VideoError
from stap.recipes.settings import VideoLimits

__all__ = ["Budget"]

# Of a pixel in a thread of the decoder: four pictures of three colours in 16 bits, at most.
_THREAD_BYTES = 4 * 3 * 2

Result = TypeVar("Result")


class Budget:
    """The limits of one file and the time spent on it so far.

    Only reading and decoding count, not what is done with the pictures meanwhile. A call into FFmpeg is not interrupted while it
    computes, so the time may be exceeded by that of one picture, which the limit of pixels bounds.
    """

    def __init__(self, path: Path, limits: VideoLimits | None = None) -> None:
        self.path = path
        self.limits = limits or VideoLimits()
        self.spent_seconds = 0.0

    @property
    def left_seconds(self) -> float:
        """Time that is left, never 0."""
        return max(self.limits.seconds - self.spent_seconds, 1e-3)

    def timed(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """What `work(*arguments)` returns. Raises VideoError if the time is over then."""
        begun = time.perf_counter()
        try:
            return work(*arguments)
        finally:
            self.spent_seconds += time.perf_counter() - begun
            if self.spent_seconds > self.limits.seconds:
                raise self._refusal(f"reading it takes more than {self.limits.seconds:g} seconds", "seconds")

    def check_frames(self, frames: int) -> None:
        """Raise VideoError if a file has so many frames."""
        if frames > self.limits.frames:
            raise self._refusal(f"it has more than {self.limits.frames:,} frames", "frames")

    def check_size(self, width: int, height: int) -> None:
        """Raise VideoError if a picture, as stored or as resized, is too large or too narrow."""
        if width * height > self.limits.pixels:
            raise self._refusal(f"its pictures of {width}x{height} have more than {self.limits.pixels:,} pixels", "pixels")
        if max(width, height) > self.limits.aspect * min(width, height):
            raise self._refusal(
                f"its pictures of {width}x{height} are longer than {self.limits.aspect:g} times their width", "aspect"
            )

    def check_memory(self, pictures: int, bytes_each: int) -> None:
        """Raise VideoError if so many pictures do not fit."""
        needed = pictures * bytes_each
        if needed > self.limits.memory_mib << 20:
            raise self._refusal(
                f"{pictures} pictures of it take {needed >> 20:,} MiB, more than {self.limits.memory_mib:,}", "memory_mib"
            )

    def threads(self, wanted: int, width: int, height: int) -> int:
        """As many threads of the decoder as the memory allows, for each holds pictures of its own."""
        return max(1, min(wanted, (self.limits.memory_mib << 20) // (_THREAD_BYTES * max(1, width * height))))

    def too_slow(self) -> VideoError:
        """The error for a file on which FFmpeg has waited as long as it may."""
        return self._refusal(f"reading it takes more than {self.limits.seconds:g} seconds", "seconds")

    def _refusal(self, what: str, limit: str) -> VideoError:
        return VideoError(f"{self.path}: {what}, which is the limit. If you trust the file, raise the limit '{limit}'.")
