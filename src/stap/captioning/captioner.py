"""A video file -> a caption: the whole path, owned in one place.

captioner = stap.load("runs/demo")
print(captioner.caption("clip.mp4").caption)
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stap.captioning.captions import caption_streams
from stap.captioning.in_batches import BatchCaptioner, Decoded
from stap.captioning.model_folder import WEIGHTS_FILES, Run, check_features, load_run
from stap.captioning.video_caption import VideoCaption
from stap.decoding.steps import Hypothesis
from stap.errors import CheckpointError, FeatureError
from stap.features.device import choose_device
from stap.features.extractor import (
    FrameFedExtractor,
    PackingExtractor,
    TwoStepExtractor,
    build_extractors,
    features_of_pictures,
    specs_of,
)
from stap.features.grid import GridExtractor
from stap.features.offline import is_offline
from stap.features.shapes import check_array
from stap.features.store import VideoFeatures
from stap.features.weights import weights_sha256
from stap.files import one_line
from stap.recipes.settings import VideoLimits
from stap.video import Frames
from stap.video.sampling import Sampling

__all__ = ["Captioner", "load"]

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


class Captioner(BatchCaptioner):
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

    @cached_property
    def fingerprint(self) -> Mapping[str, Any]:
        """The recipe's name, its decoding, the weights and the words, and the fingerprints of the features."""
        words = self.run.vocabulary.to_json().encode("utf-8", "backslashreplace")
        return {
            "kind": "stap",
            "recipe": self.run.recipe.name,
            "weights_sha256": weights_sha256(self.model),
            "vocabulary_sha256": hashlib.sha256(words).hexdigest(),
            "streams": {name: dict(spec.fingerprint) for name, spec in self.run.streams.items()},
            "decoding": self.decoding.model_dump(mode="json"),
        }

    @property
    def samplings(self) -> tuple[Sampling, ...]:
        """Which frames each extractor looks at. Raises FeatureError of one that needs the file itself."""
        return tuple(extractor.sampling for extractor in self._fed_extractors())

    def _fed_extractors(self) -> list[FrameFedExtractor]:
        fed = [extractor for extractor in self.extractors if isinstance(extractor, FrameFedExtractor)]
        if len(fed) < len(self.extractors):
            raise FeatureError(
                f"{self.run.folder}: an extractor of this model reads files only. Caption the file with caption()."
            )
        return fed

    def _read(self, path: Path, threads: int | None = None) -> Decoded:
        """The decoded file for each extractor; None for extractors of one step.   threads: of the decoder; None for one per core."""
        return [
            extractor.read(path, threads=threads) if isinstance(extractor, TwoStepExtractor) else None
            for extractor in self.extractors
        ]

    def _prepare(self, path: Path, frames: Sequence[Frames]) -> Decoded:
        fed = self._fed_extractors()
        return [extractor.prepare(given) for extractor, given in zip(fed, frames, strict=True)]

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
