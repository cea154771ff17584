"""The figure of a clip: what is drawn are the numbers that were given."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from raising import error_of
from stap.errors import StapError
from stap.reports.attention_figure import attention_figure
from stap.reports.clip import ClipReport
from stap.reports.places import Boxes


def axes_of(figure, title):
    return next(axes for axes in figure.axes if axes.get_title() == title)


def test_the_heat_map_is_the_attention(clip: ClipReport) -> None:
    figure = attention_figure(clip)
    strip, heat = figure.axes[0], figure.axes[1]
    np.testing.assert_allclose(heat.images[0].get_array(), 100 * clip.word_attention)
    assert [label.get_text() for label in heat.get_yticklabels()] == ["a", "dog", "runs"]
    assert [label.get_text() for label in heat.get_xticklabels()] == ["0.0 s", "0.5 s", "1.0 s", "1.5 s", "2.0 s"]
    assert [np.array_equal(image.get_array(), frame) for image, frame in zip(strip.images, clip.rgb_uint8, strict=True)] == [
        True
    ] * 5
    assert strip.get_xlim() == heat.get_xlim() == (0, 5)


def test_fewer_pictures_than_frames_stand_over_the_middle_of_theirs(clip: ClipReport) -> None:
    strip = attention_figure(clip, frames=2).axes[0]
    assert [np.array_equal(image.get_array(), clip.rgb_uint8[t]) for image, t in zip(strip.images, (1, 3), strict=True)] == [
        True
    ] * 2


def test_each_word_has_its_frame_and_its_places(clip: ClipReport) -> None:
    figure = attention_figure(clip)
    for index, word in enumerate(clip.caption_words):
        axes = axes_of(figure, word)
        picture, darkness = (image.get_array() for image in axes.images)
        np.testing.assert_array_equal(picture, clip.rgb_uint8[index])
        assert axes.get_xlabel() == f"{index / 2:.1f} s, 80 %"
        centres = np.asarray(darkness)[56::112, 37::75, 3]  # of the 2 x 3 cells in 224 x 224 pixels
        expected = np.full(6, 0.62 * (1 - 0.04 / 0.8))
        expected[index] = 0
        np.testing.assert_allclose(centres.ravel(), expected)
        [outline] = [drawn for drawn in axes.collections if isinstance(drawn, LineCollection)]
        corners = np.concatenate(outline.get_segments())
        row, column = divmod(index, 3)
        np.testing.assert_allclose(corners.min(axis=0), [column / 3, row / 2])
        np.testing.assert_allclose(corners.max(axis=0), [(column + 1) / 3, (row + 1) / 2])


def test_boxes_of_each_word(clip: ClipReport) -> None:
    corners = np.array([[[0.0, 0.0, 0.4, 0.5], [0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]] * 5)
    weights = np.zeros((3, 5, 3))
    weights[0, :, 0] = weights[1, :, 1] = weights[2, :, 2] = 1
    figure = attention_figure(replace(clip, places=Boxes(corners), spatial_weights=weights))
    drawn = [
        np.concatenate([np.zeros((0, 2)), *axes_of(figure, word).collections[0].get_segments()]) for word in clip.caption_words
    ]
    assert [points.tolist() for points in (drawn[0].min(0), drawn[0].max(0))] == [[0, 0], [0.4, 0.5]]
    assert [points.tolist() for points in (drawn[1].min(0), drawn[1].max(0))] == [[0.5, 0.5], [1, 1]]
    assert len(drawn[2]) == 0  # padding has no area


def test_cells_side_by_side_share_an_outline(clip: ClipReport) -> None:
    weights = np.array([[0.4, 0.4, 0.05, 0.05, 0.05, 0.05]] * 5)
    [outline] = axes_of(attention_figure(replace(clip, spatial_weights=weights)), "a").collections
    assert len(outline.get_segments()) == 6  # of 8 sides of two cells


def test_a_model_without_places_is_drawn_too(clip: ClipReport) -> None:
    for changes in ({"places": None, "spatial_weights": None}, {"spatial_weights": np.full((5, 6), 1 / 6)}):
        assert len(axes_of(attention_figure(replace(clip, **changes)), "a").images) == 1


def test_a_caption_without_words(clip: ClipReport) -> None:
    assert (
        error_of(StapError, attention_figure, replace(clip, caption_words=(), word_attention=np.zeros((0, 5))))
        == "clip video1: its caption has no words, so there is nothing to draw. Choose another clip."
    )
    with pytest.raises(ValueError, match=r"^frames is 0; expected at least 1\.$"):
        attention_figure(clip, frames=0)
