"""Streams of features: their description before a video is read.

It lives here because features make streams and models read them, and neither room imports the other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stap.errors import FeatureError

__all__ = ["AXES", "StreamSpec", "differences"]

# Of one video: T frames or clips, R locations, N regions, D features. A batch puts B before them.
AXES: Mapping[str, tuple[str, ...]] = {"grid": ("TRD",), "frames": ("TD",), "motion": ("D", "TD"), "regions": ("TND",)}


@dataclass(frozen=True)
class StreamSpec:
    """A stream: its name, its sizes, and the fingerprint of how it was made.

    stream: a key of AXES.   feature_size: D; 0 before the first array of an import was seen.   grid: (rows, columns), or (R,) where
    only the number of locations is known.   regions: N.   frames: the most that a video has; None if unknown.   image_size, crop: how
    the network saw a frame, in pixels of the shorter side and as the part of it that the central square keeps.   labels: kinds of
    objects that a detector tells apart.   fingerprint: all that the features depend on, as stored in extractor.json and features.json;
    JSON-able.
    """

    stream: str
    feature_size: int
    grid: tuple[int, ...] | None = None
    regions: int | None = None
    frames: int | None = None
    image_size: int | None = None
    crop: float | None = None
    labels: int | None = None
    fingerprint: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    @classmethod
    def from_fingerprint(cls, stream: str, fingerprint: Mapping[str, Any]) -> StreamSpec:
        """The only reader of fingerprints. Raises FeatureError if one states no size of the features."""
        size = fingerprint.get("feature_size")
        if not isinstance(size, int) or size < 1:
            raise FeatureError(f"feature_size of the stream {stream} is {size!r}, expected a whole number from 1")
        grid = fingerprint.get("grid")
        return cls(
            stream,
            size,
            grid=tuple(grid) if isinstance(grid, list) and all(isinstance(side, int) for side in grid) else None,
            regions=_whole(fingerprint.get("regions")),
            frames=_whole(fingerprint.get("frames")),
            image_size=_whole(fingerprint.get("image_size")),
            crop=fingerprint.get("crop"),
            labels=_whole(fingerprint.get("labels")),
            fingerprint=fingerprint,
        )

    @property
    def kind(self) -> str:
        """What made the features: 'imported', or the name of the stream that an extractor makes."""
        return str(self.fingerprint.get("kind", self.stream))

    @property
    def is_imported(self) -> bool:
        """Whether the features were precomputed elsewhere, so that none can be made of a video file."""
        return self.kind == "imported"

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes that a video's array may have; of imported features, those that the first array had."""
        shape = self.fingerprint.get("shape")
        return tuple(axes for axes in AXES[self.stream] if shape is None or len(axes) == len(shape))

    @property
    def sizes(self) -> dict[str, int]:
        """The known sizes by axis, T excepted."""
        known = {"D": self.feature_size, "N": self.regions, "R": math.prod(self.grid) if self.grid else None}
        return {axis: size for axis, size in known.items() if size}


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What two fingerprints, or the settings of two recipes, disagree on: 'frames: expected 30, found 16' each."""
    a, b = (json.loads(json.dumps(content, sort_keys=True)) for content in (expected, found))
    return [
        f"{key}: expected {_shown(a, key)}, found {_shown(b, key)}"
        for key in sorted(a.keys() | b.keys())
        if a.get(key, ...) != b.get(key, ...)
    ]


def _shown(content: Mapping[str, Any], key: str) -> str:
    return json.dumps(content[key]) if key in content else "none"


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
