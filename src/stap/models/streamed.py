"""L-STAP reading a video frame by frame: it keeps (h, c) and the states of the frames, and no frame but the last."""

from __future__ import annotations

import torch
from torch import Tensor

from stap.errors import ConfigError, ShapeError
from stap.models.decoder import StatesMemory
from stap.models.encoder_decoder import EncoderDecoder
from stap.models.lstap import LSTAP, Pooled

__all__ = ["StreamedEncoder"]


class StreamedEncoder:
    """The encoder of a model, for one video whose frames come one at a time. `memory` is that of `EncoderDecoder.encode`, exactly.

    The recurrence of equations (1)-(10) needs of the past only h and c, and the input stage only the frame before.
    """

    def __init__(self, model: EncoderDecoder, motion: Tensor | None = None) -> None:
        """No frame yet.   model: in eval mode.   motion: (M,) where the model starts from it.

        Raises ConfigError for a model of another encoder, ValueError if motion is missing or not wanted.
        """
        if not isinstance(model.encoder, LSTAP):
            raise ConfigError(f"a {model.settings.kind} reads whole videos; only L-STAP reads frame by frame.")
        self._model, self._encoder = model, model.encoder
        with torch.inference_mode():
            self._h, self._c = model.encoder.start(1, None if motion is None else motion[None])
        self._before: Tensor | None = None
        self._states: list[Tensor] = []
        self._weights: list[Tensor] = []

    def __len__(self) -> int:
        """Frames that were read."""
        return len(self._states)

    @torch.inference_mode()
    def read(self, grid: Tensor) -> None:
        """Read the next frame: (R, D) float32, on the model's device. Raises ShapeError as `encode` does."""
        frame = grid[None, None]  # (1, 1, R, D)
        read, marks = self._model.inputs.next_frame(frame, self._before, len(self))
        pooled = self._encoder.continued(read, self._h, self._c, marks=marks)
        self._before, self._h, self._c = frame, pooled.h, pooled.c
        self._states.append(pooled.states)
        if pooled.weights is not None:
            self._weights.append(pooled.weights)

    @torch.inference_mode()
    def memory(self) -> StatesMemory:
        """The video so far, for the decoder. Raises ShapeError before the first frame."""
        if not self._states:
            raise ShapeError("no frame was read, and at least one was expected.")
        states = torch.cat(self._states, dim=1)
        weights = torch.cat(self._weights, dim=1) if self._weights else None
        padding = torch.zeros(states.shape[:2], dtype=torch.bool, device=states.device)
        return self._model.memory_of(Pooled(states, self._h, self._c, weights), padding)
