"""Any timm network as a backbone: built by name, filled with weights, and its last map as a grid of locations.

Measured over every architecture of timm 1.0.31: a last map is (N, D, h, w) in most networks, (N, h, w, D) in Swin and
its kin, and (N, prefix + h*w, D) in vision transformers, where the prefix (class and register tokens) is no place in the
picture. D is always the network's `num_features`, so the output itself shows which it is; what fits none of the three is refused.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from stap.errors import ConfigError, FeatureError
from stap.features.lighter_imports import without_compiler
from stap.features.weights import load_weights
from stap.files import one_line
from stap.importers.weights import read_weights

with without_compiler():
    import timm
    from timm.data.config import resolve_model_data_config

    from stap.features.networks.googlenet import build_googlenet
    from stap.features.pretrained import create_pretrained

__all__ = ["GridLayout", "OwnPreprocessing", "build_backbone", "find_layout", "last_map", "own_preprocessing"]

# Arguments of timm.create_model that name files or change what a backbone is. A recipe that came with a stranger's model must
# not have them: weights come through `features.weights` alone, which is read safely.
RESERVED_OPTIONS = frozenset(
    {"cache_dir", "checkpoint_path", "in_chans", "num_classes", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"}
)
ADVICE = "Check features.backbone and features.backbone_options."


@dataclass(frozen=True)
class GridLayout:
    """Where the locations and the features are in a backbone's last map."""

    order: Literal["NCHW", "NHWC", "tokens"]
    height: int
    width: int
    feature_size: int
    prefix_tokens: int = 0

    def grid(self, last: Tensor) -> Tensor:
        """The map as (N, R, D), R = height * width, row by row from the top left."""
        if self.order == "NCHW":
            return last.flatten(2).transpose(1, 2)
        if self.order == "NHWC":
            return last.flatten(1, 2)
        return last[:, self.prefix_tokens :]


def build_backbone(
    name: str, options: Mapping[str, Any] | None = None, *, weights: str = "pretrained", image_size: int | None = None
) -> nn.Module:
    """A timm network without its classifier, in evaluation mode, on the CPU.

    name: any timm model name, or googlenet.   options: further arguments of `timm.create_model`.
    weights: 'pretrained' (from the Hugging Face Hub; googlenet: torchvision's), 'random', or the path of a file (see weights.py).
    image_size: side in pixels of the images to come; None means the network's own. Networks with a fixed input are built for it.
    Raises ConfigError for the name, the options or the size, CheckpointError for the weights.
    """
    options = dict(options or {})
    if name == "googlenet":
        if options:
            raise ConfigError(
                f"features.backbone_options: googlenet takes none, given {', '.join(sorted(options))}. Remove them."
            )
        return build_googlenet(weights).eval()
    _check_name(name)
    _check_options(options)
    options |= _size_options(name, options, image_size)
    if weights == "pretrained":
        return _create(name, options, pretrained=True).eval()
    if weights == "random":
        return _create(name, options).eval()
    tensors = read_weights(Path(weights))
    if options:  # a stranger's may ask for a network beyond any memory: it is compared with the weights before it is built
        with torch.device("meta"):
            load_weights(_create(name, options), tensors, network_name=name, source=weights, advice=ADVICE)
    network = _create(name, options)
    load_weights(network, tensors, network_name=name, source=weights, advice=ADVICE)
    return network.eval()


@dataclass(frozen=True)
class OwnPreprocessing:
    """The preprocessing of a network's training images."""

    image_size: int | None  # side in pixels; None where they were not square
    crop: float  # part of the shorter side kept by the centre crop
    mean: tuple[float, float, float]  # of pixels in 0..1
    std: tuple[float, float, float]


def own_preprocessing(network: nn.Module) -> OwnPreprocessing:
    """What timm knows of the network's own images (for its default weights, where it has been given others)."""
    own = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    _, height, width = own["input_size"]
    return OwnPreprocessing(height if height == width else None, float(own["crop_pct"]), own["mean"], own["std"])


def last_map(network: nn.Module, images: Tensor) -> Any:
    """The last feature map, before pooling and classifier. images: (N, 3, S, S)."""
    return network.forward_features(images)  # type: ignore[operator]


def find_layout(network: nn.Module, image_size: int, *, name: str) -> GridLayout:
    """How the last map of square images of this size lies in memory, found by showing the network a grey one.

    Raises ConfigError if the network cannot take this size, FeatureError if its output is not a grid.
    """
    image = torch.zeros(1, 3, image_size, image_size, device=next(network.parameters()).device)
    try:
        with torch.inference_mode():
            last = last_map(network, image)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"{name} cannot take images of {image_size}x{image_size} ({one_line(error)}). Set features.image_size to another "
            f"size; its own is {own_preprocessing(network).image_size}."
        ) from error
    return _layout_of(last, network, name)


def _layout_of(last: object, network: nn.Module, name: str) -> GridLayout:
    features = int(network.num_features)  # type: ignore[arg-type]
    if isinstance(last, Tensor) and last.ndim == 4:
        _, *sides = last.shape
        declared = str(getattr(network, "output_fmt", None) or "")
        if sides[0] == features and declared != "NHWC":
            return GridLayout("NCHW", sides[1], sides[2], features)
        if sides[2] == features and declared != "NCHW":
            return GridLayout("NHWC", sides[0], sides[1], features)
    if isinstance(last, Tensor) and last.ndim == 3 and last.shape[2] == features:
        prefix = int(getattr(network, "num_prefix_tokens", 0) or 0)
        side = math.isqrt(last.shape[1] - prefix)
        if side > 1 and side * side == last.shape[1] - prefix:
            return GridLayout("tokens", side, side, features, prefix)
    shown = f"shape {list(last.shape)}" if isinstance(last, Tensor) else f"type {type(last).__name__}"
    raise FeatureError(
        f"{name}: its last map has {shown}, where a grid of {features} features per location was expected: [1, {features}, h, w], "
        f"[1, h, w, {features}] or [1, prefix tokens + h*h, {features}]. Choose another backbone."
    )


def _check_name(name: str) -> None:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise ConfigError(f"features.backbone: timm has no model {name!r}{_nearest(name, timm.list_models())}")
    known = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in known:
        raise ConfigError(f"features.backbone: timm has no weights {tag!r} of {architecture}{_nearest(tag, known)}")


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or sorted(known)[:3]
    return f"; nearest: {', '.join(near)}. `timm.list_pretrained()` lists all names." if near else "."


def _check_options(options: Mapping[str, Any]) -> None:
    if reserved := sorted(RESERVED_OPTIONS & options.keys()):
        raise ConfigError(
            f"features.backbone_options: {', '.join(reserved)} cannot be given here. The weights are named by features.weights, "
            "and a backbone always has three channels and no classifier."
        )


def _create(name: str, options: Mapping[str, Any], *, pretrained: bool = False) -> nn.Module:
    try:
        if pretrained:
            return create_pretrained(name, options)
        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **options)
    except (TypeError, RuntimeError, MemoryError, OverflowError) as error:
        raise ConfigError(
            f"features.backbone_options: {name} does not take {dict(options)} ({one_line(error)}). See timm's page of this model."
        ) from error
    return network


def _size_options(name: str, options: Mapping[str, Any], image_size: int | None) -> dict[str, Any]:
    """The options with which a network of a fixed input size takes images of another size; empty for the others."""
    if image_size is None or options.keys() & {"img_size", "dynamic_img_size"}:
        return {}
    fixed, own = _fixed_size(name)
    if not fixed or own == image_size:
        return {}
    return next(_accepted(name, options, image_size), {})


def _accepted(name: str, options: Mapping[str, Any], image_size: int) -> Iterator[dict[str, Any]]:
    """Ways to say the size that this network understands. The first keeps its weights as they are (positions interpolated)."""
    image = torch.zeros(1, 3, image_size, image_size)
    for extra in ({"dynamic_img_size": True}, {"img_size": image_size}):
        try:
            network = _create(name, {**options, **extra}).eval()
            with torch.inference_mode():
                last_map(network, image)
        except (ConfigError, RuntimeError, AssertionError, ValueError):
            continue
        yield extra


def _fixed_size(name: str) -> tuple[bool, int | None]:
    settings = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if settings is None:
        return False, None
    return bool(settings.fixed_input_size), settings.input_size[-1]
