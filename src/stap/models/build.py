"""From a recipe's settings to a model with fresh weights."""

from __future__ import annotations

from collections.abc import Mapping

from stap.errors import ConfigError
from stap.models.caption_model import CaptionModel
from stap.models.encoder_decoder import EncoderDecoder
from stap.models.lrcn import LRCN
from stap.models.lstap import LSTAP
from stap.models.stat import STAT
from stap.models.stat_lstap import LSTAPSTAT
from stap.recipes.settings import ModelSettings

__all__ = ["build_model"]


def build_model(
    settings: ModelSettings,
    *,
    vocabulary_size: int,
    feature_size: int | None = None,
    grid_size: tuple[int, ...] | None = None,
    frames: int | None = None,
    label_smoothing: float = 0.0,
    feature_sizes: Mapping[str, int] | None = None,
) -> CaptionModel:
    """The model of a recipe, with fresh weights drawn from torch's global generator.

    feature_size: D of the stream 'grid'.   feature_sizes: D of every stream by its name, for models that read several.
    grid_size: (rows, columns) of the features' grid, or (R,) where only the number of its locations is known; needed where the
    settings ask for differences of grids, and with both numbers for `location_bias` and
    `grid_shift`.   frames: of the longest video, likewise for `frame_bias`.

    Raises ConfigError if the grid's size, their number, or a stream, that the settings need is missing.
    """
    sizes = dict(feature_sizes or {}) | ({} if feature_size is None else {"grid": feature_size})
    if settings.location_bias and settings.kind != "lrcn":
        _check_rows_and_columns("location_bias", grid_size)
    if settings.grid_shift:
        _check_rows_and_columns("grid_shift", grid_size)
    if settings.frame_bias and frames is None:
        raise ConfigError(
            "model.frame_bias needs the number of frames, which the features do not tell. Extract the grid with `stap extract`, or "
            "set model.frame_bias to 0."
        )
    if settings.kind in ("stat", "stat-mm17"):
        return STAT(
            settings,
            vocabulary_size=vocabulary_size,
            feature_sizes=sizes,
            grid_size=grid_size,
            label_smoothing=label_smoothing,
        )
    if "grid" not in sizes:
        raise ConfigError(
            f"model.kind {settings.kind} needs the stream 'grid', but the features have {', '.join(sizes) or 'none'}. "
            "Extract a grid, or take another kind."
        )
    encoded_size = sizes["grid"] * (2 if settings.frame_differences else 1)
    if settings.kind == "lrcn":
        lrcn = LRCN(
            encoded_size,
            settings.hidden_size,
            frame_bias=settings.frame_bias,
            frames=frames,
            motion_size=settings.motion_size,
            forget_bias=settings.forget_bias,
            memory_frames=settings.memory_frames,
        )
        return EncoderDecoder(lrcn, settings, vocabulary_size, label_smoothing, grid_size)
    encoder = _lstap(settings, encoded_size, grid_size, frames)
    if settings.kind == "lstap":
        return EncoderDecoder(encoder, settings, vocabulary_size, label_smoothing, grid_size)
    return LSTAPSTAT(
        encoder,
        settings,
        vocabulary_size=vocabulary_size,
        feature_size=sizes["grid"],
        grid_size=grid_size,
        label_smoothing=label_smoothing,
    )


def _lstap(settings: ModelSettings, feature_size: int, grid_size: tuple[int, ...] | None, frames: int | None) -> LSTAP:
    return LSTAP(
        feature_size,
        settings.hidden_size,
        pooling=settings.pooling,
        attention_size=settings.attention_size,
        location_bias=settings.location_bias,
        grid_size=grid_size,
        frame_bias=settings.frame_bias,
        frames=frames,
        motion_size=settings.motion_size,
        forget_bias=settings.forget_bias,
        memory_frames=settings.memory_frames,
    )


def _check_rows_and_columns(setting: str, grid_size: tuple[int, ...] | None) -> None:
    if grid_size is None or len(grid_size) != 2:
        known = "no size of a grid" if grid_size is None else f"only its number of locations, {grid_size[0]}"
        raise ConfigError(
            f"model.{setting} needs the rows and columns of the grid, and the features tell {known}. "
            f"Extract the grid with `stap extract`, or set model.{setting} to 0."
        )
