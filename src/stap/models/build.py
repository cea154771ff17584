"""From a recipe's settings to a model with fresh weights."""

from __future__ import annotations

from collections.abc import Mapping

from stap.errors import ConfigError
from stap.models.caption_model import CaptionModel
from stap.models.encoder_decoder import EncoderDecoder
from stap.models.inputs import InputStage
from stap.models.lrcn import LRCN
from stap.models.lstap import LSTAP
from stap.models.stat.lstap_stat import LSTAPSTAT
from stap.models.stat.model import STAT
from stap.recipes.settings import ModelSettings
from stap.recipes.streams import StreamSpec

__all__ = ["build_model"]


def build_model(
    settings: ModelSettings, streams: Mapping[str, StreamSpec], *, vocabulary_size: int, label_smoothing: float = 0.0
) -> CaptionModel:
    """The model of a recipe, with fresh weights drawn from torch's global generator.

    streams: those that the model may read, by name. STAT's differences of grids need the size of the grid, `model.inputs` may need it
    and the number of frames.

    Raises ConfigError if a stream, the grid's size or the number of frames is missing that the settings need.
    """
    grid = streams.get("grid")
    inputs = None if grid is None else InputStage(settings.inputs, grid.feature_size, grid.grid, grid.frames)
    if settings.kind in ("stat", "stat-mm17"):
        return STAT(
            settings,
            vocabulary_size=vocabulary_size,
            feature_sizes={name: spec.feature_size for name, spec in streams.items()},
            grid_size=None if grid is None else grid.grid,
            inputs=inputs,
            label_smoothing=label_smoothing,
        )
    if inputs is None:
        raise ConfigError(
            f"model.kind {settings.kind} needs the stream 'grid', but the features have {', '.join(streams) or 'none'}. "
            "Extract a grid (features.backbone names its network), or take another kind."
        )
    if settings.kind == "lrcn":
        return EncoderDecoder(inputs, _lrcn(settings, inputs.size), settings, vocabulary_size, label_smoothing)
    encoder = _lstap(settings, inputs.size)
    if settings.kind == "lstap":
        return EncoderDecoder(inputs, encoder, settings, vocabulary_size, label_smoothing)
    return LSTAPSTAT(inputs, encoder, settings, vocabulary_size=vocabulary_size, label_smoothing=label_smoothing)


def _lrcn(settings: ModelSettings, feature_size: int) -> LRCN:
    return LRCN(
        feature_size,
        settings.hidden_size,
        motion_size=settings.motion_size,
        forget_bias=settings.forget_bias,
        memory_frames=settings.memory_frames,
        implementation=settings.implementation,
    )


def _lstap(settings: ModelSettings, feature_size: int) -> LSTAP:
    return LSTAP(
        feature_size,
        settings.hidden_size,
        pooling=settings.pooling,
        attention_size=settings.attention_size,
        motion_size=settings.motion_size,
        forget_bias=settings.forget_bias,
        memory_frames=settings.memory_frames,
        implementation=settings.implementation,
    )
