"""Motion features: clips of consecutive frames through a video network, one vector a video or a sequence of one a clip."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, pairwise
from pathlib import Path

import torch
from torch import Tensor

from stap.errors import ConfigError, FeatureError
from stap.features.device import halved_without_memory, is_out_of_memory
from stap.features.motion_networks import build_motion_network
from stap.features.store import VideoFeatures
from stap.features.weights import weights_sha256
from stap.files import one_line
from stap.recipes.settings import MotionSettings, VideoLimits
from stap.recipes.streams import StreamSpec
from stap.video import Frames
from stap.video.clips import FrameStream
from stap.video.sampling import Sampling

__all__ = ["MotionExtractor", "StreamedVideo", "choose_clips"]

# A video of at most this many frames is decoded ahead of the network, and kept (150 MB at 224 pixels); a longer one while the
# network is at work on it.
DECODED_AHEAD = 1000
# Frames in one call of the network, where clips are shorter.
FRAMES_PER_CALL_CPU, FRAMES_PER_CALL_GPU = 32, 256


@dataclass(frozen=True)
class StreamedVideo:
    """A video ready for the network: its frames, cropped, (S, S, 3) uint8 each, in memory or decoded while they are asked for."""

    stream: FrameStream | Frames
    frames: Iterable[Tensor]


class MotionExtractor:
    """From video files to motion features, as the settings say. Nothing is trained here: no gradients, evaluation mode."""

    def __init__(self, settings: MotionSettings, device: torch.device | str = "cpu") -> None:
        """Build the network and load its weights. Raises ConfigError or CheckpointError."""
        self.device, self.limits = torch.device(device), VideoLimits()
        self.settings = settings
        self.has_random_weights = settings.weights == "random"
        self.weights_file = None if settings.weights in ("pretrained", "random") else Path(settings.weights)
        self.network = build_motion_network(settings)
        sha256 = weights_sha256(self.network.module)
        self.network.module.to(self.device)
        self._mean_cube = None if self.network.mean_cube is None else self.network.mean_cube.to(self.device)
        self._frames_per_call = FRAMES_PER_CALL_CPU if self.device.type == "cpu" else FRAMES_PER_CALL_GPU
        self.stored_type = torch.float16 if settings.stored_as == "float16" else torch.float32
        fingerprint = {
            "kind": "motion",
            "network": settings.network,
            "weights_sha256": sha256,
            "layer": self.network.layer,
            "per": settings.per,
            "frame_rate": self.network.frame_rate or "native",
            "sampling": "shown at (k + 0.5) / frame rate" if self.network.frame_rate else "every frame",
            "clip_frames": self.network.clip_frames or "whole video",
            "clip_stride": self.network.clip_stride if self.network.clip_frames else None,
            "frames_per_pass": None if self.network.clip_frames else settings.frames_per_pass,
            "shorter_videos": f"repeated to {self.network.shortest} frames",
            **self.network.preprocessing.fingerprint(),
            "mean_cube": self._mean_cube is not None and _sha256_of(self._mean_cube),
            "precision": settings.precision,
            "stored_as": settings.stored_as,
            "feature_size": self.network.feature_size,
        }
        self.spec = StreamSpec.from_fingerprint("motion", fingerprint)

    def extract(self, path: str | Path) -> VideoFeatures:
        """Features of one video file. Raises VideoError, or FeatureError where they cannot be stored."""
        return self.finish(self.read(path), name=str(path))

    def read(self, path: str | Path, *, threads: int | None = None) -> StreamedVideo:
        """Decode, resize and crop the frames of a video; of a long one, only list them. Raises VideoError."""
        preprocessing = self.network.preprocessing
        stream = FrameStream(
            path, self.network.frame_rate, short_side=preprocessing.short_side, threads=threads, limits=self.limits
        )
        frames = map(preprocessing.cropped, stream)
        return StreamedVideo(stream, list(frames) if len(stream) <= DECODED_AHEAD else frames)

    @property
    def sampling(self) -> Sampling:
        """Which frames of a clip are seen."""
        return Sampling(None, self.network.preprocessing.short_side, self.network.frame_rate)

    def prepare(self, frames: Frames) -> StreamedVideo:
        """What `read` makes of a file, from the frames of `sampling`."""
        return StreamedVideo(frames, list(map(self.network.preprocessing.cropped, frames.rgb_uint8)))

    def finish(self, video: StreamedVideo, *, name: str) -> VideoFeatures:
        """The features of a video as they are stored: 'motion' (D,), or (T', D) and 'times_seconds' (T',), the middle of each clip.

        name: how errors call the video. Raises VideoError or FeatureError.
        """
        clips = choose_clips(
            len(video.stream),
            self.network.clip_frames,
            self.network.clip_stride,
            shortest=self.network.shortest,
            longest=self.settings.frames_per_pass,
        )
        frames, warnings = self._long_enough(video, name)
        vectors = torch.cat([found.cpu() for found in self._vectors(_cut(frames, clips))])  # (T', D)
        warnings = (*video.stream.warnings, *warnings)
        if self.settings.per == "video":
            lengths = torch.tensor([len(clip) for clip in clips], dtype=torch.float64)
            vector = (vectors.double() * (lengths / lengths.sum()).unsqueeze(1)).sum(0).float()
            return VideoFeatures({"motion": self._stored(vector, name)}, warnings)
        times = video.stream.times_seconds
        middles = [(times[clip.start] + times[min(clip.stop, len(times)) - 1]) / 2 for clip in clips]
        return VideoFeatures(
            {"motion": self._stored(vectors, name), "times_seconds": torch.tensor(middles, dtype=torch.float32)}, warnings
        )

    def _long_enough(self, video: StreamedVideo, name: str) -> tuple[Iterable[Tensor], tuple[str, ...]]:
        """The frames, repeated from the start where they do not fill a clip (Carreira & Zisserman 2017, section 2.5)."""
        given, needed = len(video.stream), self.network.shortest
        if given >= needed:
            return video.frames, ()
        counted = "1 frame" if given == 1 else f"{given} frames"
        warning = f"{name}: {counted} where {self.settings.network} needs {needed}; the video is repeated to fill a clip."
        return islice(cycle(video.frames), needed), (warning,)

    def _vectors(self, clips: Iterable[Tensor]) -> Iterator[Tensor]:
        """clips: each (T, S, S, 3) uint8. Yields (N, D) float32, N clips in a call of the network."""
        per_call = max(1, self._frames_per_call // (self.network.clip_frames or self._frames_per_call))
        clips = iter(clips)
        while batch := list(islice(clips, per_call)):
            yield self(torch.stack(batch))

    def __call__(self, clips_uint8: Tensor) -> Tensor:
        """(N, T, S, S, 3) uint8 to (N, D) float32. Raises ConfigError or FeatureError where the network cannot take them."""
        _, frames, size, _, _ = clips_uint8.shape
        bfloat16 = self.settings.precision == "bfloat16"
        try:
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16):
                return torch.cat(halved_without_memory(self._features, clips_uint8))
        except (RuntimeError, MemoryError, AssertionError, ValueError) as error:
            if is_out_of_memory(error):
                raise FeatureError(
                    f"The memory of {self.device} does not hold {len(clips_uint8)} x {frames} frames of {size} pixels in "
                    f"{self.settings.network}. Use a smaller motion.frames_per_pass, motion.precision=bfloat16, or another device."
                ) from error
            raise ConfigError(
                f"{self.settings.network} cannot take clips of {frames} frames of {size} pixels ({one_line(error)}). "
                "Leave motion.clip_frames and motion.image_size out."
            ) from error

    def _features(self, clips_uint8: Tensor) -> Tensor:
        clips = self.network.preprocessing.normalised(clips_uint8.to(self.device), self._mean_cube)
        found: Tensor = self.network.module(clips, self.network.layer).float()
        return found

    def _stored(self, features: Tensor, name: str) -> Tensor:
        largest = float(features.abs().max())
        if not math.isfinite(largest):
            raise FeatureError(
                f"{name}: the features are not finite numbers. Check the weights, or use motion.precision=float32."
            )
        if largest > torch.finfo(self.stored_type).max:
            raise FeatureError(
                f"{name}: the largest feature is {largest:.6g}, and float16 ends at 65504. Use motion.stored_as=float32."
            )
        return features.to(self.stored_type, copy=True).to("cpu")


def choose_clips(count: int, clip_frames: int | None, stride: int, *, shortest: int, longest: int) -> list[range]:
    """The places of each clip's frames in a video of `count` frames.

    clip_frames: None for the whole video, in equal pieces where it has more than `longest` frames. Otherwise a clip begins every
    `stride` frames, and frames after the last whole clip are left out. A video of less than `shortest` frames makes one clip.
    """
    if count < shortest:
        return [range(shortest)]
    if clip_frames is not None:
        return [range(start, start + clip_frames) for start in range(0, count - clip_frames + 1, stride)]
    pieces = -(-count // longest)
    edges = [piece * count // pieces for piece in range(pieces + 1)]
    return [range(start, stop) for start, stop in pairwise(edges)]


def _cut(frames: Iterable[Tensor], clips: Sequence[range]) -> Iterator[Tensor]:
    """The clips (T, S, S, 3), keeping no more frames than a clip has. clips: places, each beginning after the one before."""
    waiting: deque[Tensor] = deque()
    arriving, first = iter(frames), 0  # the place of the first frame that waits
    for clip in clips:
        while first < clip.start and waiting:
            waiting.popleft()
            first += 1
        for frame in islice(arriving, clip.start - first):
            del frame  # between two clips
            first += 1
        waiting.extend(islice(arriving, clip.stop - first - len(waiting)))
        yield torch.stack(list(waiting))


def _sha256_of(cube: Tensor) -> str:
    holder = torch.nn.Module()
    holder.register_buffer("mean_cube", cube)
    return weights_sha256(holder)
