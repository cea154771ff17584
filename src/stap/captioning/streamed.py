"""The caption of a shot that L-STAP reads while it comes: of its frames only the states of the encoder are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from stap.captioning.captioner import Captioner
from stap.captioning.video_caption import VideoCaption
from stap.decoding.beam import ranked_captions
from stap.errors import ConfigError
from stap.features.grid import GridExtractor
from stap.features.store import VideoFeatures
from stap.models.encoder_decoder import EncoderDecoder
from stap.models.streamed import StreamedEncoder
from stap.video import Frames

__all__ = ["StreamedShot", "most_frames"]


class StreamedShot:
    """A shot that is read frame by frame. Its caption is that of a video of just these frames."""

    def __init__(self, captioner: Captioner) -> None:
        """No frame yet. Raises ConfigError for a model that needs more than the grid, or is no L-STAP."""
        self._captioner, self._extractor = captioner, _only_grid(captioner)
        assert isinstance(captioner.model, EncoderDecoder), "it reads a grid alone"
        self._encoder = StreamedEncoder(captioner.model)
        self._seconds: list[float] = []

    def __len__(self) -> int:
        """Frames that were read."""
        return len(self._encoder)

    def read(self, rgb_uint8: np.ndarray, seconds: float) -> None:
        """Read the next frame, of the extractor's own size.   seconds: from the start of the shot."""
        prepared = self._extractor.prepare(Frames(rgb_uint8[None], np.array([seconds]), 0.0))
        features = self._extractor.finish(prepared, name=f"the frame at {seconds:.3f} seconds")
        self._encoder.read(features.arrays["grid"][0].to(self._captioner.device).float())
        self._seconds.append(seconds)

    @torch.inference_mode()
    def caption(self, path: Path, beam_width: int | None = None) -> VideoCaption:
        """The caption of what was read.   path: how the caption calls it."""
        decoding = self._captioner.decoding
        if beam_width is not None:
            decoding = decoding.model_copy(update={"beam_width": beam_width})
        memory = self._encoder.memory()
        [found] = ranked_captions(self._captioner.model, memory, decoding)
        features = VideoFeatures({"times_seconds": torch.tensor(self._seconds)}, ())
        return self._captioner.described(path, [features], found[: 1 + self._captioner.alternatives], memory)


def most_frames(captioner: Captioner) -> int | None:
    """How many frames of a shot the model can read: those of training where it has learned a vector for each; None: any number."""
    times = captioner.model.inputs.time_embedding if isinstance(captioner.model, EncoderDecoder) else None
    return None if times is None else len(times)


def _only_grid(captioner: Captioner) -> GridExtractor:
    if len(captioner.extractors) == 1 and isinstance(captioner.extractors[0], GridExtractor):
        extractor = captioner.extractors[0]
        if extractor.spec.stream == "grid" and isinstance(captioner.model, EncoderDecoder):
            return extractor
    raise ConfigError(
        f"{captioner.run.folder}: this model reads whole shots ({captioner.run.recipe.model.kind}, "
        f"{', '.join(captioner.run.streams)}); only an L-STAP of a grid alone reads frame by frame. Leave --live-rate out."
    )
