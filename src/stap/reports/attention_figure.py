"""The attention for each word, as a figure for papers: a filmstrip, a heat map of the attention over its frames,
and for each word the frame with the highest weight and its places."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stap.errors import StapError
from stap.reports.clip import ClipReport
from stap.reports.places import Places, is_even, stand_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["attention_figure"]

Array = npt.NDArray[np.floating[Any]]

_WIDTH = 7.0  # inches: both columns of a paper
_WORD_HEIGHT = 0.21  # inches of a row of the heat map
_MOST_IN_ROW = 6  # pictures of words
_DARKEST = 0.62  # opacity over a place with weight 0, as on the page
_MARK = "#ffd21f"
_WHOLE = (0, 1, 1, 0)  # left, right, bottom, top: a picture in fractions from its upper left
_SHADES = 224  # side of the darkness mask, in pixels


def attention_figure(clip: ClipReport, *, frames: int = 10) -> Figure:
    """The figure of a clip.

    frames: maximum number in the filmstrip, each the middle one of its section of the heat map, which has all frames.
    Places with low weights are dark; those with at least twice the uniform weight are outlined, as on the page.
    Raises StapError for a caption without words, ValueError if `frames` is below 1.
    """
    from matplotlib.figure import Figure

    if not clip.caption_words:
        raise StapError(f"clip {clip.video_id}: its caption has no words, so there is nothing to draw. Choose another clip.")
    if frames < 1:
        raise ValueError(f"frames is {frames}; expected at least 1.")
    T, height, width, _ = clip.rgb_uint8.shape
    L, in_strip = len(clip.caption_words), min(frames, T)
    per_row = min(L, _MOST_IN_ROW)
    rows = math.ceil(L / per_row)
    picture = 0.9 * height / width  # inches, for one that is an inch wide with its margins
    heights = [_WIDTH / in_strip * picture, _WORD_HEIGHT * L + 0.4, *[_WIDTH / per_row * picture + 0.35] * rows]
    figure = Figure(figsize=(_WIDTH, sum(heights)), layout="constrained")
    cells = figure.add_gridspec(2 + rows, per_row, height_ratios=heights)
    _draw_strip(figure.add_subplot(cells[0, :]), clip, in_strip)
    _draw_heat(figure.add_subplot(cells[1, :]), clip)
    for index in range(L):
        _draw_word(figure.add_subplot(cells[2 + index // per_row, index % per_row]), clip, index)
    return figure


def _draw_strip(axes: Axes, clip: ClipReport, count: int) -> None:
    """`count` pictures over the columns of the heat map, each the middle one of its part of the clip."""
    borders = np.linspace(0, len(clip.rgb_uint8), count + 1)
    gap = 0.02 * borders[1]
    for start, end in pairwise(borders):
        frame = clip.rgb_uint8[int((start + end) / 2)]
        axes.imshow(frame, extent=(start + gap, end - gap, 0, 1), aspect="auto", interpolation="antialiased")
    axes.set(xlim=(0, len(clip.rgb_uint8)), ylim=(0, 1))
    axes.set_axis_off()


def _draw_heat(axes: Axes, clip: ClipReport) -> None:
    """(L, T) weights, a row per word; white is 0."""
    weights = np.asarray(clip.word_attention, dtype=np.float64)
    L, T = weights.shape
    image = axes.imshow(100 * weights, cmap="Blues", vmin=0, aspect="auto", extent=(0, T, L, 0), interpolation="nearest")
    axes.set_yticks(np.arange(L) + 0.5, clip.caption_words)
    ticks = np.arange(0, T, math.ceil(T / 10))
    axes.set_xticks(ticks + 0.5, [f"{float(clip.times_seconds[t]):.1f} s" for t in ticks], fontsize="small")
    axes.tick_params(length=0)
    axes.figure.colorbar(image, ax=axes, label="% of the attention", pad=0.01, aspect=12)


def _draw_word(axes: Axes, clip: ClipReport, index: int) -> None:
    """The frame with the highest weight for a word, and its places."""
    row = clip.word_attention[index]
    t = int(np.argmax(row))
    _, height, width, _ = clip.rgb_uint8.shape
    axes.imshow(clip.rgb_uint8[t], extent=_WHOLE, aspect="auto", interpolation="antialiased")
    if clip.places is not None and clip.spatial_weights is not None and not is_even(clip.spatial_weights):
        weights = clip.spatial_weights[index, t] if clip.spatial_weights.ndim == 3 else clip.spatial_weights[t]
        _draw_places(axes, clip.places, t, weights)
    axes.set_title(clip.caption_words[index], fontsize="medium", pad=3)
    axes.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[], box_aspect=height / width)
    axes.set_xlabel(f"{float(clip.times_seconds[t]):.1f} s, {100 * float(row[t]):.0f} %", fontsize="x-small", labelpad=2)


def _draw_places(axes: Axes, places: Places, frame: int, weights: Array) -> None:
    from matplotlib.collections import LineCollection

    top = float(weights.max())
    strengths = weights / top if top > 0 else np.zeros_like(weights)
    darkness = np.zeros((_SHADES, _SHADES, 4))
    darkness[..., 3] = _DARKEST
    for place in np.argsort(weights, kind="stable"):  # the highest weight last, on top
        left, upper, right, lower = np.round(_SHADES * np.array(places.box(frame, int(place)))).astype(int)
        darkness[upper:lower, left:right, 3] = _DARKEST * (1 - strengths[place])
    axes.imshow(darkness, extent=_WHOLE, aspect="auto", interpolation="nearest")
    axes.add_collection(LineCollection(places.outlines(frame, stand_out(weights)), colors=_MARK, linewidths=1))
