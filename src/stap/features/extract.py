"""Many videos to a feature store: decoded ahead in threads, several short videos in one call of a GPU's network, resumable."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from stap.errors import FeatureError, StapError
from stap.features.extractor import SECTIONS, Extractor, PackingExtractor, TwoStepExtractor, features_of_pictures
from stap.features.grid import PreparedVideo
from stap.features.store import FeatureStore, VideoFeatures
from stap.files import unforeseen
from stap.video.threads import available_cores, decoding_threads

__all__ = ["ExtractionReport", "extract"]

AHEAD = 3  # videos that a worker may have decoded or begun before the network takes them: bounds the memory


@dataclass(frozen=True)
class ExtractionReport:
    """What became of the videos."""

    written: int
    already_there: int
    failed: tuple[tuple[str, str], ...]  # (video id, reason), in the order of the items
    warnings: tuple[str, ...]

    @classmethod
    def of_parts(cls, parts: Sequence[ExtractionReport], video_ids: Sequence[str]) -> ExtractionReport:
        """Of the videos of all parts.   video_ids: in the order in which failed ones are listed."""
        place = {video_id: index for index, video_id in enumerate(video_ids)}
        return cls(
            sum(part.written for part in parts),
            sum(part.already_there for part in parts),
            tuple(sorted((one for part in parts for one in part.failed), key=lambda failure: place[failure[0]])),
            tuple(sentence for part in parts for sentence in part.warnings),
        )


@dataclass
class _Tally:
    """What became of the videos so far."""

    total: int
    on_progress: Callable[[int, int, str], None] | None
    written: int = 0
    already_there: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def progress(self, video_id: str) -> None:
        if self.on_progress:
            self.on_progress(self.written + self.already_there + len(self.failed), self.total, video_id)

    def fail(self, video_id: str, reason: str) -> None:
        self.failed.append((video_id, reason))
        self.progress(video_id)


def extract(
    items: Sequence[tuple[str, Path]],
    extractor: Extractor,
    store: FeatureStore,
    *,
    workers: int = 2,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> ExtractionReport:
    """Bring the features of all videos into the store. Those already there are left alone: run again to finish a killed run.

    items: (video id, file); an id names one video.   workers: threads that decode.
    on_progress: called as (videos done, videos in all, video id) after each video, in the calling thread.
    A video that fails is listed in the report, and the others go on. A store that cannot be written stops the run with a
    FeatureError; what was stored before stays. An extractor of one step reads its videos in the calling thread.
    """
    if getattr(extractor, "has_random_weights", False):
        section = SECTIONS[extractor.spec.stream]
        raise FeatureError(
            f"{section}.weights is 'random', and such features mean nothing. Give 'pretrained' or a weights file."
        )
    _check_distinct(items)
    store.begin()
    tally = _Tally(len(items), on_progress)
    todo = list(_not_yet_stored(items, store, tally))
    with decoding_threads(workers, "decode") as pool:
        videos = _without_failures(_decoded_ahead(todo, extractor, pool, workers), tally)
        if isinstance(extractor, PackingExtractor):
            made = _in_packs(videos, extractor, tally)
        else:
            made = _one_by_one(videos, extractor, tally)
        for video_id, features in made:
            store.write(video_id, features)  # an error here is the disk's, and would meet every video
            tally.written += 1
            tally.warnings.extend(features.warnings)
            tally.progress(video_id)
    found = ExtractionReport(tally.written, tally.already_there, tuple(tally.failed), tuple(tally.warnings))
    return ExtractionReport.of_parts([found], [video_id for video_id, _ in items])


def _check_distinct(items: Sequence[tuple[str, Path]]) -> None:
    paths: dict[str, Path] = {}
    for video_id, path in items:
        if video_id in paths:
            raise FeatureError(
                f"{video_id!r} is given twice, for {paths[video_id]} and {path}. Give every video its own id, once."
            )
        paths[video_id] = path


def _not_yet_stored(items: Sequence[tuple[str, Path]], store: FeatureStore, tally: _Tally) -> Iterator[tuple[str, Path]]:
    for video_id, path in items:
        try:
            there = video_id in store
        except FeatureError as error:  # an id that cannot be stored
            tally.fail(video_id, str(error))
            continue
        if there:
            tally.already_there += 1
            tally.progress(video_id)
        else:
            yield video_id, path


def _decoded_ahead(
    todo: Iterable[tuple[str, Path]], extractor: Extractor, pool: ThreadPoolExecutor, workers: int
) -> Iterator[tuple[str, Path, Future[Any]]]:
    """The videos in their order, while the pool is at work on those that follow; of an extractor of one step, their paths.

    In their order, so that a run from the start shares calls of a GPU, and so makes bits, in the same way every time.
    """
    threads = max(1, available_cores() // workers)  # all workers on all cores cost a quarter more on small videos
    read = partial(extractor.read, threads=threads) if isinstance(extractor, TwoStepExtractor) else Path
    videos = iter(todo)
    waiting: deque[tuple[str, Path, Future[Any]]] = deque()
    while True:
        for video_id, path in islice(videos, AHEAD * workers - len(waiting)):
            waiting.append((video_id, path, pool.submit(read, path)))
        if not waiting:
            return
        yield waiting.popleft()


def _without_failures(decoded: Iterable[tuple[str, Path, Future[Any]]], tally: _Tally) -> Iterator[tuple[str, Path, Any]]:
    for video_id, path, future in decoded:
        try:
            yield video_id, path, future.result()
        except StapError as error:
            tally.fail(video_id, str(error))
        except Exception as error:  # a decoder's unforeseen failure on one file must not stop ten thousand others
            tally.fail(video_id, unforeseen(path, error))


def _one_by_one(
    videos: Iterable[tuple[str, Path, Any]], extractor: Extractor, tally: _Tally
) -> Iterator[tuple[str, VideoFeatures]]:
    for video_id, path, video in videos:
        try:
            if isinstance(extractor, TwoStepExtractor):
                yield video_id, extractor.finish(video, name=str(path))
            else:
                yield video_id, extractor.extract(path)
        except StapError as error:
            tally.fail(video_id, str(error))
        except torch.OutOfMemoryError:  # would meet every video
            raise
        except Exception as error:  # an extractor of one step decodes here
            tally.fail(video_id, unforeseen(path, error))


def _in_packs(
    videos: Iterable[tuple[str, Path, PreparedVideo]], extractor: PackingExtractor, tally: _Tally
) -> Iterator[tuple[str, VideoFeatures]]:
    """Pictures: on a GPU those of several videos in one call, on a processor each video in a call of its own."""
    for pack in _packed(videos, extractor.images_per_call if extractor.shares_calls else 1):
        parts = features_of_pictures(extractor, [video for _, _, video in pack])
        for (video_id, path, video), part in zip(pack, parts, strict=True):
            try:
                yield video_id, extractor.package(part, video, name=str(path))
            except FeatureError as error:
                tally.fail(video_id, str(error))


def _packed(
    videos: Iterable[tuple[str, Path, PreparedVideo]], images_per_call: int
) -> Iterator[list[tuple[str, Path, PreparedVideo]]]:
    """Videos in groups that fit into one call of the network; one that is longer makes a group of its own."""
    pack: list[tuple[str, Path, PreparedVideo]] = []
    images = 0
    for video in videos:
        count = len(video[2].images_uint8)
        if pack and images + count > images_per_call:
            yield pack
            pack, images = [], 0
        pack.append(video)
        images += count
    if pack:
        yield pack
