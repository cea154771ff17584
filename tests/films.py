"""Pictures of small films with known cuts."""

from collections.abc import Iterator

import numpy as np

__all__ = ["scene", "scenes"]

HEIGHT, WIDTH = 48, 64


def scene(number: int, frames: int, brightness: float = 1.0) -> Iterator[np.ndarray]:
    """Frames (48, 64, 3) uint8 of one scene: a background of its own, before which a square moves."""
    draw = np.random.default_rng(number)
    background = np.repeat(np.repeat(draw.integers(40, 216, (6, 8, 3)), 8, axis=0), 8, axis=1).astype(np.float64)
    colour = draw.integers(40, 216, 3)
    for frame in range(frames):
        picture = background.copy()
        left = 2 + frame % (WIDTH - 12)
        picture[20:30, left : left + 10] = colour
        yield (brightness * picture).astype(np.uint8)


def scenes(*lengths: int) -> list[np.ndarray]:
    """Scenes of so many frames, cut to each other."""
    return [picture for number, length in enumerate(lengths) for picture in scene(number, length)]
