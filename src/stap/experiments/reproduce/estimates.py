"""What features and training cost on this device: measured by a short run of each on random numbers, and multiplied."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stap.captioning.model_folder import model_for
from stap.errors import StapError
from stap.features.extractor import Extractor, TwoStepExtractor
from stap.features.grid import GridExtractor
from stap.features.motion import MotionExtractor, choose_clips
from stap.features.regions import RegionExtractor
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.caption_model import CaptionModel
from stap.recipes.settings import Recipe
from stap.text.special_ids import EOS, UNK
from stap.text.vocabulary import SPECIAL_WORDS, Vocabulary
from stap.training.epoch import train_epoch
from stap.training.optimizer import build_optimizer
from stap.video.clips import FrameStream

__all__ = ["FeatureCost", "TrainingCost", "cost_of_features", "cost_of_training", "seconds_of_videos"]

LONG = 2.0  # seconds: what takes longer is not measured in full size, but by a part
DECODERS = 2  # threads that decode while the network is at work, as `extract` has
PROBED = 6  # video files whose length is looked up
WORDS = 12  # of a caption, with its end; MSVD and MSR-VTT have 7 and 9 on average
NATIVE_RATE = 25.0  # frames a second of a video whose every frame is seen
SLOTS = {"rmsprop": 1, "adam": 2, "adamw": 2, "adadelta": 2}  # tensors that an optimiser keeps for each parameter
SIZES = {"float16": 2, "float32": 4}


@dataclass(frozen=True)
class FeatureCost:
    """Of one video of average length.   fingerprint: as far as it is known without the weights."""

    streams: tuple[str, ...]
    fingerprint: Mapping[str, Any]
    seconds: float
    bytes: float


@dataclass(frozen=True)
class TrainingCost:
    """seconds: of an update.   bytes: of a model folder, without the weights of extractors."""

    seconds: float
    bytes: float


def seconds_of_videos(paths: Sequence[Path]) -> float | None:
    """The mean length of a few of the files; None if none can be read."""
    lengths = []
    for path in paths[:: max(1, len(paths) // PROBED)][:PROBED]:
        try:
            lengths.append(len(FrameStream(path, NATIVE_RATE, short_side=32)) / NATIVE_RATE)
        except StapError:
            continue
    return sum(lengths) / len(lengths) if lengths else None


def cost_of_features(extractor: Extractor, video_seconds: float, example: Path | None) -> FeatureCost:
    """example: a video file to decode; without one the decoding is not counted."""
    made = extractor.fingerprint
    network = _network_seconds(extractor, video_seconds)
    decoding = 0.0
    if example is not None and isinstance(extractor, TwoStepExtractor):
        decoding = _timed(lambda: extractor.read(example)) / DECODERS
    return FeatureCost(extractor.streams, made, max(network, decoding), _bytes(made, video_seconds))


def cost_of_training(
    recipe: Recipe, fingerprints: Mapping[str, Mapping[str, Any]], vocabulary: int, device: torch.device
) -> TrainingCost:
    """An update of the recipe's model on random features of these streams. Raises ConfigError if it needs another stream."""
    words = Vocabulary((*SPECIAL_WORDS, *map(str, range(vocabulary))))
    model = model_for(recipe, words, fingerprints).to(device)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    batch, few = recipe.training.batch_size, min(2, recipe.training.batch_size)
    update = _updates(model, recipe, fingerprints, vocabulary, device)
    seconds = _timed(lambda: update(few))
    if seconds * batch / few < LONG:
        seconds, few = _timed(lambda: update(batch)), batch
    kept = 2 + SLOTS[recipe.training.optimizer.kind]  # the best weights, the last, and the optimiser's
    return TrainingCost(seconds * batch / few, 4.0 * parameters * kept)


def _network_seconds(extractor: Extractor, video_seconds: float) -> float:
    """Of the network alone, for one video."""
    if isinstance(extractor, GridExtractor):
        grid, size = extractor, extractor.image_size
        return (
            _per_item(lambda count: grid(torch.rand(count, 3, size, size, device=grid.device)), grid.images_per_call)
            * grid.frames
        )
    if isinstance(extractor, RegionExtractor):
        regions, side = extractor, extractor.short_side
        picture = torch.randint(256, (1, side, side * 4 // 3, 3), dtype=torch.uint8)
        return _timed(lambda: list(regions(picture))) * regions.settings.frames
    assert isinstance(extractor, MotionExtractor)
    return _motion_seconds(extractor, video_seconds)


def _motion_seconds(extractor: MotionExtractor, video_seconds: float) -> float:
    network = extractor.network
    clips = _clips(extractor.fingerprint, video_seconds, extractor.settings.frames_per_pass, network.shortest)
    length, size = min(len(clips[0]), max(16, network.shortest)), network.preprocessing.image_size
    clip = torch.randint(256, (1, length, size, size, 3), dtype=torch.uint8)
    return _timed(lambda: extractor(clip)) * sum(map(len, clips)) / length


def _clips(made: Mapping[str, Any], video_seconds: float, longest: int, shortest: int) -> list[range]:
    rate = NATIVE_RATE if made["frame_rate"] == "native" else float(made["frame_rate"])
    frames = max(1, round(rate * video_seconds))
    length = made["clip_frames"] if isinstance(made["clip_frames"], int) else None
    return list(choose_clips(frames, length, made["clip_stride"] or 1, shortest=shortest, longest=longest))


def _bytes(made: Mapping[str, Any], video_seconds: float) -> float:
    """On disk, for one video; what is kept for people is counted for regions, where it is more than a few numbers."""
    vector = made["feature_size"] * SIZES[made["stored_as"]]
    if made["kind"] == "motion":
        longest, shortest = made["frames_per_pass"] or 1, made["clip_frames"] if isinstance(made["clip_frames"], int) else 1
        return float(vector * (len(_clips(made, video_seconds, longest, shortest)) if made["per"] == "clip" else 1))
    places = math.prod(made.get("grid", [1])) * made.get("regions", 1)
    beside = 25 * made.get("regions", 0)  # boxes, labels, scores, padding
    return float(made["frames"] * (places * vector + beside + 4))


def _updates(
    model: CaptionModel,
    recipe: Recipe,
    fingerprints: Mapping[str, Mapping[str, Any]],
    vocabulary: int,
    device: torch.device,
) -> Callable[[int], Any]:
    """A function that makes one update with a number of videos."""
    optimizer = build_optimizer(recipe.training.optimizer, model)
    each = recipe.training.captions_per_video

    def update(videos: int) -> Any:
        streams = {name: torch.rand(videos, *_shape(made), device=device) for name, made in fingerprints.items()}
        padding = {
            name: torch.zeros(stream.shape[:2], dtype=torch.bool, device=device)
            for name, stream in streams.items()
            if stream.dim() > 2
        }
        words = torch.randint(UNK + 1, vocabulary, (videos * each, WORDS), device=device)
        words[:, -1] = EOS
        batch = (VideoBatch(streams, padding, torch.arange(videos, device=device)), CaptionBatch(words, each))
        return train_epoch(model, optimizer, [batch], recipe.training, first_step=0, total_steps=1)

    return update


def _shape(made: Mapping[str, Any]) -> tuple[int, ...]:
    """Of a stream, without the videos."""
    size = made["feature_size"]
    if made["kind"] == "motion":
        return (28, size) if made["per"] == "clip" else (size,)
    if made["kind"] == "regions":
        return (made["frames"], made["regions"], size)
    places = (math.prod(made["grid"]),) if "grid" in made else ()
    return (made["frames"], *places, size)


def _per_item(work: Callable[[int], Any], most: int) -> float:
    """Seconds for each of many items, in calls of `most` where those are not long."""
    few = min(2, most)
    seconds = _timed(lambda: work(few)) / few
    return _timed(lambda: work(most)) / most if seconds * most < LONG else seconds


def _timed(work: Callable[[], Any]) -> float:
    """Seconds of the second time, or of the first where that was long: what is built once is not counted."""
    first = _once(work)
    return first if first > LONG else _once(work)


def _once(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began
