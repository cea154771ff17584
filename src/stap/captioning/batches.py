"""Epochs of training batches: which captions of which videos go together, read ahead in a thread."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from stap.errors import CorpusError, FeatureError
from stap.models.batch import CaptionBatch, VideoBatch
from stap.text.special_ids import PAD
from stap.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from stap.corpora.corpus import Clip
    from stap.features.streams import FeatureStreams
    from stap.text.rules import TextRules

__all__ = ["CaptionedVideos", "Group", "epoch_plan", "pad_words", "read_ahead", "read_videos"]

FILES_KEPT_OPEN = 49_152  # memory-mapped, one a video and stream; Linux allows a process 65,530 mappings

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Group:
    """One video in a batch: its number in the split, and the numbers of its captions shown there."""

    video: int
    captions: tuple[int, ...]


def epoch_plan(
    caption_counts: Sequence[int], batch_size: int, captions_per_video: int, seed: Sequence[int]
) -> list[list[Group]]:
    """The batches of an epoch that shows every caption once, in an order drawn from `seed`.

    Each video's captions are shuffled and cut into groups of `captions_per_video`; a last group that is too small is filled
    with other captions of the same video. The groups are spread over as few batches as hold them all, equally many in each
    (up to one), and groups of one video go to different batches as long as it has no more groups than there are batches.
    """
    random = np.random.default_rng(list(seed))
    groups = [_groups_of(video, count, captions_per_video, random) for video, count in enumerate(caption_counts)]
    number_of_batches = -(-sum(map(len, groups)) // batch_size)
    batches: list[list[Group]] = [[] for _ in range(number_of_batches)]
    load = np.zeros(number_of_batches)
    for video in random.permutation(len(groups)):
        for first in range(0, len(groups[video]), number_of_batches):
            part = groups[video][first : first + number_of_batches]
            emptiest = np.argsort(load + random.random(number_of_batches))[: len(part)]  # equal loads in random order
            load[emptiest] += 1
            for batch, group in zip(emptiest, part, strict=True):
                batches[batch].append(group)
    return batches


def _groups_of(video: int, captions: int, size: int, random: np.random.Generator) -> list[Group]:
    order = random.permutation(captions)
    groups = [order[first : first + size] for first in range(0, captions, size)]
    if groups and len(groups[-1]) < size:
        others = random.permutation(np.setdiff1d(order, groups[-1]))
        filled = np.concatenate([groups[-1], others])[:size]
        groups[-1] = np.resize(filled, size)  # a video with fewer captions than `size` shows some of them again
    return [Group(video, tuple(map(int, group))) for group in groups]


class CaptionedVideos:
    """A split of a corpus, ready to be cut into batches: clips, their captions as word ids, and where their features are.

    Captions without any word are left out, and those that the rules drop; so are clips that have no other caption. Raises
    CorpusError if nothing is left.
    """

    def __init__(self, clips: Sequence[Clip], vocabulary: Vocabulary, store: FeatureStreams, rules: TextRules) -> None:
        encoded = dict(zip([clip.id for clip in clips], rules.encoded(clips, vocabulary), strict=True))
        self.video_ids = [clip.id for clip in clips if encoded[clip.id]]
        self.captions = [encoded[video_id] for video_id in self.video_ids]
        self.vocabulary = vocabulary
        self._read = lru_cache(FILES_KEPT_OPEN // len(store.stores))(store.read)
        if not self.video_ids:
            raise CorpusError(
                f"none of the {len(clips)} clips has a caption with words. Check the corpus folder and its splits."
            )

    @property
    def digest(self) -> dict[str, Any]:
        """What tells these captions from others: counts for people, and a hash for everything else."""
        content = json.dumps([self.vocabulary.words, self.video_ids, self.captions]).encode()
        return {
            "clips": len(self.video_ids),
            "captions": sum(map(len, self.captions)),
            "words": len(self.vocabulary),
            "sha256": hashlib.sha256(content).hexdigest()[:12],
        }

    def epoch(self, batch_size: int, captions_per_video: int, seed: Sequence[int]) -> list[list[Group]]:
        """The plan of an epoch; see `epoch_plan`."""
        return epoch_plan([len(captions) for captions in self.captions], batch_size, captions_per_video, seed)

    def batch(self, groups: Sequence[Group]) -> tuple[VideoBatch, CaptionBatch]:
        """The features (as stored, see `VideoBatch.to`) and the captions of one batch of the plan."""
        numbers = [group.video for group in groups]
        videos = read_videos(self._read, [self.video_ids[number] for number in numbers], numbers)
        rows = [self.captions[group.video][caption] for group in groups for caption in group.captions]
        return videos, CaptionBatch(pad_words(rows), captions_per_video=len(groups[0].captions))


def read_videos(
    read: Callable[[str], dict[str, Tensor]], video_ids: Sequence[str], numbers: Sequence[int] | None = None
) -> VideoBatch:
    """The features of these videos as one padded batch, in the type they are stored in.

    A stream of one vector a video becomes (B, D); one with a time axis (B, T, ...), padded to its longest video, each stream
    for itself.   read: of feature streams.   numbers: `VideoBatch.video_numbers`; by default each video is another one.
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
    """`make(item)` of each item in order, made in one background thread up to `depth` items ahead. Errors of `make` come through."""
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        try:
            for item in items:
                waiting.append(thread.submit(make, item))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


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
                "expected the same sizes in all videos of a store but for the number of frames. Make the features again."
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
