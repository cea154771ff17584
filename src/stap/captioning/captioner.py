"""A video file -> a caption: the whole path, owned in one place.

captioner = stap.load("runs/demo")
print(captioner.caption("clip.mp4").caption)
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from stap.captioning.captions import caption_streams
from stap.captioning.model_folder import WEIGHTS_FILES, Run, check_features, load_run
from stap.decoding.steps import Hypothesis
from stap.errors import CheckpointError, FeatureError, StapError, VideoError
from stap.features.device import choose_device
from stap.features.extractor import PackingExtractor, TwoStepExtractor, build_extractors, features_of_pictures, specs_of
from stap.features.grid import GridExtractor
from stap.features.offline import is_offline
from stap.features.shapes import check_array
from stap.features.store import VideoFeatures
from stap.files import one_line, unforeseen
from stap.recipes.settings import VideoLimits
from stap.video.threads import decoding_threads

__all__ = ["Captioner", "VideoCaption", "load"]

# All that a model folder holds; nothing else is fetched from the Hub.
MODEL_FILES = (
    "README.md",
    *WEIGHTS_FILES.values(),
    "config.json",
    "features.json",
    "metrics.json",
    "model.safetensors",
    "vocabulary.json",
)

DECODERS = 2  # threads; each decodes a file
FILES_AHEAD = 16  # decoded, or being decoded, before the networks take them: bounds the memory

Decoded: TypeAlias = list[Any]  # what each extractor read of a file

GET_IT_AGAIN = "Check that it plays, or get it again."


@dataclass(frozen=True)
class VideoCaption:
    """The caption of one video and its attention.

    score: log-probability of the caption and its end.   words: the caption's L words.
    stream: the features that the model attends to over time, such as 'grid' or 'regions'.
    attention: (L, T) float32, the weight of each frame of that stream for each word; rows sum to 1, or to less if a model (STAT
    without masks) also attends to padding.   times_seconds: (T,) float32, presentation times of these frames.
    pooling_weights: (T, R) float32, over the locations of each frame; None without learned pooling.
    """

    path: Path
    caption: str
    score: float
    words: tuple[str, ...]
    stream: str
    attention: Tensor
    times_seconds: Tensor
    pooling_weights: Tensor | None
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The object of `stap caption --format json`."""
        words = [
            {"word": word, "attention": _rounded(weights)} for word, weights in zip(self.words, self.attention, strict=True)
        ]
        return {
            "path": str(self.path),
            "caption": self.caption,
            "score": round(self.score, 4),
            "stream": self.stream,
            "times_seconds": _rounded(self.times_seconds),
            "words": words,
            "warnings": list(self.warnings),
        }


class Captioner:
    """A trained model and the extractors of its features."""

    def __init__(self, run: Run, device: torch.device, limits: VideoLimits | None = None) -> None:
        """Build the extractors of the run's recipe.

        limits: what a video file may cost; None for the defaults. Those of training play no part.

        Raises FeatureError if their features differ from those of training, or if training used precomputed features.
        """
        self.run = run
        self.device = device
        self.model = run.model.to(device).eval()
        _refuse_imported(run)
        self.decoding = run.recipe.decoding.model_copy(update={"forbid_unknown": True})  # captions for people
        self.extractors = build_extractors(run.recipe, device, limits or VideoLimits())
        check_features(run, specs_of(self.extractors))

    @property
    def extractor(self) -> GridExtractor:
        """The extractor of frame features, for drawing the attention."""
        [found] = [extractor for extractor in self.extractors if isinstance(extractor, GridExtractor)]
        return found

    def caption(self, path: str | Path, beam_width: int | None = None) -> VideoCaption:
        """The caption of a video file, without <unk>. Raises VideoError if no frame of it decodes."""
        [caption] = self._describe([(Path(path), self._read(Path(path)))], beam_width)
        return caption

    def caption_many(
        self,
        paths: Iterable[str | Path],
        *,
        beam_width: int | None = None,
        on_error: Callable[[Path, StapError], None] | None = None,
    ) -> Iterator[VideoCaption]:
        """Yield the captions in order. Threads decode the next files meanwhile, and those that are ready share a batch of the networks.

        A file that cannot be captioned, for whatever reason, is passed to `on_error` and skipped; without `on_error` its error is
        raised, an unexpected one as a VideoError.
        """
        for files in self._decoded(map(Path, paths)):
            for (path, _), caption in zip(files, self._captions(files, beam_width), strict=True):
                if isinstance(caption, VideoCaption):
                    yield caption
                    continue
                error = (
                    caption if isinstance(caption, StapError) else VideoError(f"{unforeseen(path, caption)}. {GET_IT_AGAIN}")
                )
                if on_error is None:
                    raise error from caption
                on_error(path, error)

    def _decoded(self, paths: Iterator[Path]) -> Iterator[list[tuple[Path, Decoded | Exception]]]:
        """The files in order, as many at a time as are ready. The first ones alone, so that the first caption comes soon."""
        waiting: deque[tuple[Path, Future[Decoded]]] = deque()
        threads = max(1, (os.cpu_count() or 1) // DECODERS)
        most = DECODERS
        with decoding_threads(DECODERS, "decode") as pool:
            while True:
                waiting.extend((path, pool.submit(self._read, path, threads)) for path in islice(paths, most - len(waiting)))
                if not waiting:
                    return
                ready = [waiting.popleft()]
                while waiting and waiting[0][1].done():
                    ready.append(waiting.popleft())
                yield [(path, _result(future)) for path, future in ready]
                most = min(2 * most, FILES_AHEAD)

    def _read(self, path: Path, threads: int | None = None) -> Decoded:
        """The decoded file for each extractor; None for extractors of one step.   threads: of the decoder; None for one per core."""
        return [
            extractor.read(path, threads=threads) if isinstance(extractor, TwoStepExtractor) else None
            for extractor in self.extractors
        ]

    def _captions(
        self, files: Sequence[tuple[Path, Decoded | Exception]], beam_width: int | None
    ) -> list[VideoCaption | Exception]:
        """The caption of each file, or the reason why it has none. Where a batch fails, each of its files is tried alone."""
        sound = [(path, videos) for path, videos in files if not isinstance(videos, Exception)]
        try:
            captions: list[VideoCaption | Exception] = [*self._describe(sound, beam_width)]
        except Exception as error:  # a decoder's unforeseen failure on one file must not stop ten thousand others
            captions = [error] if len(sound) == 1 else [self._captions([file], beam_width)[0] for file in sound]
        following = iter(captions)
        return [videos if isinstance(videos, Exception) else next(following) for _, videos in files]

    def _describe(self, files: Sequence[tuple[Path, Decoded]], beam_width: int | None) -> list[VideoCaption]:
        """The captions of decoded files. Those with equally large streams share a batch, in which nothing is padded."""
        features = self._features(files)
        streams = [self._streams(path, found) for (path, _), found in zip(files, features, strict=True)]
        batches: dict[Any, list[int]] = {}
        for number, arrays in enumerate(streams):
            batches.setdefault(tuple(array.shape for array in arrays.values()), []).append(number)
        captions: dict[int, VideoCaption] = {}
        for batch in batches.values():
            memory, best = caption_streams(
                self.model, [streams[number] for number in batch], self.decoding, beam_width=beam_width, device=self.device
            )
            for row, number in enumerate(batch):
                pooling = None if memory.pooling_weights is None else memory.pooling_weights[row].float().cpu()
                captions[number] = self._caption(files[number][0], features[number], best[row], pooling)
        return [captions[number] for number in range(len(files))]

    def _features(self, files: Sequence[tuple[Path, Decoded]]) -> list[list[VideoFeatures]]:
        """The features of each file by each extractor, rounded to the stored type as in training."""
        columns = []
        for extractor, videos in zip(self.extractors, zip(*(videos for _, videos in files), strict=True), strict=False):
            names = [str(path) for path, _ in files]
            if isinstance(extractor, PackingExtractor):
                parts = features_of_pictures(extractor, videos)
                columns.append([extractor.package(*one[:2], name=one[2]) for one in zip(parts, videos, names, strict=True)])
            elif isinstance(extractor, TwoStepExtractor):
                columns.append([extractor.finish(video, name=name) for video, name in zip(videos, names, strict=True)])
            else:
                columns.append([extractor.extract(path) for path, _ in files])
        return [list(row) for row in zip(*columns, strict=True)]

    def _streams(self, path: Path, features: list[VideoFeatures]) -> dict[str, Tensor]:
        """The model's input streams, checked as in training."""
        streams = {}
        for extractor, found in zip(self.extractors, features, strict=True):
            array = found.arrays[extractor.spec.stream]
            check_array(array, extractor.spec, source=str(path), remedy="Such a video cannot be captioned.")
            streams[extractor.spec.stream] = array
        return streams

    def _caption(self, path: Path, features: list[VideoFeatures], best: Hypothesis, pooling: Tensor | None) -> VideoCaption:
        positions = best.attention.positions
        by_extractor = zip(self.extractors, features, strict=True)
        attended = next(found for extractor, found in by_extractor if positions.stream == extractor.spec.stream)
        words = tuple(self.run.vocabulary.decode(best.words))
        return VideoCaption(
            path,
            " ".join(words),
            best.score,
            words,
            positions.stream,
            best.attention.weights.float(),
            attended.arrays["times_seconds"][positions.indices[0]],
            pooling,
            tuple(dict.fromkeys(warning for found in features for warning in found.warnings)),
        )


def load(folder_or_hub_id: str | Path, device: str = "auto", limits: VideoLimits | None = None) -> Captioner:
    """The captioner of a model folder, or of 'user/name' on the Hugging Face Hub.

    limits: what a video file may cost; None for the defaults.

    Raises CheckpointError if there is no such folder or model, FeatureError if its features cannot be extracted.
    """
    chosen = choose_device(device)
    return Captioner(load_run(_model_folder(folder_or_hub_id), chosen), chosen, limits)


def _refuse_imported(run: Run) -> None:
    """Refuse a model trained on imported features: a video file has none."""
    imported = [stream for stream, spec in run.streams.items() if spec.is_imported]
    if imported:
        raise FeatureError(
            f"{run.folder}: trained on imported features ({', '.join(imported)}), which cannot be extracted from a video file. "
            "Use `stap evaluate` for clips with imported features, or train on features that stap extracts."
        )


def _model_folder(name: str | Path) -> Path:
    folder = Path(os.path.expanduser(name))  # noqa: PTH111 -- pathlib's raises where there is no home folder
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointError(f"{name}: is a file, expected a model folder. Give the folder that holds config.json.")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)):
        raise CheckpointError(
            f"{name}: no such folder. Give one that `stap train` wrote, or user/name on the Hugging Face Hub."
        )
    return _from_hub(str(name))


def _from_hub(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        if is_offline():
            return Path(snapshot_download(repository, allow_patterns=list(MODEL_FILES), local_files_only=True))
        return Path(snapshot_download(repository, allow_patterns=list(MODEL_FILES)))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        if is_offline():
            raise CheckpointError(
                f"{repository}: no such folder, and the cache of the Hugging Face Hub on this machine lacks it; nothing is fetched offline. "
                "Run once with a network, or name a folder."
            ) from error
        raise CheckpointError(
            f"{repository}: no such folder, and no such model on the Hugging Face Hub ({one_line(error)}). "
            "Check the name and the network."
        ) from error


def _result(future: Future[Decoded]) -> Decoded | Exception:
    try:
        return future.result()
    except Exception as error:  # passed on as this file's
        return error


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 5) for value in values.tolist()]
