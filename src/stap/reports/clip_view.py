"""A clip as the page shows it: small pictures of its frames, the weights of places as bytes, and a sentence for each word that
says when, and where in the picture, the attention was."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from stap.reports.clip import ClipReport
from stap.reports.places import CLEARLY, is_even, packed, where

__all__ = ["ClipView", "FrameView", "WordView", "clip_views"]

Array = npt.NDArray[np.floating[Any]]

_QUALITY = 56  # of WebP
_WIDTHS = ((480, 128), (1200, 104))  # up to this many frames in all -> pixels a frame is wide
_SMALLEST_WIDTH = 80
_LARGER = 2.25  # so much wider are frames that weigh most for a word: pointing at the word shows them large
_MOST_LARGE = 5  # of them in a clip
_MOST_COLUMNS, _FEWEST_COLUMNS = 10, 6  # of a filmstrip on a wide screen


@dataclass(frozen=True)
class FrameView:
    """A frame of the filmstrip. `where`: the place that weighs most, if it is the same for all words and stands out."""

    picture: str
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
    """A clip, ready for the template.

    weights: bytes of (1 or L, T, R), see `packed`; empty where there is no 'where'.   places: JSON of the grid or the boxes.
    """

    clip: ClipReport
    caption: str
    frames: tuple[FrameView, ...]
    words: tuple[WordView, ...]
    mean_pooling: bool
    weights: str
    places: str
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
    attention = np.asarray(clip.word_attention, dtype=np.float64)
    even = clip.spatial_weights is not None and is_even(clip.spatial_weights)
    spatial = None if clip.spatial_weights is None or even else _for_words(clip.spatial_weights)  # (1 or L, T, R)
    large = _large_frames(attention)
    frames = tuple(
        FrameView(
            picture=_webp(_small(picture, round(_LARGER * width) if t in large else width)),
            time=f"{float(clip.times_seconds[t]):.1f} s",
            where=where(clip.places, t, spatial[0, t]) if clip.places and spatial is not None and len(spatial) == 1 else "",
        )
        for t, picture in enumerate(clip.rgb_uint8)
    )
    rows = math.ceil(T / _MOST_COLUMNS)
    return ClipView(
        clip,
        " ".join(clip.caption_words),
        frames,
        tuple(_word_view(clip, index, attention[index], spatial, frames) for index in range(len(attention))),
        mean_pooling=even,
        weights="" if spatial is None else packed(spatial),
        places="" if spatial is None or clip.places is None else json.dumps(clip.places.to_json(), separators=(",", ":")),
        size=_small(clip.rgb_uint8[0], width).size,
        columns=max(_FEWEST_COLUMNS, math.ceil(T / rows)),
    )


def _for_words(weights: Array) -> npt.NDArray[np.float64]:
    """(T, R) or (L, T, R) as (1, T, R) or (L, T, R)."""
    exact: npt.NDArray[np.float64] = np.asarray(weights, dtype=np.float64)
    return exact[None] if exact.ndim == 2 else exact


def _large_frames(attention: npt.NDArray[np.float64]) -> set[int]:
    """The frames that weigh most for some word, the weightiest first, and the one that is shown before any word is chosen."""
    middle = attention.shape[1] // 2
    if not len(attention):
        return {middle}
    order = sorted(set(attention.argmax(axis=1).tolist()), key=lambda t: -float(attention[:, t].max()))
    return {middle, *order[:_MOST_LARGE]}


def _word_view(
    clip: ClipReport,
    index: int,
    row: npt.NDArray[np.float64],
    spatial: npt.NDArray[np.float64] | None,
    frames: Sequence[FrameView],
) -> WordView:
    def said(t: int) -> str:
        place = ""
        if spatial is not None and clip.places is not None:
            place = where(clip.places, t, spatial[index if len(spatial) > 1 else 0, t])
        return f"{frames[t].time} ({100 * row[t]:.0f}\u00a0%{', ' + place if place else ''})"

    word = clip.caption_words[index]
    order = [int(t) for t in np.argsort(-row, kind="stable")]
    strongest = [t for t in order[:3] if row[t] >= 0.5 * row[order[0]]]
    spread = len(row) > 1 and row[order[0]] < CLEARLY / len(row)
    verdict = "spread over the clip, most" if spread else "most attention"
    says = f"“{word}”: {verdict} at {_listed([said(t) for t in strongest])}."
    return WordView(word, tuple(round(100 * float(value), 1) for value in row), order[0], says)


def _small(frame: npt.NDArray[np.uint8], width: int) -> Image.Image:
    picture = Image.fromarray(frame)
    if picture.width <= width:
        return picture
    return picture.resize((width, max(1, round(picture.height * width / picture.width))), Image.Resampling.LANCZOS)


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _webp(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=_QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
