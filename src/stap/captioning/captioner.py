"""A video file -> a caption: the whole path, owned in one place.

captioner = stap.load("runs/demo")
print(captioner.caption("clip.mp4").caption)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import record_function

from stap.captioning.captions import draw_streams, embed_sentences, ranked_streams
from stap.captioning.hub import from_hub, local_folder
from stap.captioning.in_batches import BatchCaptioner, Decoded
from stap.captioning.model_folder import WEIGHTS_FILES, Run, check_features, load_run
from stap.captioning.video_caption import Alternative, VideoCaption
from stap.decoding.draw import Draws
from stap.decoding.steps import Hypothesis
from stap.errors import FeatureError
from stap.features.device import choose_device
from stap.features.extractor import (
    FrameFedExtractor,
    PackingExtractor,
    TwoStepExtractor,
    build_extractors,
    features_of_pictures,
    specs_of,
)
from stap.features.grid import GridExtractor, PreparedVideo
from stap.features.shapes import check_array
from stap.features.store import VideoFeatures
from stap.features.weights import weights_sha256
from stap.models.caption_model import Memory
from stap.recipes.settings import VideoLimits
from stap.video import Frames
from stap.video.sampling import Sampling

__all__ = ["MODEL_FILES", "Captioner", "load"]

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

    def __init__(self, run: Run, device: torch.device, limits: VideoLimits | None = None, *, alternatives: int = 0) -> None:
        """Build the extractors of the run's recipe.

        limits: what a video file may cost; None for the defaults. Those of training play no part.
        alternatives: how many of a beam's next best captions are kept, where captions are not drawn at random.

        Raises FeatureError if their features differ from those of training, or if training used precomputed features.
        """
        self.run = run
        self.device = device
        self.alternatives = alternatives
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
    def licence(self) -> None:
        """Model cards of stap state none."""

    @property
    def parameters(self) -> int:
        """Of the model and of the networks of its features."""
        made = [getattr(extractor, name, None) for extractor in self.extractors for name in ("network", "detector")]
        networks = [self.model, *(getattr(one, "module", one) for one in made)]
        return sum(one.numel() for network in networks if isinstance(network, nn.Module) for one in network.parameters())

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

    def _describe(
        self, files: Sequence[tuple[Path, Decoded]], beam_width: int | None, draws: Draws | None
    ) -> list[VideoCaption]:
        """The captions of decoded files. Those with equally large streams share a batch, in which nothing is padded."""
        features = self._features(files)
        streams = [self._streams(path, found) for (path, _), found in zip(files, features, strict=True)]
        batches: dict[Any, list[int]] = {}
        for number, arrays in enumerate(streams):
            batches.setdefault(tuple(array.shape for array in arrays.values()), []).append(number)
        captions: dict[int, VideoCaption] = {}
        for batch in batches.values():
            videos = [streams[number] for number in batch]
            if draws is None:
                memory, ranked = ranked_streams(self.model, videos, self.decoding, beam_width=beam_width, device=self.device)
                found = [best[: 1 + self.alternatives] for best in ranked]
            else:
                names = [files[number][0].name for number in batch]
                memory, found = draw_streams(self.model, videos, self.decoding, draws, names, device=self.device)
            for row, number in enumerate(batch):
                captions[number] = self.described(files[number][0], features[number], found[row], memory, row)
        return [captions[number] for number in range(len(files))]

    @record_function("networks of the features")
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

    def described(
        self, path: Path, features: Sequence[VideoFeatures], found: Sequence[Hypothesis], memory: Memory, row: int = 0
    ) -> VideoCaption:
        """The caption of a video from what decoding found, the best first.

        features: by each extractor, of which the times are read.   memory, row: the encoded videos, and which of them this is.
        """
        best, *others = found
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
            None if memory.pooling_weights is None else memory.pooling_weights[row].float().cpu(),
            tuple(dict.fromkeys(warning for one in features for warning in one.warnings)),
            tuple(Alternative(" ".join(self.run.vocabulary.decode(one.words)), one.score) for one in others),
            embedding=memory.embedding[row].float().cpu() if self.model.has_joint_space else None,
        )

    def embed(self, sentences: Sequence[str]) -> Tensor:
        """(N, H) float32: sentences in the joint space, where `VideoCaption.embedding` is; 0 where none of the words is known.

        Raises CheckpointError for a model without one.
        """
        return embed_sentences(self.model, self.run.vocabulary, self.run.recipe.text, sentences, self.device)

    def _frames_seen(self, video: Decoded) -> np.ndarray | None:
        pictures = [one.images_uint8 for one in video if isinstance(one, PreparedVideo)]
        return pictures[0].numpy() if pictures else None


def load(folder_or_hub_id: str | Path, device: str = "auto", limits: VideoLimits | None = None) -> Captioner:
    """The captioner of a model folder, or of 'user/name' or 'user/name@revision' on the Hugging Face Hub.

    limits: what a video file may cost; None for the defaults.

    Raises CheckpointError if there is no such folder or model, FeatureError if its features cannot be extracted.
    """
    chosen = choose_device(device)
    folder = local_folder(folder_or_hub_id) or from_hub(str(folder_or_hub_id), MODEL_FILES)
    return Captioner(load_run(folder, chosen), chosen, limits)


def _refuse_imported(run: Run) -> None:
    """Refuse a model trained on imported features: a video file has none."""
    imported = [stream for stream, spec in run.streams.items() if spec.is_imported]
    if imported:
        raise FeatureError(
            f"{run.folder}: trained on imported features ({', '.join(imported)}), which cannot be extracted from a video file. "
            "Use `stap evaluate` for clips with imported features, or train on features that stap extracts."
        )
