"""Data of frame-sentence matching from videos: a few frames of each in memory, with its captions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stap.captioning.batches import pad_words
from stap.corpora.corpus import Clip
from stap.errors import VideoError
from stap.features.grid import GridExtractor, PreparedVideo
from stap.text.rules import TokenizedClip
from stap.text.vocabulary import Vocabulary
from stap.video.threads import available_cores

__all__ = ["CaptionedFrames"]


class CaptionedFrames:
    """Frames and captions of a split.

    images: (videos, F, S, S, 3) uint8; a video with fewer frames shows some twice.   captions: word ids, by video.
    left_out: clips without a usable video or caption, (clip id, reason).   videos: what was read, by file, for an extractor that
    samples in the same way; only those with as many frames as the others, since they share their memory with `images`.
    """

    def __init__(
        self,
        images: Tensor,
        captions: list[list[list[int]]],
        left_out: tuple[tuple[str, str], ...],
        videos: Mapping[Path, PreparedVideo] | None = None,
    ) -> None:
        self.images, self.captions, self.left_out, self.videos = images, captions, left_out, videos or {}

    def __len__(self) -> int:
        return len(self.captions)

    @classmethod
    def read(cls, clips: Sequence[TokenizedClip[Clip]], extractor: GridExtractor, vocabulary: Vocabulary) -> CaptionedFrames:
        """Decode `extractor.frames` frames of every clip, as many clips at a time as there are cores."""
        size = extractor.image_size
        images = torch.empty(len(clips), extractor.frames, size, size, 3, dtype=torch.uint8)
        captions: list[list[list[int]]] = []
        left_out: list[tuple[str, str]] = []
        videos: dict[Path, PreparedVideo] = {}
        with ThreadPoolExecutor(available_cores()) as threads:
            for one, read in zip(clips, threads.map(lambda one: _read(one.clip, extractor), clips), strict=True):
                if isinstance(read, VideoError):
                    left_out.append((one.clip.id, str(read)))
                elif not one.training_words:
                    left_out.append((one.clip.id, f"{one.clip.id}: none of its captions has a word."))
                else:
                    shown = images[len(captions)]
                    shown.copy_(
                        read.images_uint8[torch.linspace(0, len(read.images_uint8) - 1, extractor.frames).round().long()]
                    )
                    if len(read.images_uint8) == extractor.frames:
                        videos[one.clip.path] = replace(read, images_uint8=shown)
                    captions.append([vocabulary.encode(words, len(words)) for words in one.training_words])
        return cls(images[: len(captions)], captions, tuple(left_out), videos)

    def epoch(self, batches: int, captions_per_frame: int, seed: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Every video once, in so many batches of N videos: one frame each, (N, S, S, 3), and K captions, (N*K, L).

        N may differ by one from batch to batch. Caption n is of the batch's video n // K. The seed alone decides which frames
        and captions; a video with fewer than K captions shows some twice.
        """
        random = np.random.default_rng(list(seed))
        for videos in np.array_split(random.permutation(len(self)), batches):
            frames = random.integers(self.images.shape[1], size=len(videos))
            rows = [
                self.captions[video][number]
                for video in videos
                for number in np.resize(random.permutation(len(self.captions[video])), captions_per_frame)
            ]
            yield self.images[torch.from_numpy(videos), torch.from_numpy(frames)], pad_words(rows)

    def middle_frames(self, count: int) -> Iterator[Tensor]:
        """The middle frame of each video, (<= count, S, S, 3) uint8 at a time."""
        yield from torch.split(self.images[:, self.images.shape[1] // 2], count)


def _read(clip: Clip, extractor: GridExtractor) -> PreparedVideo | VideoError:
    try:
        return extractor.read(clip.path, threads=1)  # as many videos at a time as cores
    except VideoError as error:
        return error
