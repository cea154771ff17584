"""How objects move: for each event, the path, size and angle of its objects over the frames.

Time runs from 0 to 1 over the clip. An event has a window of it; `progress` is 0 before the window, 1 after it. Lengths
are parts of the frame's side until `place` puts a path into the frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["SMALLEST", "Motion", "pair_motions", "place", "sequence_motion", "single_motion", "still", "windows"]

Array = NDArray[np.float64]
Rng = np.random.Generator
Window = tuple[float, float]  # start and end in clip time

SMALLEST, LARGEST = 0.7, 1.6  # scale before growing and after it
BRIEF = 0.26  # part of the clip that a brief event takes
FLASH = (0.13, 0.2)  # part of the clip for which an object appears for a moment
DIRECTIONS: Mapping[str, tuple[float, float]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


@dataclass(frozen=True)
class Motion:
    """An object's life. `offset` is from where it starts; `scale` multiplies its radius."""

    offset: Array  # (T, 2) x, y
    scale: Array  # (T,)
    angle: Array  # (T,) radians
    visible: NDArray[np.bool_]  # (T,)


def still(frames: int) -> Motion:
    """Nothing happens."""
    return Motion(np.zeros((frames, 2)), np.ones(frames), np.zeros(frames), np.ones(frames, dtype=bool))


def windows(count: int, brief: bool, rng: Rng) -> list[Window]:
    """When `count` events happen, one after the other with a short rest between."""
    edges = np.linspace(0.03, 0.97, count + 1)
    spans = [(low + 0.02, high - 0.02) for low, high in pairwise(edges)]
    if not brief:
        return [(low + rng.uniform(0, 0.04), high - rng.uniform(0, 0.04)) for low, high in spans]
    starts = [rng.uniform(low, high - BRIEF) for low, high in spans]
    return [(start, start + BRIEF) for start in starts]


def progress(times: Array, window: Window) -> Array:
    """0 before the window, 1 after it, linear inside."""
    start, end = window
    return np.clip((times - start) / (end - start), 0, 1)


def _is_short(window: Window) -> bool:
    """Whether an event has less than half of the clip: then it repeats less, so that a few sampled frames still show it."""
    return window[1] - window[0] < 0.5


def single_motion(event: str, times: Array, window: Window, rng: Rng) -> Motion:
    """The motion of one object."""
    return SINGLE[event](event, times, window, rng)


def sequence_motion(motions: list[Motion]) -> Motion:
    """One motion after the other: paths add up, scales multiply."""
    whole = motions[0]
    for motion in motions[1:]:
        whole = Motion(
            whole.offset + motion.offset,
            whole.scale * motion.scale,
            whole.angle + motion.angle,
            whole.visible & motion.visible,
        )
    if np.ptp(whole.scale) == 0:
        return whole
    return replace(whole, scale=whole.scale / whole.scale.max() * LARGEST)


def _travel(event: str, times: Array, window: Window, rng: Rng) -> Motion:
    ahead = np.array(DIRECTIONS[event])
    aside = ahead[::-1] * rng.uniform(-0.1, 0.1)
    path = progress(times, window)[:, None] * (ahead + aside) * rng.uniform(0.4, 0.6)
    return replace(still(len(times)), offset=path)


def _circle(event: str, times: Array, window: Window, rng: Rng) -> Motion:
    turns = rng.choice([-1, 1]) * (1.0 if _is_short(window) else rng.uniform(1.1, 1.6))
    start = rng.uniform(0, 2 * np.pi)
    angle = start + 2 * np.pi * turns * progress(times, window)
    path = np.stack([np.cos(angle) - np.cos(start), np.sin(angle) - np.sin(start)], axis=1)
    return replace(still(len(times)), offset=path * rng.uniform(0.17, 0.24))


def _zigzag(event: str, times: Array, window: Window, rng: Rng) -> Motion:
    along = progress(times, window)
    legs = 3 if _is_short(window) else 4
    wave = np.abs(np.mod(along * legs + 1, 2) - 1)  # 0, 1, 0, 1 ... at the corners
    path = np.stack([along * rng.uniform(0.45, 0.6), wave * rng.uniform(0.26, 0.34)], axis=1) * rng.choice([-1, 1], size=2)
    return replace(still(len(times)), offset=path if rng.random() < 0.5 else path[:, ::-1])


def _bounce(event: str, times: Array, window: Window, rng: Rng) -> Motion:
    along = progress(times, window)
    hop = np.mod(along * (2 if _is_short(window) else 3), 1)
    height = 4 * hop * (1 - hop) * rng.uniform(0.28, 0.42)
    path = np.stack([along * rng.uniform(-0.12, 0.12), -height], axis=1)
    return replace(still(len(times)), offset=path)


def _grow(event: str, times: Array, window: Window, rng: Rng) -> Motion:
    along = progress(times, window)
    along = along if event == "grow" else 1 - along
    return replace(still(len(times)), scale=SMALLEST + (LARGEST - SMALLEST) * along)


def _spin(event: str, times: Array, window: Window, rng: Rng) -> Motion:
    turns = rng.choice([-1, 1]) * rng.uniform(1.2, 1.6) * (window[1] - window[0])
    return replace(still(len(times)), angle=2 * np.pi * turns * progress(times, window))


def _flash(event: str, times: Array, window: Window, rng: Rng) -> Motion:
    length = rng.uniform(*FLASH)
    start = rng.uniform(0.08, 0.92 - length)
    return replace(still(len(times)), visible=(times >= start) & (times < start + length))


SINGLE: Mapping[str, Callable[[str, Array, Window, Rng], Motion]] = {
    **dict.fromkeys(DIRECTIONS, _travel),
    "circle": _circle,
    "zigzag": _zigzag,
    "bounce": _bounce,
    "grow": _grow,
    "shrink": _grow,
    "spin": _spin,
    "flash": _flash,
}


def pair_motions(event: str, times: Array, window: Window, radii: tuple[float, float], rng: Rng) -> tuple[Motion, Motion]:
    """The motions of two objects that meet, both from one common origin. radii: parts of the frame's side."""
    first, second = PAIR[event](progress(times, window), radii, rng)
    plain = still(len(times))
    return replace(plain, offset=first), replace(plain, offset=second)


def _direction(rng: Rng) -> Array:
    return np.array(DIRECTIONS[str(rng.choice(list(DIRECTIONS)))])


def _collide(along: Array, radii: tuple[float, float], rng: Rng) -> tuple[Array, Array]:
    """Both come from opposite sides, touch in the middle and are thrown back."""
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.array([np.cos(angle), np.sin(angle)])
    room = max(0.12, 0.42 - sum(radii) / 1.5)
    hit = rng.uniform(0.45, 0.55)
    apart = np.where(along < hit, room * (1 - along / hit), 0.8 * room * (along - hit) / (1 - hit))[:, None]  # (T, 1)
    return -axis * (radii[0] * 0.9 + apart), axis * (radii[1] * 0.9 + apart)


def _follow(along: Array, radii: tuple[float, float], rng: Rng) -> tuple[Array, Array]:
    """Both travel one slightly winding way; the first starts later and stays behind the second."""
    ahead = _direction(rng)
    gap = sum(radii) * 1.15 + 0.03
    length = max(0.3, rng.uniform(0.5, 0.62) - gap / 3)
    winding, phase = rng.uniform(0, 0.06), rng.uniform(0, 2 * np.pi)

    def way(distance: Array) -> Array:
        sway = winding * np.sin(phase + distance * 9)
        return distance[:, None] * ahead + sway[:, None] * ahead[::-1]

    late = np.clip((along - 0.12) / 0.88, 0, 1)
    return way(length * late - gap), way(length * along)


def _behind(along: Array, radii: tuple[float, float], rng: Rng) -> tuple[Array, Array]:
    """The second stands still (and is drawn later); the first crosses behind it."""
    ahead = _direction(rng)
    reach = sum(radii) * 1.1 + rng.uniform(0.03, 0.12)
    aside = ahead[::-1] * rng.uniform(-0.25, 0.25) * radii[1]
    return (2 * along - 1)[:, None] * ahead * reach + aside, np.zeros((len(along), 2))


def _orbit(along: Array, radii: tuple[float, float], rng: Rng) -> tuple[Array, Array]:
    """The second stands still; the first goes around it."""
    angle = rng.uniform(0, 2 * np.pi) + 2 * np.pi * rng.choice([-1, 1]) * rng.uniform(1.0, 1.5) * along
    distance = sum(radii) * 1.15 + rng.uniform(0.02, 0.06)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * distance, np.zeros((len(along), 2))


PAIR: Mapping[str, Callable[[Array, tuple[float, float], Rng], tuple[Array, Array]]] = {
    "collide": _collide,
    "follow": _follow,
    "behind": _behind,
    "orbit": _orbit,
}


def place(offsets: Array, reach: Array, pixels: int, rng: Rng) -> Array:
    """Positions in pixels, somewhere in the frame where the whole path fits; a path too long for the frame is drawn smaller.

    offsets: (N, T, 2) parts of the frame's side.   reach: (N, T) how far the objects extend from their centres, in pixels.
    Returns (N, T, 2).
    """
    offsets = offsets * pixels
    reach = reach[..., None]
    span = np.ptp(offsets.reshape(-1, 2), axis=0)  # (2,)
    room = pixels - 2 * reach.max() - 2
    offsets = offsets * min(1.0, *(room / np.maximum(span, 1e-9)))
    low, high = (offsets - reach).min(axis=(0, 1)), (offsets + reach).max(axis=(0, 1))  # (2,)
    first, last = 1 - low, pixels - 1 - high
    middle = (first + last) / 2
    half = np.maximum(last - first, 0) / 2
    return np.asarray(offsets + middle + half * rng.uniform(-1, 1, size=2))
