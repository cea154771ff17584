"""Checks of one video's array: its shape, and whether it holds features at all."""

from __future__ import annotations

from torch import Tensor

from stap.errors import FeatureError
from stap.recipes.streams import StreamSpec

__all__ = ["check_array"]

NOTHING = {"T": "no frame", "R": "no location", "N": "no region", "D": "no feature"}


def check_array(array: Tensor, spec: StreamSpec, *, source: str, remedy: str) -> None:
    """Raises FeatureError unless the array has the axes and sizes of its stream, and is not 0 everywhere.

    source, remedy: how the message begins, and its last sentence.
    """
    name, shape = spec.stream, tuple(array.shape)
    fitting = [axes for axes in spec.axes if _fits(shape, axes, spec)]
    if not fitting:
        expected = " or ".join(_shown(axes, spec) for axes in spec.axes)
        raise FeatureError(f"{source}: stream {name} has the shape {shape}, expected {expected}. {remedy}")
    if 0 in shape:
        raise FeatureError(
            f"{source}: stream {name} has the shape {shape}, which holds {NOTHING[fitting[0][shape.index(0)]]}; "
            f"expected {_shown(fitting[0], spec)} with at least one of each. {remedy}"
        )
    values = array.numpy()
    if not values[:1].any() and not values.any():  # the first frame tells; of a file that is mapped, no more is read here
        raise FeatureError(f"{source}: stream {name}, of shape {shape}, is 0 everywhere; expected features. {remedy}")


def _fits(shape: tuple[int, ...], axes: str, spec: StreamSpec) -> bool:
    return len(shape) == len(axes) and all(
        size == spec.sizes.get(axis, size) for size, axis in zip(shape, axes, strict=True) if size
    )


def _shown(axes: str, spec: StreamSpec) -> str:
    inner = ", ".join(str(spec.sizes.get(axis, axis)) for axis in axes)
    return f"({inner},)" if len(axes) == 1 else f"({inner})"
