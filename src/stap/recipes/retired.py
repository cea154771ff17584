"""Settings that were deleted. The config.json of an older model folder may still hold them, a recipe may not."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

__all__ = ["RETIRED", "SUCCESSORS", "without_retired"]

# Dotted name -> the value that computes what stap computes now. Any other value needs the version that wrote the folder.
RETIRED: Mapping[str, object] = {
    "model.feature_dropout": 0.0,
    "model.frame_bias": 0.0,
    "model.frame_differences": False,
    "model.grid_shift": 0,
    "model.location_bias": 0.0,
    "model.stat.gate": True,
    "pretraining.frames_shown": 1,
    "pretraining.optimizer.momentum": 0.0,
    "training.optimizer.momentum": 0.0,
}
SUCCESSORS: Mapping[str, str] = {
    "model.frame_bias": "model.inputs.time_embedding",
    "model.frame_differences": "model.inputs.differences",
    "model.grid_shift": "model.inputs.shift",
    "model.location_bias": "model.inputs.place_embedding",
}


def without_retired(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested settings without the deleted ones that have the value in `RETIRED`. Other values stay, to be refused."""
    kept = deepcopy(dict(settings))
    for dotted, value in RETIRED.items():
        *sections, name = dotted.split(".")
        section: Any = kept
        for part in sections:
            section = section.get(part) if isinstance(section, dict) else None
        if isinstance(section, dict) and name in section and section[name] == value:
            del section[name]
    return kept
