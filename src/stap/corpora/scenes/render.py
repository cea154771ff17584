"""From a scene to pixels: a drifting texture, objects with soft edges, camera noise.

Everything random follows from the scene's seed and number, so a scene looks the same whoever draws it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stap.corpora.scenes.dials import SceneDials
from stap.corpora.scenes.lexicon import COLOURS, SHAPES
from stap.corpora.scenes.motion import Motion, pair_motions, place, sequence_motion, single_motion, windows
from stap.corpora.scenes.plan import Scene
from stap.corpora.scenes.shapes import EXTENT, coverage

__all__ = ["render"]

Rng = np.random.Generator
Frames = NDArray[np.float32]

RADII = {"small": 0.073, "medium": 0.115, "large": 0.167}  # parts of the frame's side; 7, 11 and 16 of 96 pixels
PAIR_RADIUS = 0.85  # two objects and their way must fit
DISTRACTOR_RADIUS = (0.036, 0.046)  # 3.5 to 4.5 of 96 pixels
NOISE_FIELDS, NOISE_MARGIN = 16, 32


@dataclass(frozen=True)
class Sprite:
    """An object ready to be drawn."""

    shape: str
    rgb: NDArray[np.float32]  # (3,)
    centre: NDArray[np.float64]  # (T, 2) pixels
    radius: NDArray[np.float64]  # (T,) pixels
    angle: NDArray[np.float64]  # (T,) radians
    visible: NDArray[np.bool_]  # (T,)


def render(scene: Scene, dials: SceneDials) -> NDArray[np.uint8]:
    """The frames of a scene, (T, pixels, pixels, 3) RGB."""
    rng = np.random.default_rng([scene.seed, scene.number, 1])
    frames = max(2, round(dials.seconds * dials.frame_rate * rng.uniform(0.9, 1.1)))
    canvas = _background(frames, dials, rng)
    described = _described(scene, frames, dials, rng)
    for sprite in (*_distractors(scene, frames, dials, rng), *described):
        _draw(canvas, sprite)
    _add_noise(canvas, dials.noise, rng)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _described(scene: Scene, frames: int, dials: SceneDials, rng: Rng) -> list[Sprite]:
    """The objects of the scene, in drawing order: in a pair the first lies under the second."""
    times = np.linspace(0, 1, frames)
    spans = windows(len(scene.events), scene.brief, rng)
    radii = [RADII[thing.size] * rng.uniform(0.93, 1.07) for thing in scene.objects]
    if scene.kind == "pair":
        radii = [radius * PAIR_RADIUS for radius in radii]
        motions = list(pair_motions(scene.events[0].event, times, spans[0], (radii[0], radii[1]), rng))
    else:
        each = zip(scene.events, spans, strict=True)
        motions = [sequence_motion([single_motion(event.event, times, span, scene.brief, rng) for event, span in each])]
    sizes = np.stack([radius * motion.scale for radius, motion in zip(radii, motions, strict=True)]) * dials.pixels  # (N, T)
    centres = place(np.stack([motion.offset for motion in motions]), sizes * EXTENT * 0.9, dials.pixels, rng)
    return [
        _sprite(thing.shape, thing.colour, centre, size, motion, rng)
        for thing, centre, size, motion in zip(scene.objects, centres, sizes, motions, strict=True)
    ]


def _sprite(
    shape: str, colour: str, centre: NDArray[np.float64], radius: NDArray[np.float64], motion: Motion, rng: Rng
) -> Sprite:
    rgb = np.clip(np.array(COLOURS[colour]) + rng.uniform(-10, 10, size=3), 0, 255).astype(np.float32)
    tilt = rng.uniform(-0.12, 0.12)
    return Sprite(shape, rgb, centre, radius, motion.angle + tilt, motion.visible)


def _distractors(scene: Scene, frames: int, dials: SceneDials, rng: Rng) -> list[Sprite]:
    """Small objects that stand still or drift slowly all the time, of any colour and shape."""
    sprites = []
    for _ in range(scene.distractors):
        radius = np.full(frames, rng.uniform(*DISTRACTOR_RADIUS) * dials.pixels)
        drift = rng.uniform(-0.08, 0.08, size=2) * (rng.random() < 0.5)
        still = Motion(np.linspace(0, 1, frames)[:, None] * drift, np.ones(frames), np.zeros(frames), np.ones(frames, dtype=bool))
        centre = place(still.offset[None], radius[None], dials.pixels, rng)[0]
        sprites.append(_sprite(str(rng.choice(SHAPES)), str(rng.choice(list(COLOURS))), centre, radius, still, rng))
    return sprites


def _draw(canvas: Frames, sprite: Sprite) -> None:
    """Blend the sprite into all frames (T, h, w, 3), touching only a patch around it."""
    frames, height, width, _ = canvas.shape
    side = min(2 * int(np.ceil(sprite.radius.max() * EXTENT + 1)) + 1, height, width)
    corner = np.clip(np.round(sprite.centre).astype(int) - side // 2, 0, [width - side, height - side])  # (T, 2)
    steps = np.arange(side, dtype=np.float32)
    from_centre = (corner - sprite.centre).astype(np.float32)  # (T, 2)
    x = from_centre[:, 0, None, None] + steps[None, None, :]
    y = from_centre[:, 1, None, None] + steps[None, :, None]
    column = (slice(None), None, None)
    alpha = coverage(sprite.shape, x, y, sprite.radius.astype(np.float32)[column], sprite.angle.astype(np.float32)[column])
    for index in np.flatnonzero(sprite.visible):
        left, top = corner[index]
        patch = canvas[index, top : top + side, left : left + side]
        patch += (sprite.rgb - patch) * alpha[index, :, :, None]


def _background(frames: int, dials: SceneDials, rng: Rng) -> Frames:
    """A grey, faintly tinted texture that drifts in a straight line, (T, h, w, 3)."""
    pixels = dials.pixels
    drift = rng.uniform(0.05, 0.35) * pixels  # over the clip
    heading = rng.uniform(0, 2 * np.pi)
    way = np.linspace(0, 1, frames)[:, None] * drift * np.array([np.cos(heading), np.sin(heading)])
    corners = np.round(way - way.min(axis=0)).astype(int)  # (T, 2)
    texture = _texture(pixels + int(corners.max()), dials.texture, rng)
    return np.stack([texture[top : top + pixels, left : left + pixels] for left, top in corners])


def _texture(side: int, strength: float, rng: Rng) -> Frames:
    """(side, side, 3): clouds, waves or tiles around a middle grey, of low saturation."""
    pattern = TEXTURES[int(rng.integers(len(TEXTURES)))](side, rng)
    pattern = (pattern - pattern.mean()) / max(float(pattern.std()), 1e-6)
    grain = rng.standard_normal((side, side), dtype=np.float32) * 0.25
    tint = rng.uniform(-9, 9, size=3).astype(np.float32)
    slope = 1 + rng.uniform(-0.12, 0.12, size=3).astype(np.float32)
    grey = np.clip(pattern + grain, -2.5, 2.5)[:, :, None] * np.float32(strength)
    return np.asarray(np.float32(rng.uniform(100, 145)) + tint + grey * slope, dtype=np.float32)


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
    return np.maximum(0, 1 - np.abs(places - np.arange(cells + 1, dtype=np.float32)))


def _add_noise(canvas: Frames, strength: float, rng: Rng) -> None:
    """Another piece of precomputed noise for each frame: fresh noise would cost more than all the rest."""
    frames, height, width, _ = canvas.shape
    bank = _noise_bank(height + NOISE_MARGIN, width + NOISE_MARGIN)
    places = rng.integers(0, [NOISE_FIELDS, NOISE_MARGIN, NOISE_MARGIN], size=(frames, 3))
    for frame, (field, top, left) in zip(canvas, places, strict=True):
        frame += bank[field, top : top + height, left : left + width, None] * np.float32(strength)


@lru_cache(maxsize=4)
def _noise_bank(height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(5).standard_normal((NOISE_FIELDS, height, width), dtype=np.float32)
