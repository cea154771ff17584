"""The background of a scene and its noise: a drifting texture, and camera noise.

A picture is kept as rows of red, green, blue, red ... in 16-bit whole numbers: noise may leave 0..255 until the end, and the
innermost loops of NumPy run along whole rows.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Canvas", "add_noise", "drifting_background"]

Rng = np.random.Generator
Canvas = NDArray[np.int16]  # (T, height, 3 width)

NOISE_FIELDS, NOISE_MARGIN = 16, 32


def drifting_background(frames: int, pixels: int, strength: float, rng: Rng) -> Canvas:
    """A grey, faintly tinted texture that drifts in a straight line. strength: its standard deviation in grey levels."""
    drift = rng.uniform(0.05, 0.35) * pixels  # over the clip
    heading = rng.uniform(0, 2 * np.pi)
    way = np.linspace(0, 1, frames)[:, None] * drift * np.array([np.cos(heading), np.sin(heading)])
    corners = np.round(way - way.min(axis=0)).astype(int)  # (T, 2)
    texture = _texture(pixels + int(corners.max()), strength, rng)
    return np.stack([texture[top : top + pixels, 3 * left : 3 * (left + pixels)] for left, top in corners])


def _texture(side: int, strength: float, rng: Rng) -> NDArray[np.int16]:
    """(side, 3 side): clouds, waves or tiles around a middle grey, of low saturation."""
    pattern = TEXTURES[int(rng.integers(len(TEXTURES)))](side, rng)
    pattern = (pattern - pattern.mean()) / max(float(pattern.std()), 1e-6)
    grain = rng.standard_normal((side, side), dtype=np.float32) * 0.25
    tint = rng.uniform(-9, 9, size=3).astype(np.float32)
    slope = 1 + rng.uniform(-0.12, 0.12, size=3).astype(np.float32)
    grey = np.clip(pattern + grain, -2.5, 2.5)[:, :, None] * np.float32(strength)
    texture = np.float32(rng.uniform(100, 145)) + tint + grey * slope  # (side, side, 3)
    return np.asarray(np.clip(texture, 0, 255), dtype=np.int16).reshape(side, 3 * side)


def _clouds(side: int, rng: Rng) -> NDArray[np.float32]:
    """Smooth random values on grids of several widths, added up."""
    total = np.zeros((side, side), dtype=np.float32)
    for cells in (4, 8, 16, 32):
        grid = rng.standard_normal((cells + 1, cells + 1), dtype=np.float32)
        spread = _spread(side, cells)  # (side, cells + 1)
        total += spread @ grid @ spread.T * np.float32(rng.uniform(0.3, 1))
    return total


def _waves(side: int, rng: Rng) -> NDArray[np.float32]:
    """Stripes in two directions, bent by clouds."""
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    bend = _clouds(side, rng)
    total = bend * 0.2
    for _ in range(2):
        angle, cycles = rng.uniform(0, np.pi), rng.uniform(4, 14)
        total = total + np.sin(2 * np.pi * cycles * (x * np.cos(angle) + y * np.sin(angle)) + bend)
    return np.asarray(total, dtype=np.float32)


def _tiles(side: int, rng: Rng) -> NDArray[np.float32]:
    """Square tiles, each of its own grey, under clouds."""
    tile = int(rng.integers(side // 16, side // 6))
    count = -(-side // tile)
    grid = rng.uniform(-1.5, 1.5, size=(count, count)).astype(np.float32)
    tiles = np.repeat(np.repeat(grid, tile, axis=0), tile, axis=1)[:side, :side]
    return tiles + _clouds(side, rng) * np.float32(0.4)


TEXTURES = (_clouds, _waves, _tiles)


@lru_cache(maxsize=512)
def _spread(side: int, cells: int) -> NDArray[np.float32]:
    """(side, cells + 1) weights of linear interpolation from a grid's corners to pixels."""
    places = np.linspace(0, cells, side, dtype=np.float32)[:, None]
    return np.asarray(np.maximum(0, 1 - np.abs(places - np.arange(cells + 1, dtype=np.float32))))


def add_noise(canvas: Canvas, strength: float, rng: Rng) -> None:
    """Another piece of precomputed noise for each frame: fresh noise would cost more than all the rest."""
    frames, height, width = canvas.shape
    fields = _noise_fields(height + NOISE_MARGIN, width // 3 + NOISE_MARGIN, strength)
    places = rng.integers(0, [NOISE_FIELDS, NOISE_MARGIN, NOISE_MARGIN], size=(frames, 3))
    for frame, (field, top, left) in zip(canvas, places, strict=True):
        frame += fields[field, top : top + height, 3 * left : 3 * left + width]


@lru_cache(maxsize=4)
def _noise_fields(height: int, width: int, strength: float) -> Canvas:
    """(NOISE_FIELDS, height, 3 width): mostly of brightness, a little of colour, as cameras have it."""
    rng = np.random.default_rng(5)
    brightness = rng.standard_normal((NOISE_FIELDS, height, width, 1), dtype=np.float32)
    colour = rng.standard_normal((NOISE_FIELDS, height, width, 3), dtype=np.float32)
    noise = (brightness * np.float32(0.9) + colour * np.float32(0.43587)) * np.float32(strength)
    return np.round(noise).astype(np.int16).reshape(NOISE_FIELDS, height, 3 * width)
