"""Detected regions: in each frame the boxes that a Faster R-CNN is surest of, each with a feature vector (STAT's local stream)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torchvision.ops import nms

from stap.errors import FeatureError
from stap.features.device import halved_without_memory, is_out_of_memory
from stap.features.networks.faster_rcnn import CATEGORIES, build_detector, fc7_size
from stap.features.store import VideoFeatures
from stap.features.weights import weights_sha256
from stap.recipes.settings import RegionSettings, VideoLimits
from stap.recipes.streams import StreamSpec
from stap.video import Frames, sample_frames
from stap.video.sampling import Sampling

__all__ = ["DecodedVideo", "FrameRegions", "RegionExtractor", "category_name"]

IMAGES_PER_CALL_CPU, IMAGES_PER_CALL_GPU = 2, 8
# Detections of a frame, by score, among which those of one object under several labels are looked for. torchvision's own
# limit, 100, may be used up by a few objects where min_score is low.
CANDIDATES = 1000


@dataclass(frozen=True)
class DecodedVideo:
    """A video decoded and resized, ready for the detector."""

    images_uint8: Tensor  # (T, height, width, 3)
    times_seconds: Tensor  # (T,) float32
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrameRegions:
    """The M <= N regions of one frame, the surest first."""

    features: Tensor  # (M, D) float32
    boxes: Tensor  # (M, 4) left, top, right, bottom as parts of the frame's width and height
    labels: Tensor  # (M,) int64, see `category_name`
    scores: Tensor  # (M,) float32


class RegionExtractor:
    """From video files to regions, as the settings say. The detector is never trained here.

    The feature of a region is what the detector's box head (its last layer is called fc7) makes of the region's final box: the
    box is pooled once more after it was refined, so that the feature belongs to the box that is stored and drawn.
    """

    def __init__(self, settings: RegionSettings, device: torch.device | str = "cpu") -> None:
        """Build the detector and load its weights. Raises CheckpointError."""
        self.device, self.limits = torch.device(device), VideoLimits()
        self.images_per_call = IMAGES_PER_CALL_CPU if self.device.type == "cpu" else IMAGES_PER_CALL_GPU
        self.has_random_weights = settings.weights == "random"
        self.weights_file = None if settings.weights in ("pretrained", "random") else Path(settings.weights)
        self.settings = settings
        detector = build_detector(settings.detector, settings.weights)
        detector.roi_heads.score_thresh = settings.min_score
        detector.roi_heads.detections_per_img = CANDIDATES
        self.short_side = settings.image_size or detector.transform.min_size[0]
        detector.transform.min_size = (self.short_side,)
        self.feature_size = fc7_size(detector)
        self.stored_type = torch.float16 if settings.stored_as == "float16" else torch.float32
        sha256 = weights_sha256(detector)
        self.detector = detector.to(self.device)
        fingerprint = {
            "kind": "regions",
            "detector": settings.detector,
            "labels": int(detector.roi_heads.box_predictor.cls_score.out_features),
            "weights_sha256": sha256,
            "layer": "box head of the final boxes",
            "image_size": self.short_side,
            "longest_side": detector.transform.max_size,
            "interpolation": "bicubic",
            "frames": settings.frames,
            "sampling": "uniform presentation time",
            "regions": settings.regions,
            "min_score": settings.min_score,
            "same_label_overlap": detector.roi_heads.nms_thresh,
            "duplicate_overlap": settings.duplicate_overlap,
            "precision": "float32",
            "stored_as": settings.stored_as,
            "feature_size": self.feature_size,
        }
        self.spec = StreamSpec.from_fingerprint("regions", fingerprint)

    def extract(self, path: str | Path) -> VideoFeatures:
        """Regions of one video file. Raises VideoError, or FeatureError where nothing is detected or the type cannot hold it."""
        return self.finish(self.read(path), name=str(path))

    def read(self, path: str | Path, *, threads: int | None = None) -> DecodedVideo:
        """Sample, decode and resize the frames of a video: the part that needs no network. Raises VideoError.

        threads: of the decoder; None for one per core.
        """
        return self.prepare(
            sample_frames(path, self.settings.frames, short_side=self.short_side, threads=threads, limits=self.limits)
        )

    @property
    def sampling(self) -> Sampling:
        """Which frames of a clip are seen."""
        return Sampling(self.settings.frames, self.short_side)

    def prepare(self, frames: Frames) -> DecodedVideo:
        """What `read` makes of a file, from the frames of `sampling`."""
        return DecodedVideo(torch.from_numpy(frames.rgb_uint8), torch.from_numpy(frames.times_seconds).float(), frames.warnings)

    def finish(self, video: DecodedVideo, *, name: str) -> VideoFeatures:
        """The arrays of a video that was read.   name: how errors call it. Raises FeatureError as `extract` does.

        regions (T, N, D), boxes (T, N, 4), labels and scores (T, N), region_is_padding (T, N) bool, times_seconds (T,). Where a
        frame has fewer regions than N, region_is_padding is True and the other arrays hold 0. Models see the regions alone, and
        know a place without one by its vector of zeros; so a region that was detected never has such a vector.
        """
        found = list(self(video.images_uint8))
        if not any(len(frame.scores) for frame in found):
            raise FeatureError(
                f"{name}: no region was detected in any of its {len(found)} frames (scores above {self.settings.min_score:g} count). "
                "Lower regions.min_score, or leave the video out."
            )
        is_padding = torch.stack([torch.arange(self.settings.regions) >= len(frame.scores) for frame in found])
        arrays = {
            "regions": self._stored(torch.stack([self._padded(frame.features) for frame in found]), is_padding, name),
            "boxes": torch.stack([self._padded(frame.boxes) for frame in found]),
            "labels": torch.stack([self._padded(frame.labels) for frame in found]).to(torch.int32),
            "scores": torch.stack([self._padded(frame.scores) for frame in found]),
            "region_is_padding": is_padding,
            "times_seconds": video.times_seconds,
        }
        return VideoFeatures(arrays, video.warnings)

    def __call__(self, images_uint8: Tensor) -> Iterator[FrameRegions]:
        """The regions of each picture, on the CPU.   images_uint8: (T, height, width, 3)."""
        for part in torch.split(images_uint8, self.images_per_call):
            try:
                for found in halved_without_memory(self._detect, part):
                    yield from found
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                raise FeatureError(
                    f"The memory of {self.device} does not hold {len(part)} images of {self.short_side} pixels in this detector. "
                    "Use a smaller regions.image_size, another regions.detector, or another device."
                ) from error

    @torch.inference_mode()
    def _detect(self, images_uint8: Tensor) -> list[FrameRegions]:
        detector, heads = self.detector, self.detector.roi_heads
        images, _ = detector.transform(list(images_uint8.to(self.device).permute(0, 3, 1, 2).float() / 255))
        maps = detector.backbone(images.tensors)
        proposals, _ = detector.rpn(images, maps)
        detections, _ = heads(maps, proposals, images.image_sizes)
        kept = [self._best(detection) for detection in detections]
        features = heads.box_head(heads.box_roi_pool(maps, [best["boxes"] for best in kept], images.image_sizes))
        by_frame = torch.split(features, [len(best["scores"]) for best in kept])
        return [
            FrameRegions(vectors.cpu(), _relative(best["boxes"], size).cpu(), best["labels"].cpu(), best["scores"].cpu())
            for vectors, best, size in zip(by_frame, kept, images.image_sizes, strict=True)
        ]

    def _best(self, detection: dict[str, Tensor]) -> dict[str, Tensor]:
        """The N surest; of boxes nearly the same, which differ by their labels, the surest. The detector has sorted them by score."""
        places = nms(detection["boxes"], detection["scores"], self.settings.duplicate_overlap)[: self.settings.regions]
        return {name: values[places] for name, values in detection.items()}

    def _padded(self, values: Tensor) -> Tensor:
        padded = values.new_zeros(self.settings.regions, *values.shape[1:])
        padded[: len(values)] = values
        return padded

    def _stored(self, features: Tensor, is_padding: Tensor, name: str) -> Tensor:
        largest = float(features.abs().max())
        if not math.isfinite(largest):
            raise FeatureError(f"{name}: the features of its regions are not finite numbers. Check the detector's weights.")
        if largest > torch.finfo(self.stored_type).max:
            raise FeatureError(
                f"{name}: the largest feature of its regions is {largest:.6g}, and float16 ends at 65504. Use regions.stored_as=float32."
            )
        stored = features.to(self.stored_type)
        if bool((~is_padding & (stored == 0).all(dim=-1)).any()):
            raise FeatureError(
                f"{name}: the features of a region are 0 everywhere, as only those of a missing one may be. Check the detector's weights."
            )
        return stored


def category_name(label: int, labels: int) -> str:
    """What a label means, for drawing.   labels: how many the detector tells apart; where they are not COCO's 91, a number."""
    return CATEGORIES[label] if labels == len(CATEGORIES) else f"label {label}"


def _relative(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    return boxes / boxes.new_tensor([width, height, width, height])
