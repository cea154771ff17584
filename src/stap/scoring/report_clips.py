"""The clips of a report as the page shows them: frames as small JPEG pictures, pooling weights as tiny PNG pictures, and
for each word a sentence that says when, and where in the picture, the model looked."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from stap.scoring.report import ClipReport

__all__ = ["ClipView", "FrameView", "WordView", "clip_views"]

_JPEG_QUALITY = 72
_WIDTHS = ((160, 160), (256, 128), (400, 104))  # up to this many frames in all -> pixels a frame is wide
_SMALLEST_WIDTH = 80
_HEAT_RGB = (255, 94, 30)
_MOST_COLUMNS, _FEWEST_COLUMNS = 12, 6  # of a filmstrip on a wide screen
_UNIFORM = 1e-4  # weights that differ by less are mean pooling


@dataclass(frozen=True)
class FrameView:
    """A frame of the filmstrip. `heat` is a picture of the pooling weights to lay over it, or empty."""

    picture: str
    heat: str
    time: str
    where: str


@dataclass(frozen=True)
class WordView:
    """A word of the caption: what each frame weighs (percent, one decimal), the frame that weighs most, and a sentence."""

    word: str
    percents: tuple[float, ...]
    frame: int
    says: str


@dataclass(frozen=True)
class ClipView:
    """A clip, ready for the template."""

    clip: ClipReport
    caption: str
    frames: tuple[FrameView, ...]
    words: tuple[WordView, ...]
    mean_pooling: bool
    size: tuple[int, int]  # width, height of the frames in pixels
    columns: int
    """Frames in a row of the filmstrip on a wide screen."""


def clip_views(clips: Sequence[ClipReport]) -> list[ClipView]:
    """All clips of a report. The more frames there are in all, the smaller they are, so that the file stays small."""
    frames = sum(len(clip.rgb_uint8) for clip in clips)
    width = next((width for most, width in _WIDTHS if frames <= most), _SMALLEST_WIDTH)
    return [_clip_view(clip, width) for clip in clips]


def _clip_view(clip: ClipReport, width: int) -> ClipView:
    T = len(clip.rgb_uint8)
    weights = None if clip.pooling_weights is None else np.asarray(clip.pooling_weights, dtype=np.float64)
    uniform = weights is not None and float(np.ptp(weights)) < _UNIFORM
    maps = None if weights is None or uniform else weights.reshape(T, *(clip.grid or ()))
    pictures = [_small(frame, width) for frame in clip.rgb_uint8]
    frames = tuple(
        FrameView(
            picture=_data_uri(picture, "JPEG", quality=_JPEG_QUALITY, optimize=True),
            heat="" if maps is None else _heat(maps[t]),
            time=f"{float(clip.times_seconds[t]):.1f} s",
            where="" if maps is None else _where(maps[t]),
        )
        for t, picture in enumerate(pictures)
    )
    attention = np.asarray(clip.word_attention, dtype=np.float64)
    words = tuple(_word_view(word, row, frames) for word, row in zip(clip.caption_words, attention, strict=True))
    rows = math.ceil(T / _MOST_COLUMNS)
    columns = max(_FEWEST_COLUMNS, math.ceil(T / rows))
    return ClipView(clip, " ".join(clip.caption_words), frames, words, uniform, pictures[0].size, columns)


def _word_view(word: str, row: npt.NDArray[np.float64], frames: Sequence[FrameView]) -> WordView:
    order = np.argsort(-row, kind="stable")
    strongest = [t for t in order[:3] if row[t] >= 0.5 * row[order[0]]]
    parts = [f"{frames[t].time} ({100 * row[t]:.0f} %{', ' + frames[t].where if frames[t].where else ''})" for t in strongest]
    says = f"“{word}”: most attention at {_listed(parts)}."
    return WordView(word, tuple(round(100 * float(value), 1) for value in row), int(order[0]), says)


def _small(frame: npt.NDArray[np.uint8], width: int) -> Image.Image:
    picture = Image.fromarray(frame)
    if picture.width <= width:
        return picture
    return picture.resize((width, max(1, round(picture.height * width / picture.width))), Image.Resampling.LANCZOS)


def _heat(weights: npt.NDArray[np.float64]) -> str:
    """The weights of a frame (rows, columns) as a picture of one pixel a place: the more weight, the less transparent."""
    spread = float(np.ptp(weights))
    strength = (weights - weights.min()) / spread if spread > 0 else np.zeros_like(weights)
    rgba = np.zeros((*weights.shape, 4), dtype=np.uint8)
    rgba[..., :3] = _HEAT_RGB
    rgba[..., 3] = np.round(200 * strength)
    return _data_uri(Image.fromarray(rgba), "PNG", optimize=True)


def _where(weights: npt.NDArray[np.float64]) -> str:
    """Where in the picture the greatest weight lies, in words: 'upper left', 'centre', ..."""
    rows, columns = weights.shape
    row, column = divmod(int(np.argmax(weights)), columns)
    vertical = _third(row, rows, ("upper", "", "lower"))
    horizontal = _third(column, columns, ("left", "", "right"))
    if not vertical and not horizontal:
        return "centre"
    return f"{vertical} {horizontal or 'middle'}".strip()


def _third(index: int, count: int, names: tuple[str, str, str]) -> str:
    """The name of the third in which the middle of one of `count` equal parts lies."""
    return names[int(3 * (index + 0.5) / count)]


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _data_uri(picture: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
