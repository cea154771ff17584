import math

import numpy as np
import pytest

from stap.scenes.lexicon import SHAPES
from stap.scenes.shapes import DISTANCES, EXTENT, coverage


def polygon_area(corners):
    """The shoelace formula, in a plain loop."""
    total = 0.0
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        total += x0 * y1 - x1 * y0
    return abs(total) / 2


def star_corners():
    corners = []
    for k in range(10):
        radius = 1.28 if k % 2 == 0 else 0.56
        corners.append((radius * math.sin(k * math.pi / 5), -radius * math.cos(k * math.pi / 5)))
    return corners


TRIANGLE_HEIGHT = 3 * 0.62  # of an equilateral triangle with inradius 0.62
AREAS = {
    "circle": math.pi,
    "ring": math.pi * (1.07**2 - 0.53**2),
    "square": 1.74**2,
    "triangle": TRIANGLE_HEIGHT**2 / math.sqrt(3),
    "cross": 2 * 2.16 * 0.72 - 0.72**2,
    "star": polygon_area(star_corners()),
    "heart": 1.32**2 + math.pi * 0.66**2,  # a square and two half discs
}


def drawn(shape, radius, angle=0.0, side=81, centre=(40.0, 40.0)):
    steps = np.arange(side, dtype=np.float64)
    x = steps[None, None, :] - centre[0]
    y = steps[None, :, None] - centre[1]
    column = np.ones((1, 1, 1))
    return coverage(shape, x, y, column * radius, column * angle)[0]


def test_every_shape_has_an_outline():
    assert set(DISTANCES) == set(SHAPES) == set(AREAS)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("angle", [0.0, 0.4, 2.0])
def test_coverage_sums_to_the_area(shape, angle):
    assert drawn(shape, 25, angle).sum() == pytest.approx(AREAS[shape] * 25**2, rel=0.01)


@pytest.mark.parametrize("shape", SHAPES)
def test_coverage_is_a_share_and_ends_within_the_extent(shape):
    picture = drawn(shape, 20)
    assert picture.min() == 0
    assert picture.max() == 1
    y, x = np.nonzero(picture)
    assert np.hypot(x - 40, y - 40).max() <= 20 * EXTENT + 1


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_one_radius_look_equally_large(shape):
    assert 0.6 < AREAS[shape] / math.pi < 1.1


def test_a_triangle_and_a_star_point_upwards_and_a_heart_downwards():
    for shape, row in (("triangle", 0), ("star", 0), ("heart", -1)):
        picture = drawn(shape, 20)
        rows = np.flatnonzero(picture.sum(axis=1) > 0.5)
        tip, base = picture[rows[row]].sum(), picture[rows[-1 - row]].sum()
        assert tip < base / 2, shape


def test_a_quarter_turn_maps_a_cross_onto_itself_and_turns_a_triangle():
    assert drawn("cross", 20, math.pi / 2) == pytest.approx(drawn("cross", 20), abs=1e-6)
    assert drawn("triangle", 20, math.pi / 2) == pytest.approx(np.rot90(drawn("triangle", 20), -1), abs=1e-6)


def test_edges_are_soft_and_follow_positions_between_pixels():
    left, right = (drawn("circle", 10, centre=(40 + shift, 40.0)) for shift in (0.0, 0.5))
    assert ((left > 0) & (left < 1)).sum() > 20
    steps = np.arange(81)
    centres = [(picture.sum(axis=0) * steps).sum() / picture.sum() for picture in (left, right)]
    assert centres[1] - centres[0] == pytest.approx(0.5, abs=0.02)
