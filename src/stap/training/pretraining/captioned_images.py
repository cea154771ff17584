"""Data of frame-sentence matching from images, which are decoded each time they are shown: they are too many for memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stap.captioning.batches import pad_words, read_ahead
from stap.corpora.corpus import Clip
from stap.errors import VideoError
from stap.features.grid import GridExtractor
from stap.text.rules import TokenizedClip
from stap.text.vocabulary import Vocabulary
from stap.video import sample_frames

__all__ = ["CaptionedImages", "random_crop"]

CROPS_TRIED = 10


class CaptionedImages:
    """Images and captions of a split.

    paths: of the image files.   captions: word ids, by image.   left_out: images that cannot be used, (id, reason).
    crops: show random crops, mirrored or not, instead of the centre.
    """

    def __init__(
        self,
        paths: list[Path],
        captions: list[list[list[int]]],
        left_out: tuple[tuple[str, str], ...],
        extractor: GridExtractor,
        *,
        crops: bool,
    ) -> None:
        self.paths, self.captions, self.left_out = paths, captions, left_out
        self._extractor, self._crops = extractor, crops

    def __len__(self) -> int:
        return len(self.captions)

    @classmethod
    def read(
        cls, clips: Sequence[TokenizedClip[Clip]], extractor: GridExtractor, vocabulary: Vocabulary, *, crops: bool
    ) -> CaptionedImages:
        """Decode every image once, to find the damaged ones before training."""
        paths: list[Path] = []
        captions: list[list[list[int]]] = []
        left_out: list[tuple[str, str]] = []
        with ThreadPoolExecutor() as threads:
            for one, problem in zip(clips, threads.map(lambda one: _problem(one.clip, extractor), clips), strict=True):
                if problem or not one.training_words:
                    left_out.append((one.clip.id, problem or f"{one.clip.id}: none of its captions has a word."))
                else:
                    paths.append(one.clip.path)
                    captions.append([vocabulary.encode(words, len(words)) for words in one.training_words])
        return cls(paths, captions, tuple(left_out), extractor, crops=crops)

    def epoch(self, batches: int, captions_per_frame: int, seed: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once and K of its captions, in so many batches: (N, S, S, 3) uint8 and (N*K, L), row n of image n // K.

        N may differ by one from batch to batch.
        The seed alone decides the order, the captions and the crops. An image with fewer than K captions shows some twice.
        """
        random = np.random.default_rng(list(seed))
        planned = []
        for images in np.array_split(random.permutation(len(self)), batches):
            rows = [
                self.captions[image][number]
                for image in images
                for number in np.resize(random.permutation(len(self.captions[image])), captions_per_frame)
            ]
            planned.append((images.tolist(), rows))
        with ThreadPoolExecutor(thread_name_prefix="decode") as threads:

            def batch(images_and_rows: tuple[list[int], list[list[int]]]) -> tuple[Tensor, Tensor]:
                images, rows = images_and_rows
                shown = threads.map(lambda image: self._show(image, [*seed, image]), images)
                return torch.stack(list(shown)), pad_words(rows)

            yield from read_ahead(batch, planned)

    def middle_frames(self, count: int) -> Iterator[Tensor]:
        """The centres of all images in order, (<= count, S, S, 3) uint8 at a time."""
        for start in range(0, len(self), count):
            yield torch.stack([_centre(path, self._extractor) for path in self.paths[start : start + count]])

    def _show(self, image: int, seed: list[int]) -> Tensor:
        if not self._crops:
            return _centre(self.paths[image], self._extractor)
        picture = torch.from_numpy(sample_frames(self.paths[image], 1, threads=1, limits=self._extractor.limits).rgb_uint8[0])
        return random_crop(picture, self._extractor.image_size, np.random.default_rng(seed))


def random_crop(picture: Tensor, size: int, random: np.random.Generator) -> Tensor:
    """A part of a picture scaled to a square, mirrored or not: (height, width, 3) -> (size, size, 3) uint8.

    8 to 100 % of the area, sides 3:4 to 4:3, as for GoogLeNet (Szegedy et al. 2015, section 6) and VSE++; the largest
    centred square if none of ten draws fits. Bicubic.
    """
    height, width, _ = picture.shape
    top, left, rows, columns = _part(height, width, random)
    part = picture[top : top + rows, left : left + columns].permute(2, 0, 1)[None].float()
    scaled = torch.nn.functional.interpolate(part, (size, size), mode="bicubic", align_corners=False, antialias=True)
    crop = scaled[0].permute(1, 2, 0).round_().clamp_(0, 255).to(torch.uint8)
    return crop.flip(1) if random.random() < 0.5 else crop


def _part(height: int, width: int, random: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width."""
    for _ in range(CROPS_TRIED):
        area = random.uniform(0.08, 1.0) * height * width
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        rows, columns = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < rows <= height and 0 < columns <= width:
            return int(random.integers(height - rows + 1)), int(random.integers(width - columns + 1)), rows, columns
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


def _centre(path: Path, extractor: GridExtractor) -> Tensor:
    """As the extractor prepares the only frame of a video: an image file is read as one."""
    return extractor.read(path, threads=1).images_uint8[0]


def _problem(clip: Clip, extractor: GridExtractor) -> str | None:
    try:
        _centre(clip.path, extractor)
    except VideoError as error:
        return str(error)
    return None
