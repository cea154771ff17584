"""The networks that motion features come from, by name: I3D, C3D and torchvision's, each with how it was trained and is sampled."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from stap.errors import CheckpointError, ConfigError
from stap.features.clip_preprocessing import ClipPreprocessing
from stap.features.networks import i3d
from stap.features.networks.c3d import C3D, CLIP_FRAMES, IMAGE_SIZE, load_c3d
from stap.features.networks.torchvision_video import known_networks, load_torchvision, sampling_of, transforms_of
from stap.recipes.settings import MotionSettings

__all__ = ["MotionNetwork", "build_motion_network"]

I3D_PREPROCESSING = ClipPreprocessing(256, 224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))  # pixels in [-1, 1]
# The mean of the Sports-1M clips as one colour, as PyTorch ports use it; the exact mean is a cube in the file of weights.
C3D_PREPROCESSING = ClipPreprocessing(
    (128, 171), IMAGE_SIZE, mean=(102 / 255, 98 / 255, 90 / 255), std=(1 / 255, 1 / 255, 1 / 255), channel_order="bgr"
)


@dataclass(frozen=True)
class MotionNetwork:
    """A network with all that is needed to show it clips.

    module: (N, 3, T, S, S) and a layer's name to (N, D).   frame_rate: a second, None for every frame of a file.
    clip_frames: None where the whole video goes through in one pass.   shortest: frames of the shortest clip that it can take.
    mean_cube: (3, T, S, S), or None.
    """

    module: nn.Module
    layer: str
    feature_size: int
    preprocessing: ClipPreprocessing
    frame_rate: float | None
    clip_frames: int | None
    clip_stride: int
    shortest: int
    mean_cube: Tensor | None = None


def build_motion_network(settings: MotionSettings) -> MotionNetwork:
    """The network in evaluation mode, on the CPU, with its weights. Raises ConfigError or CheckpointError."""
    if settings.network == "i3d":
        found = _i3d(settings)
    elif settings.network == "c3d":
        found = _c3d(settings)
    elif settings.network in known_networks():
        found = _torchvision(settings)
    else:
        names = ["i3d", "c3d", *known_networks()]
        near = difflib.get_close_matches(settings.network, names, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise ConfigError(f"motion.network: there is no network {settings.network!r}{hint} Expected one of {', '.join(names)}.")
    found.module.requires_grad_(False)
    return found


def _i3d(settings: MotionSettings) -> MotionNetwork:
    layer = _layer(settings, ("logits", "pool"))
    preprocessing = _preprocessing(settings, I3D_PREPROCESSING)
    if preprocessing.image_size < i3d.SMALLEST_IMAGE:
        raise ConfigError(
            f"motion.image_size is {preprocessing.image_size}, and i3d needs at least {i3d.SMALLEST_IMAGE} pixels."
        )
    if settings.clip_frames is not None and settings.clip_frames < i3d.SHORTEST_CLIP:
        raise ConfigError(f"motion.clip_frames is {settings.clip_frames}, and i3d needs at least {i3d.SHORTEST_CLIP}.")
    network = i3d.I3D(600).eval() if settings.weights == "random" else i3d.load_i3d(_weights_file(settings, I3D_SOURCE))
    clip_frames = settings.clip_frames or (None if settings.per == "video" else 64)  # 64: its training clips
    return MotionNetwork(
        network,
        layer,
        network.feature_size(layer),
        preprocessing,
        _frame_rate(settings, 25),
        clip_frames,
        settings.clip_stride or clip_frames or 1,
        clip_frames or i3d.SHORTEST_CLIP,
    )


def _c3d(settings: MotionSettings) -> MotionNetwork:
    preprocessing = _preprocessing(settings, C3D_PREPROCESSING)
    fixed = {"clip_frames": (settings.clip_frames, CLIP_FRAMES), "image_size": (settings.image_size, IMAGE_SIZE)}
    for key, (given, needed) in fixed.items():
        if given not in (None, needed):
            raise ConfigError(f"motion.{key} is {given}, and c3d takes {needed} only. Leave it out.")
    if settings.weights == "random":
        network, cube = C3D().eval(), None
    else:
        network, cube = load_c3d(_weights_file(settings, C3D_SOURCE))
    layer = _layer(settings, ("fc6", "fc7") if network.classes is None else ("fc6", "fc7", "logits"))
    if cube is not None and preprocessing.resize != C3D_PREPROCESSING.resize:
        raise ConfigError("motion.resize: the mean in these weights is of frames of [128, 171]. Leave it out.")
    return MotionNetwork(
        network,
        layer,
        network.feature_size(layer),
        preprocessing,
        _frame_rate(settings, None),
        CLIP_FRAMES,
        settings.clip_stride or CLIP_FRAMES // 2,  # Tran et al. 2015, section 3.3: an overlap of 8 frames
        CLIP_FRAMES,
        None if cube is None else preprocessing.cropped_cube(cube),
    )


def _torchvision(settings: MotionSettings) -> MotionNetwork:
    layer = _layer(settings, ("pool", "logits"))
    transforms, sampling = transforms_of(settings.network), sampling_of(settings.network)
    sizes = transforms.resize_size
    own = ClipPreprocessing(
        sizes[0] if len(sizes) == 1 else (sizes[0], sizes[1]),
        transforms.crop_size[0],
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        crop_rounding="nearest",
    )
    clip_frames = settings.clip_frames or sampling.clip_frames
    if clip_frames < sampling.shortest:
        raise ConfigError(f"motion.clip_frames is {clip_frames}, and {settings.network} needs at least {sampling.shortest}.")
    network = load_torchvision(settings.network, settings.weights)
    return MotionNetwork(
        network,
        layer,
        network.feature_size(layer),
        _preprocessing(settings, own),
        _frame_rate(settings, sampling.frame_rate),
        clip_frames,
        settings.clip_stride or clip_frames,
        clip_frames,
    )


I3D_SOURCE = (
    "Fetch both files of data/checkpoints/rgb_scratch_kin600/model.ckpt (Kinetics-600, as L-STAP used it) or .../rgb_imagenet from "
    "github.com/google-deepmind/kinetics-i3d, and set motion.weights=.../model.ckpt"
)
C3D_SOURCE = (
    "Fetch a PyTorch port of the Sports-1M model, from DavideA/c3d-pytorch, jfzhang95/pytorch-video-recognition or "
    "open-mmlab/mmaction2 on GitHub, and set motion.weights to the file"
)


def _weights_file(settings: MotionSettings, source: str) -> Path:
    if settings.weights == "pretrained":
        raise CheckpointError(f"motion.weights is 'pretrained', and no weights of {settings.network} can be fetched. {source}.")
    return Path(settings.weights)


def _layer(settings: MotionSettings, layers: tuple[str, ...]) -> str:
    if settings.layer not in (None, *layers):
        raise ConfigError(f"motion.layer: {settings.network} has no layer {settings.layer!r}; it has {', '.join(layers)}.")
    return settings.layer or layers[0]


def _frame_rate(settings: MotionSettings, own: float | None) -> float | None:
    rate = own if settings.frame_rate is None else settings.frame_rate
    if isinstance(rate, str):
        return None
    if rate is not None and not rate > 0:
        raise ConfigError(f"motion.frame_rate is {rate:g}, and more than 0 frames per second were expected.")
    return None if rate is None else float(rate)


def _preprocessing(settings: MotionSettings, own: ClipPreprocessing) -> ClipPreprocessing:
    """The network's own, with what the settings say instead."""
    names = ("resize", "image_size", "mean", "std", "channel_order")
    changed = {name: value for name in names if (value := getattr(settings, name)) is not None}
    found = replace(own, **changed)
    if found.image_size > found.short_side:
        raise ConfigError(
            f"motion.image_size is {found.image_size}, more than the shorter side of the frames, {found.short_side}. "
            "Set a larger motion.resize too."
        )
    return found
