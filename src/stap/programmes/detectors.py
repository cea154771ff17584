"""Where the picture changes: PySceneDetect's detectors, TransNetV2 and a fixed window, behind one interface."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from stap.errors import ConfigError
from stap.programmes.extra import import_extra

__all__ = ["DETECTORS", "ShotDetector", "build_detector"]

_DARK = 12  # mean of a frame's pixels below which a fade is out; PySceneDetect's own default
_NOTHING_SEEN = 40  # no pixel of a black frame is as bright


class ShotDetector(Protocol):
    """Looks at every frame of a video, one after another.   behind: frames by which it may report a change late."""

    behind: int

    def changes(self, index: int, seconds: float, thumbnail: np.ndarray) -> list[int]:
        """Read the frame that comes next; the frames, this one or before, with which something new begins.

        index: of the frame, from 0.   seconds: when it appears.   thumbnail: (height, width, 3) uint8, blue first.
        """

    def rest(self) -> list[int]:
        """The changes among the last frames of the video, of which nothing was said yet."""


class _SceneDetectors:
    """PySceneDetect's detectors, told of frames by their numbers, so that the times stay ours.

    With them its detector of fades through black: the fade and the black belong to the shot before, and black at the very start to the
    first shot, so nothing begins with a black frame or with the first that is not.
    """

    def __init__(self, name: str) -> None:
        scenedetect = import_extra("scenedetect", "finding shots")
        # Short shots are joined elsewhere, by times and not by numbers of frames.
        self._fades = scenedetect.ThresholdDetector(threshold=_DARK, min_scene_len=0, fade_bias=1.0)
        self._detectors = [] if name == "threshold" else [getattr(scenedetect, f"{name.capitalize()}Detector")(min_scene_len=0)]
        self._timecode = scenedetect.FrameTimecode
        self._has_been_bright = self._has_shown = False
        self.behind = max((int(detector.event_buffer_length) for detector in self._detectors), default=0)
        self._black: deque[int] = deque(maxlen=1 + self.behind)  # of the latest frames those with which nothing begins

    def changes(self, index: int, seconds: float, thumbnail: np.ndarray) -> list[int]:
        """As ShotDetector says."""
        at = self._timecode(index, fps=1.0)
        is_black = int(thumbnail.max()) < _NOTHING_SEEN
        if is_black or not self._has_shown:
            self._black.append(index)
        self._has_shown = self._has_shown or not is_black
        self._has_been_bright = self._has_been_bright or float(thumbnail.mean()) >= _DARK
        found = [change.frame_num for detector in self._detectors for change in detector.process_frame(at, thumbnail)]
        found = [change for change in found if change not in self._black]
        return (
            found + [change.frame_num for change in self._fades.process_frame(at, thumbnail)]
            if self._has_been_bright
            else found
        )

    def rest(self) -> list[int]:
        """As ShotDetector says."""
        return []


class _FixedWindow:
    """A change every `seconds`, whatever is seen."""

    behind = 0

    def __init__(self, seconds: float) -> None:
        self._seconds, self._window = seconds, 0

    def changes(self, index: int, seconds: float, thumbnail: np.ndarray) -> list[int]:
        """As ShotDetector says."""
        before, self._window = self._window, int(seconds / self._seconds + 1e-9)
        return [index] if self._window > before else []

    def rest(self) -> list[int]:
        """As ShotDetector says."""
        return []


def _transnet() -> ShotDetector:
    from stap.programmes.transnet import TransNetDetector

    return TransNetDetector()


_BUILDERS: Mapping[str, Callable[[float], ShotDetector]] = {
    "adaptive": lambda window: _SceneDetectors("adaptive"),
    "content": lambda window: _SceneDetectors("content"),
    "hash": lambda window: _SceneDetectors("hash"),
    "histogram": lambda window: _SceneDetectors("histogram"),
    "threshold": lambda window: _SceneDetectors("threshold"),
    "transnetv2": lambda window: _transnet(),
    "window": _FixedWindow,
}
DETECTORS = tuple(_BUILDERS)


def build_detector(name: str, window_seconds: float = 10.0) -> ShotDetector:
    """A detector for one video.   window_seconds: for 'window' only. Raises ConfigError for a name that is not in DETECTORS."""
    if name not in _BUILDERS:
        raise ConfigError(f"shot detector {name!r}: expected one of {', '.join(DETECTORS)}.")
    return _BUILDERS[name](window_seconds)
