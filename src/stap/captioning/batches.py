"""Batches of features and captions as padded tensors, and reading ahead in a thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.profiler import record_function

from stap.errors import FeatureError
from stap.models.batch import VideoBatch
from stap.text.special_ids import PAD
from stap.video.threads import decoding_threads

__all__ = ["pad_words", "read_ahead", "read_videos"]

Item = TypeVar("Item")
Made = TypeVar("Made")


def read_videos(
    read: Callable[[str], dict[str, Tensor]], video_ids: Sequence[str], numbers: Sequence[int] | None = None
) -> VideoBatch:
    """The features of these videos as one padded batch, in the type they are stored in (see `VideoBatch.to`).

    A stream of one vector a video becomes (B, D); one with a time axis (B, T, ...), padded to the longest video of that stream.
    read: gives the streams of a video id.   numbers: `VideoBatch.video_numbers`; by default all videos differ.
    Raises FeatureError if a file is missing or damaged, or its streams or sizes differ from those of the first video.
    """
    videos = [read(video_id) for video_id in video_ids]
    streams, is_padding = {}, {}
    for name in sorted(videos[0]):
        arrays = _same_sizes(name, videos, video_ids)
        if arrays[0].dim() == 1:  # one vector a video
            streams[name] = torch.stack(arrays)  # (B, D)
        else:
            streams[name] = _pad_time(arrays)  # (B, T, ...)
            is_padding[name] = _is_padding([len(array) for array in arrays])  # (B, T)
    return VideoBatch(streams, is_padding, torch.tensor(range(len(video_ids)) if numbers is None else numbers))


def pad_words(rows: Sequence[Sequence[int]]) -> Tensor:
    """(N, L) int64: word ids, filled with PAD to the longest row."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])


def read_ahead(make: Callable[[Item], Made], items: Iterable[Item], depth: int = 2) -> Iterator[Made]:
    """`make(item)` of each item in order; a background thread works up to `depth` items ahead. Raises what `make` raises, in its place.

    `make` leaves large tensors to NumPy or to the caller. PyTorch's operations on them would start threads of this thread's own, and then
    more threads than cores would wait for each other: GNU OpenMP then stops spinning, which slows every step.
    """
    waiting: deque[Future[Made]] = deque()
    with decoding_threads(1, "read-ahead") as thread:
        for item in items:
            waiting.append(thread.submit(make, item))
            if len(waiting) > depth:
                yield _awaited(waiting.popleft())
        while waiting:
            yield _awaited(waiting.popleft())


def _awaited(future: Future[Made]) -> Made:
    with record_function("waiting for features"):
        return future.result()


def _same_sizes(name: str, videos: Sequence[dict[str, Tensor]], video_ids: Sequence[str]) -> list[Tensor]:
    first = videos[0][name]
    for video, video_id in zip(videos, video_ids, strict=True):
        given = tuple(video[name].shape) if name in video else "nothing"
        if (
            given == "nothing"
            or video[name].dim() != first.dim()
            or video[name].shape[first.dim() > 1 :] != first.shape[first.dim() > 1 :]
        ):
            raise FeatureError(
                f"{video_id}: stream {name} has the shape {given}, but {tuple(first.shape)} in {video_ids[0]}; "
                "expected the same sizes in all videos of a store, except for the number of frames. Extract the features again."
            )
    return [video[name] for video in videos]


def _pad_time(arrays: Sequence[Tensor]) -> Tensor:
    # NumPy copies in the calling thread; torch would start its own threads for each video, and they would fight with the model's.
    padded = np.zeros((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]), dtype=arrays[0].numpy().dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array.numpy()
    return torch.from_numpy(padded)


def _is_padding(lengths: Sequence[int]) -> Tensor:
    return torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]
