"""Captions of many files: decoded ahead in threads, captioned in batches, and one bad file stops no other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from torch.profiler import record_function

from stap.captioning.protocol import SampledClip
from stap.captioning.video_caption import VideoCaption, key_frame
from stap.decoding.draw import Draws
from stap.errors import StapError, VideoError
from stap.files import unforeseen
from stap.video import Frames
from stap.video.threads import available_cores, decoding_threads

__all__ = ["BatchCaptioner", "Decoded"]

DECODERS = 2  # threads; each decodes a file
FILES_AHEAD = 16  # the most in a batch, and decoded before the networks take them: bounds the memory

Decoded: TypeAlias = Any  # what a captioner keeps of a video until its networks take it
Item: TypeAlias = tuple[Path, Decoded]

GET_IT_AGAIN = "Check that it plays, or get it again."


class BatchCaptioner(ABC):
    """The part of a captioner that is the same for all of them. A captioner says how it decodes a video, and describes decoded ones.

    pictures: whether the captions of `caption_many` come with key frames.
    """

    pictures = False

    @abstractmethod
    def _read(self, path: Path, threads: int | None = None) -> Decoded:
        """The decoded file. Runs in a thread. Raises VideoError.   threads: of the decoder; None for one per core."""

    @abstractmethod
    def _prepare(self, path: Path, frames: Sequence[Frames]) -> Decoded:
        """The same from frames that were decoded elsewhere."""

    @abstractmethod
    def _describe(self, videos: Sequence[Item], beam_width: int | None, draws: Draws | None) -> list[VideoCaption]:
        """The captions of decoded videos, which share batches."""

    @abstractmethod
    def _frames_seen(self, video: Decoded) -> np.ndarray | None:
        """The pictures of a decoded video, (T, height, width, 3) uint8; None where there are none."""

    def caption(self, path: str | Path, beam_width: int | None = None, *, draws: Draws | None = None) -> VideoCaption:
        """The caption of a video file, without <unk>. Raises VideoError if no frame of it decodes.

        draws: captions drawn at random instead: the first is the caption, the others are its alternatives.
        """
        [caption] = self._describe([(Path(path), self._read(Path(path)))], beam_width, draws)
        return caption

    def caption_many(
        self,
        paths: Iterable[str | Path],
        *,
        beam_width: int | None = None,
        draws: Draws | None = None,
        on_error: Callable[[Path, StapError], None] | None = None,
    ) -> Iterator[VideoCaption]:
        """Yield the captions in order. Threads decode the next files meanwhile, and those that are ready share a batch of the networks.

        A file that cannot be captioned, for whatever reason, is passed to `on_error` and skipped; without `on_error` its error is
        raised, an unexpected one as a VideoError.
        """
        for files in self._decoded(map(Path, paths)):
            for (path, video), caption in zip(files, self._captions(files, beam_width, draws), strict=True):
                if isinstance(caption, VideoCaption):
                    seen = self._frames_seen(video) if self.pictures else None
                    yield caption if seen is None else replace(caption, picture=key_frame(caption, seen))
                    continue
                error = _as_stap_error(path, caption)
                if on_error is None:
                    raise error from caption
                on_error(path, error)

    def caption_frames(
        self, clips: Sequence[SampledClip], *, beam_width: int | None = None, draws: Draws | None = None
    ) -> list[VideoCaption | StapError]:
        """The caption of each clip from frames that were decoded elsewhere, or the reason why it has none. Clips share batches."""
        videos = [(clip.path, _result(partial(self._prepare, clip.path, clip.frames))) for clip in clips]
        parts = [videos[first : first + FILES_AHEAD] for first in range(0, len(videos), FILES_AHEAD)]
        captions = [caption for part in parts for caption in self._captions(part, beam_width, draws)]
        return [
            caption if isinstance(caption, VideoCaption) else _as_stap_error(clip.path, caption)
            for clip, caption in zip(clips, captions, strict=True)
        ]

    def _decoded(self, paths: Iterator[Path]) -> Iterator[list[Item]]:
        """The files in order, as many at a time as are ready, or why they are not. The first ones alone, so that a caption comes soon."""
        waiting: deque[tuple[Path, Future[Decoded]]] = deque()
        threads = max(1, available_cores() // DECODERS)
        most = DECODERS
        with decoding_threads(DECODERS, "decode") as pool:
            while True:
                waiting.extend((path, pool.submit(self._read, path, threads)) for path in islice(paths, most - len(waiting)))
                if not waiting:
                    return
                ready = [waiting.popleft()]
                while waiting and waiting[0][1].done():
                    ready.append(waiting.popleft())
                with record_function("waiting for decoded videos"):
                    decoded = [(path, _result(future.result)) for path, future in ready]
                yield decoded
                most = min(2 * most, FILES_AHEAD)

    def _captions(
        self, videos: Sequence[Item], beam_width: int | None, draws: Draws | None = None
    ) -> list[VideoCaption | Exception]:
        """The caption of each video, or the reason why it has none. Where a batch fails, each of its videos is tried alone."""
        sound = [(path, video) for path, video in videos if not isinstance(video, Exception)]
        try:
            captions: list[VideoCaption | Exception] = [*self._describe(sound, beam_width, draws)] if sound else []
        except Exception as error:  # a decoder's unforeseen failure on one file must not stop ten thousand others
            captions = [error] if len(sound) == 1 else [self._captions([video], beam_width, draws)[0] for video in sound]
        following = iter(captions)
        return [video if isinstance(video, Exception) else next(following) for _, video in videos]


def _as_stap_error(path: Path, error: Exception) -> StapError:
    return error if isinstance(error, StapError) else VideoError(f"{unforeseen(path, error)}. {GET_IT_AGAIN}")


def _result(make: Callable[[], Decoded]) -> Decoded | Exception:
    try:
        return make()
    except Exception as error:  # passed on as this video's
        return error
