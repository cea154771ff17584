"""The process that decodes for `isolated.py`: python -m stap.video.worker, asked on its input, answering on its output."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import numpy as np

from stap.errors import VideoError
from stap.files import unforeseen
from stap.recipes.settings import VideoLimits
from stap.video.clips import FrameStream, ViewSizes
from stap.video.frames import sample_frames

__all__: list[str] = []

# Memory besides that of the pictures taken from a file: Python, FFmpeg, its threads and the pictures that they refer to.
_OWN_MIB = 2048


def main() -> None:
    """Answer until the input ends, which ends the process at once, also in the middle of a file: no caller waits for the answer."""
    requests: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    while True:
        _answer(requests.get(), output)


def _read_requests(requests: SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin.buffer:
        requests.put(json.loads(line))
    os._exit(0)


def _answer(request: dict[str, Any], output: Any) -> None:
    limits = VideoLimits(**{**request.pop("limits"), "isolate": False})
    _limit_memory(limits.memory_mib + _OWN_MIB)
    os.chdir(request.pop("folder"))
    try:
        for answer, pictures in (_stream if request.pop("is_stream") else _sample)(limits, **request):
            _write(output, answer, pictures)
    except VideoError as error:
        _write(output, {"error": str(error)}, None)
    except Exception as problem:
        _write(output, {"error": f"{unforeseen(request['path'], problem)}. Check that it plays, or get it again."}, None)


def _sample(limits: VideoLimits, **request: Any) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    frames = sample_frames(**request, limits=limits)
    header = {
        "times_seconds": frames.times_seconds.tolist(),
        "duration_seconds": frames.duration_seconds,
        "warnings": frames.warnings,
    }
    yield {**header, "is_last": True}, frames.rgb_uint8


def _stream(limits: VideoLimits, **request: Any) -> Iterator[tuple[dict[str, Any], np.ndarray | None]]:
    is_listing = request.pop("is_listing", False)
    sizes = request["view_sizes"] and ViewSizes(**request.pop("view_sizes"))
    stream = FrameStream(**{**request, "view_sizes": sizes}, limits=limits)
    yield {**stream.header(), "is_last": is_listing}, None
    if is_listing:
        return
    if sizes:
        for view in stream.views():
            yield {}, view.thumbnail
            for side in sizes.short_sides:
                yield {"short_side": side}, view.picture(side)
    else:
        for picture in stream:
            yield {}, picture
    yield {"warnings": stream.warnings, "is_last": True}, None


def _write(output: Any, answer: dict[str, Any], pictures: np.ndarray | None) -> None:
    if pictures is not None:
        answer = {**answer, "shape": pictures.shape}
    output.write(json.dumps(answer).encode() + b"\n")
    if pictures is not None:
        output.write(np.ascontiguousarray(pictures).data.cast("B"))
    output.flush()


def _limit_memory(mib: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # no such limit on Windows; macOS does not keep it
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (mib << 20, hard))


if __name__ == "__main__":
    main()
