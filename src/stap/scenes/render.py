"""From a scene to pixels: a drifting texture, objects with soft edges, camera noise.

Everything random follows from the scene's seed and number, so a scene looks the same whoever draws it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stap.scenes.background import Canvas, add_noise, drifting_background
from stap.scenes.dials import SceneDials
from stap.scenes.lexicon import COLOURS, SHAPES
from stap.scenes.motion import Motion, pair_motions, place, sequence_motion, single_motion, still, windows
from stap.scenes.plan import Scene
from stap.scenes.shapes import EXTENT, coverage

__all__ = ["render"]

Rng = np.random.Generator
RADII = {"small": 0.073, "medium": 0.115, "large": 0.167}  # parts of the frame's side; 7, 11 and 16 of 96 pixels
PAIR_RADIUS = 0.85  # two objects and their way must fit
DISTRACTOR_RADIUS = (0.036, 0.046)  # 3.5 to 4.5 of 96 pixels


@dataclass(frozen=True)
class Sprite:
    """An object ready to be drawn."""

    shape: str
    rgb: NDArray[np.int16]  # (3,)
    centre: NDArray[np.float64]  # (T, 2) pixels
    radius: NDArray[np.float64]  # (T,) pixels
    angle: NDArray[np.float64]  # (T,) radians
    visible: NDArray[np.bool_]  # (T,)


def render(scene: Scene, dials: SceneDials) -> NDArray[np.uint8]:
    """The frames of a scene, (T, pixels, pixels, 3) RGB."""
    rng = np.random.default_rng([scene.seed, scene.number, 1])
    frames = max(2, round(dials.seconds * dials.frame_rate * rng.uniform(0.9, 1.1)))
    canvas = drifting_background(frames, dials.pixels, dials.texture, rng)
    described = _described(scene, frames, dials, rng)
    for sprite in (*_distractors(scene, frames, dials, rng), *described):
        _draw(canvas, sprite)
    add_noise(canvas, dials.noise, rng)
    return np.clip(canvas, 0, 255).astype(np.uint8).reshape(frames, dials.pixels, dials.pixels, 3)


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
        motions = [sequence_motion([single_motion(event.event, times, span, rng) for event, span in each])]
    sizes = np.stack([radius * motion.scale for radius, motion in zip(radii, motions, strict=True)]) * dials.pixels  # (N, T)
    centres = place(np.stack([motion.offset for motion in motions]), sizes * EXTENT * 0.9, dials.pixels, rng)
    return [
        _sprite(thing.shape, thing.colour, centre, size, motion, rng)
        for thing, centre, size, motion in zip(scene.objects, centres, sizes, motions, strict=True)
    ]


def _sprite(
    shape: str, colour: str, centre: NDArray[np.float64], radius: NDArray[np.float64], motion: Motion, rng: Rng
) -> Sprite:
    rgb = np.clip(np.array(COLOURS[colour]) + rng.uniform(-10, 10, size=3), 0, 255).astype(np.int16)
    tilt = rng.uniform(-0.12, 0.12)
    return Sprite(shape, rgb, centre, radius, motion.angle + tilt, motion.visible)


def _distractors(scene: Scene, frames: int, dials: SceneDials, rng: Rng) -> list[Sprite]:
    """Small objects that stand still or drift slowly all the time, of any colour and shape."""
    sprites = []
    for _ in range(scene.distractors):
        radius = np.full(frames, rng.uniform(*DISTRACTOR_RADIUS) * dials.pixels)
        drift = rng.uniform(-0.08, 0.08, size=2) * (rng.random() < 0.5)
        motion = replace(still(frames), offset=np.linspace(0, 1, frames)[:, None] * drift)
        centre = place(motion.offset[None], radius[None], dials.pixels, rng)[0]
        sprites.append(_sprite(str(rng.choice(SHAPES)), str(rng.choice(list(COLOURS))), centre, radius, motion, rng))
    return sprites


def _draw(canvas: Canvas, sprite: Sprite) -> None:
    """Blend the sprite into all frames, touching only a patch around it.

    In whole numbers, coverage in 128ths: a difference of 255 grey levels (what lies below is 0 to 255) times 128 still fits
    into 16 bits.
    """
    _, height, width = canvas.shape
    side = min(2 * int(np.ceil(sprite.radius.max() * EXTENT + 1)) + 1, height, width // 3)
    corner = np.clip(np.round(sprite.centre).astype(int) - side // 2, 0, [width // 3 - side, height - side])  # (T, 2)
    alpha = np.repeat((_coverage(sprite, corner, side) * 128).astype(np.int16), 3, axis=2)  # (T, side, 3 side)
    rgb = np.tile(sprite.rgb, side)  # (3 side,)
    for index in np.flatnonzero(sprite.visible):
        left, top = corner[index]
        patch = canvas[index, top : top + side, 3 * left : 3 * (left + side)]
        patch += (rgb - patch) * alpha[index] >> 7


def _coverage(sprite: Sprite, corner: NDArray[np.int64], side: int) -> NDArray[np.float32]:
    """(T, side, side) of the patches whose upper left pixels are at `corner`."""
    steps = np.arange(side, dtype=np.float32)
    from_centre = (corner - sprite.centre).astype(np.float32)  # (T, 2)
    x = from_centre[:, 0, None, None] + steps[None, None, :]
    y = from_centre[:, 1, None, None] + steps[None, :, None]
    radius, angle = (values.astype(np.float32)[:, None, None] for values in (sprite.radius, sprite.angle))
    return coverage(sprite.shape, x, y, radius, angle)
