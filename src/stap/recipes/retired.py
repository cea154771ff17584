"""Settings that were deleted. The config.json of an older model folder may still hold them, a recipe may not."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple

__all__ = ["RETIRED", "without_retired"]


class Retired(NamedTuple):
    """A deleted setting: the value that has no effect, and the setting that replaces it. Any other value needs the older version."""

    value: object
    successor: str | None = None


RETIRED: Mapping[str, Retired] = {
    "model.feature_dropout": Retired(0.0),
    "model.frame_bias": Retired(0.0, "model.inputs.time_embedding"),
    "model.frame_differences": Retired(False, "model.inputs.differences"),
    "model.grid_shift": Retired(0, "model.inputs.shift"),
    "model.location_bias": Retired(0.0, "model.inputs.place_embedding"),
    "model.stat.gate": Retired(True),
    "pretraining.frames_shown": Retired(1),
    "pretraining.optimizer.momentum": Retired(0.0),
    "training.optimizer.momentum": Retired(0.0),
}


def without_retired(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested settings without the deleted ones at the value in `RETIRED`. Other values stay, to be refused."""
    remaining = deepcopy(dict(settings))
    for dotted, (value, _) in RETIRED.items():
        *sections, name = dotted.split(".")
        section: Any = remaining
        for part in sections:
            section = section.get(part) if isinstance(section, dict) else None
        if isinstance(section, dict) and name in section and section[name] == value:
            del section[name]
    return remaining
