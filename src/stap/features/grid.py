"""Grid features: frames through a backbone, one feature vector a location of its last map."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stap.errors import ConfigError, FeatureError, ShapeError
from stap.features.backbone import OwnPreprocessing, build_backbone, find_layout, last_map, own_preprocessing
from stap.features.device import halved_without_memory, is_out_of_memory
from stap.features.store import VideoFeatures
from stap.features.weights import weights_sha256
from stap.recipes.settings import FeatureSettings, VideoLimits
from stap.recipes.streams import StreamSpec
from stap.video import Frames, sample_frames
from stap.video.sampling import Sampling

__all__ = ["GridExtractor", "PreparedVideo", "VideoFeatures"]

# Images in one call of the network. More are slower on a CPU, whose caches they overflow (ResNet-18 at 96 pixels, 2 cores: 368
# images per second in calls of 30, 277 in calls of 120), and fewer leave a GPU idle.
IMAGES_PER_CALL_CPU, IMAGES_PER_CALL_GPU = 32, 64


@dataclass(frozen=True)
class PreparedVideo:
    """A video decoded, resized and cropped, ready for the backbone."""

    images_uint8: Tensor  # (T, S, S, 3)
    times_seconds: Tensor  # (T,) float32
    warnings: tuple[str, ...] = ()


class GridExtractor:
    """From video files to grid features, as the settings say. Features are never trained here: no gradients, evaluation mode."""

    def __init__(self, settings: FeatureSettings, device: torch.device | str = "cpu") -> None:
        """Build the backbone and load its weights. Raises ConfigError, CheckpointError or FeatureError."""
        if settings.backbone is None:
            raise ConfigError(
                "features.backbone is empty: expected the network of the frames. Set it, e.g. features.backbone=resnet152."
            )
        self.device, self.limits = torch.device(device), VideoLimits()
        self.already_read: Mapping[Path, PreparedVideo] = {}  # by file, of an extractor that samples in the same way
        self.shares_calls = self.device.type != "cpu"
        self.images_per_call = IMAGES_PER_CALL_CPU if self.device.type == "cpu" else IMAGES_PER_CALL_GPU
        self.has_random_weights = settings.weights == "random"  # as pretraining may begin
        self.weights_file = None if settings.weights in ("pretrained", "random") else Path(settings.weights)
        network = build_backbone(
            settings.backbone, settings.backbone_options, weights=settings.weights, image_size=settings.image_size
        )
        own = own_preprocessing(network)
        self.frames = settings.frames
        self.pooled = settings.pooled
        self.image_size = _square_side(settings, own)
        self.crop = settings.crop or own.crop
        self.short_side = math.floor(self.image_size / self.crop + 1e-6)  # timm's own transforms round down too
        self.precision = settings.precision
        self.stored_type = torch.float16 if settings.stored_as == "float16" else torch.float32
        sha256 = weights_sha256(network)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.layout = find_layout(self.network, self.image_size, name=settings.backbone)
        self.grid_size = (self.layout.height, self.layout.width)
        self.feature_size = self.layout.feature_size
        mean, std = settings.mean or own.mean, settings.std or own.std
        # Of the red, green and blue of a whole row of pixels: PyTorch computes long rows several times as fast as rows of three.
        self._mean, self._std = (
            255 * torch.tensor(values, device=self.device).repeat(self.image_size) for values in (mean, std)
        )
        stream = "frames" if settings.pooled else "grid"
        fingerprint = {
            "kind": stream,
            "backbone": settings.backbone,
            "backbone_options": dict(settings.backbone_options),
            "weights_sha256": sha256,
            "layer": "last map, mean over its locations" if settings.pooled else "last map",
            "image_size": self.image_size,
            "crop": self.crop,
            "mean": list(mean),
            "std": list(std),
            "interpolation": "bicubic",
            "frames": settings.frames,
            "sampling": "uniform presentation time",
            "precision": settings.precision,
            "stored_as": settings.stored_as,
            **({} if settings.pooled else {"grid": list(self.grid_size)}),
            "feature_size": self.feature_size,
        }
        self.spec = StreamSpec.from_fingerprint(stream, fingerprint)

    def extract(self, path: str | Path) -> VideoFeatures:
        """Features of one video file. Raises VideoError, or FeatureError where they do not fit the stored type."""
        return self.finish(self.read(path), name=str(path))

    def finish(self, video: PreparedVideo, *, name: str) -> VideoFeatures:
        """The features of a video that was read.   name: how errors call it. Raises FeatureError as `extract` does."""
        return self.package(self(self.normalise(video.images_uint8)), video, name=name)

    def read(self, path: str | Path, *, threads: int | None = None) -> PreparedVideo:
        """Sample, decode, resize and crop the frames of a video: the part that needs no network. Raises VideoError.

        threads: of the decoder; None for one per core.
        """
        if (known := self.already_read.get(Path(path))) is not None:
            return known
        return self.prepare(sample_frames(path, self.frames, short_side=self.short_side, threads=threads, limits=self.limits))

    @property
    def sampling(self) -> Sampling:
        """Which frames of a clip are seen."""
        return Sampling(self.frames, self.short_side)

    def prepare(self, frames: Frames) -> PreparedVideo:
        """What `read` makes of a file, from the frames of `sampling`. Raises ShapeError if they have another size."""
        return PreparedVideo(self.cropped(frames), torch.from_numpy(frames.times_seconds).float(), frames.warnings)

    def cropped(self, frames: Frames) -> Tensor:
        """The central square, (T, S, S, 3) uint8. Raises ShapeError if the frames were sampled in another size."""
        _, height, width, _ = frames.rgb_uint8.shape
        if min(height, width) != self.short_side:
            raise ShapeError(
                f"Frames of {width}x{height} pixels were given, the shorter side should be {self.short_side}. "
                f"Sample them with sample_frames(path, {self.frames}, short_side={self.short_side})."
            )
        size = self.image_size
        top, left = round((height - size) / 2), round((width - size) / 2)
        # NumPy copies in this thread, see `read_ahead`.
        return torch.from_numpy(np.ascontiguousarray(frames.rgb_uint8[:, top : top + size, left : left + size]))

    def normalise(self, images_uint8: Tensor) -> Tensor:
        """(N, S, S, 3) uint8 to (N, 3, S, S) float32 on the device, less the mean, over the standard deviation."""
        rows = images_uint8.to(self.device).flatten(2).float().sub_(self._mean).div_(self._std)  # (N, S, 3 S)
        return rows.view(images_uint8.shape).permute(0, 3, 1, 2)

    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) normalised images to (N, R, D) float32. An image's result is the same in any batch to rounding."""
        try:
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                parts = torch.split(images, self.images_per_call)
                return torch.cat([grid for part in parts for grid in halved_without_memory(self._grid, part)])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise FeatureError(
                f"The memory of {self.device} does not hold {self.images_per_call} images of {self.image_size} pixels in this "
                "backbone. Use features.precision=bfloat16, a smaller features.image_size, or another device."
            ) from error

    def _grid(self, images: Tensor) -> Tensor:
        return self.layout.grid(last_map(self.network, images)).float()

    def package(self, features: Tensor, video: PreparedVideo, *, name: str) -> VideoFeatures:
        """Features and times as they are stored.   features: (T, R, D). Raises FeatureError for values that the type cannot hold.

        Where the settings say pooled, the mean over the R locations is stored, as 'frames' (T, D).
        """
        if self.pooled:
            features = features.mean(dim=1)
        largest = float(features.abs().max())
        if not math.isfinite(largest):
            raise FeatureError(
                f"{name}: the features are not finite numbers. Check the weights, or use features.precision=float32."
            )
        if largest > torch.finfo(self.stored_type).max:
            raise FeatureError(
                f"{name}: the largest feature is {largest:.6g}, and float16 ends at 65504. Use features.stored_as=float32."
            )
        stored = features.to(self.stored_type, copy=True).to("cpu")
        return VideoFeatures({self.spec.stream: stored, "times_seconds": video.times_seconds}, video.warnings)


def _square_side(settings: FeatureSettings, own: OwnPreprocessing) -> int:
    side = settings.image_size or own.image_size
    if side is None:
        raise ConfigError(f"features.image_size: the own images of {settings.backbone} are not square. Set the side to use.")
    return side
