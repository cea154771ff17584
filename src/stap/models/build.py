"""From a recipe's settings to a model with fresh weights."""

from __future__ import annotations

from collections.abc import Mapping

from stap.config import ModelSettings
from stap.errors import ConfigError
from stap.models.caption_model import CaptionModel
from stap.models.encoder_decoder import EncoderDecoder
from stap.models.lrcn import LRCN
from stap.models.lstap import LSTAP
from stap.models.stat import STAT
from stap.models.stat_lstap import LSTAPSTAT

__all__ = ["build_model"]


def build_model(
    settings: ModelSettings,
    *,
    vocabulary_size: int,
    feature_size: int | None = None,
    locations: int | None = None,
    label_smoothing: float = 0.0,
    feature_sizes: Mapping[str, int] | None = None,
) -> CaptionModel:
    """The model of a recipe, with fresh weights drawn from torch's global generator.

    feature_size: D of the stream 'grid'.   feature_sizes: D of every stream by its name, for models that read several.
    locations: R of the features' grid, needed where the settings ask for a bias for each, or for differences of grids.

    Raises ValueError if locations are missing, ConfigError if a stream that the settings name is.
    """
    sizes = dict(feature_sizes or {}) | ({} if feature_size is None else {"grid": feature_size})
    if settings.location_bias and locations is None:
        raise ValueError("model.location_bias needs the number of locations of the grid.")
    if settings.kind in ("stat", "stat-mm17"):
        return STAT(
            settings,
            vocabulary_size=vocabulary_size,
            feature_sizes=sizes,
            locations=locations,
            label_smoothing=label_smoothing,
        )
    if "grid" not in sizes:
        raise ConfigError(
            f"model.kind {settings.kind} needs the stream 'grid', but the features have {', '.join(sizes) or 'none'}. "
            "Extract a grid, or take another kind."
        )
    if settings.kind == "lrcn":
        lrcn = LRCN(sizes["grid"], settings.hidden_size, motion_size=settings.motion_size, forget_bias=settings.forget_bias)
        return EncoderDecoder(lrcn, settings, vocabulary_size, label_smoothing)
    encoder = _lstap(settings, sizes["grid"], locations)
    if settings.kind == "lstap":
        return EncoderDecoder(encoder, settings, vocabulary_size, label_smoothing)
    return LSTAPSTAT(
        encoder,
        settings,
        vocabulary_size=vocabulary_size,
        feature_size=sizes["grid"],
        locations=locations,
        label_smoothing=label_smoothing,
    )


def _lstap(settings: ModelSettings, feature_size: int, locations: int | None) -> LSTAP:
    return LSTAP(
        feature_size,
        settings.hidden_size,
        pooling=settings.pooling,
        attention_size=settings.attention_size,
        locations=locations if settings.location_bias else None,
        motion_size=settings.motion_size,
        forget_bias=settings.forget_bias,
    )
