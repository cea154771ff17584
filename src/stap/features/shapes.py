"""The shape that one video's array of each stream has, and what is no features at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stap.errors import FeatureError

__all__ = ["AXES", "check_array"]

# T frames or clips, R locations, N regions, D features. A batch puts B before them.
AXES: Mapping[str, tuple[str, ...]] = {"grid": ("TRD",), "frames": ("TD",), "motion": ("D", "TD"), "regions": ("TND",)}
NOTHING = {"T": "no frame", "R": "no location", "N": "no region", "D": "no feature"}


def check_array(name: str, array: Tensor, fingerprint: Mapping[str, Any], *, source: str, remedy: str) -> None:
    """Raises FeatureError unless the array has the axes of its stream and the sizes of its fingerprint, and is not all 0.

    source, remedy: how the message begins, and its last sentence.
    """
    shape = tuple(array.shape)
    possible = [axes for axes in AXES[name] if len(fingerprint.get("shape", axes)) == len(axes)]
    fitting = [axes for axes in possible if _fits(shape, axes, fingerprint)]
    if not fitting:
        expected = " or ".join(_shown(axes, fingerprint) for axes in possible)
        raise FeatureError(f"{source}: stream {name} has the shape {shape}, expected {expected}. {remedy}")
    if 0 in shape:
        raise FeatureError(
            f"{source}: stream {name} has the shape {shape}, which holds {NOTHING[fitting[0][shape.index(0)]]}; "
            f"expected {_shown(fitting[0], fingerprint)} with at least one of each. {remedy}"
        )
    values = array.numpy()
    if not values[:1].any() and not values.any():  # the first frame tells; of a file that is mapped, no more is read here
        raise FeatureError(f"{source}: stream {name}, of shape {shape}, is 0 everywhere; expected features. {remedy}")


def _fits(shape: tuple[int, ...], axes: str, fingerprint: Mapping[str, Any]) -> bool:
    sizes = _sizes(fingerprint)
    return len(shape) == len(axes) and all(
        size == sizes.get(axis, size) for size, axis in zip(shape, axes, strict=True) if size
    )


def _shown(axes: str, fingerprint: Mapping[str, Any]) -> str:
    sizes = _sizes(fingerprint)
    inner = ", ".join(str(sizes.get(axis, axis)) for axis in axes)
    return f"({inner},)" if len(axes) == 1 else f"({inner})"


def _sizes(fingerprint: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that a fingerprint promises, by axis."""
    sizes = {axis: fingerprint[key] for axis, key in (("D", "feature_size"), ("N", "regions")) if key in fingerprint}
    return sizes | ({"R": math.prod(fingerprint["grid"])} if "grid" in fingerprint else {})
