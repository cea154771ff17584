"""From a recipe's settings to a model with fresh weights."""

from __future__ import annotations

from stap.config import ModelSettings
from stap.models.caption_model import CaptionModel
from stap.models.encoder_decoder import EncoderDecoder
from stap.models.lrcn import LRCN
from stap.models.lstap import LSTAP

__all__ = ["build_model"]


def build_model(
    settings: ModelSettings,
    *,
    vocabulary_size: int,
    feature_size: int,
    locations: int | None = None,
    label_smoothing: float = 0.0,
) -> CaptionModel:
    """The model of a recipe, with fresh weights drawn from torch's global generator.   locations: R of the features' grid, needed
    where the settings ask for a bias for each. Raises ValueError without it.
    """
    if settings.location_bias and locations is None:
        raise ValueError("model.location_bias needs the number of locations of the grid.")
    encoder: LSTAP | LRCN
    if settings.kind == "lstap":
        encoder = LSTAP(
            feature_size,
            settings.hidden_size,
            pooling=settings.pooling,
            attention_size=settings.attention_size,
            locations=locations if settings.location_bias else None,
            motion_size=settings.motion_size,
            forget_bias=settings.forget_bias,
        )
    else:
        encoder = LRCN(feature_size, settings.hidden_size, motion_size=settings.motion_size, forget_bias=settings.forget_bias)
    return EncoderDecoder(encoder, settings, vocabulary_size, label_smoothing)
