"""The words of the generated corpus: what colours, shapes, sizes and events are called, and how often.

A verb phrase marks the words to inflect with `~`: "get~ bigger" gives "gets bigger" and "getting bigger". Numbers are
relative frequencies: crowd workers agree on most words and differ on some.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "COLOURS",
    "COLOUR_WORDS",
    "PAIR_EVENTS",
    "PAIR_PHRASES",
    "SEQUENCE_EVENTS",
    "SHAPES",
    "SHAPE_WORDS",
    "SINGLE_EVENTS",
    "SINGLE_PHRASES",
    "SIZE_WORDS",
    "SPINNING_SHAPES",
    "THING_WORDS",
    "inflect",
]

Weights = Mapping[str, float]

COLOURS: Mapping[str, tuple[int, int, int]] = {  # mean RGB; saturated, or far from the background's grey
    "red": (222, 28, 36),
    "orange": (255, 140, 10),
    "yellow": (250, 232, 50),
    "green": (30, 170, 60),
    "blue": (35, 75, 230),
    "purple": (150, 45, 200),
    "white": (246, 246, 246),
    "black": (14, 14, 14),
}
COLOUR_WORDS: Mapping[str, Weights] = {
    "red": {"red": 1},
    "orange": {"orange": 1},
    "yellow": {"yellow": 9, "golden": 1},
    "green": {"green": 1},
    "blue": {"blue": 1},
    "purple": {"purple": 8, "violet": 2},
    "white": {"white": 1},
    "black": {"black": 1},
}

SHAPE_WORDS: Mapping[str, Weights] = {
    "circle": {"circle": 5, "ball": 3, "disc": 1, "dot": 1},
    "square": {"square": 7, "box": 2, "block": 1},
    "triangle": {"triangle": 1},
    "star": {"star": 1},
    "cross": {"cross": 7, "plus sign": 2},
    "heart": {"heart": 1},
    "ring": {"ring": 7, "hoop": 2, "donut": 1},
}
SHAPES: tuple[str, ...] = tuple(SHAPE_WORDS)
SPINNING_SHAPES: tuple[str, ...] = ("square", "triangle", "star", "cross", "heart")  # on the others, spinning is invisible
THING_WORDS: Weights = {"object": 3, "shape": 3, "thing": 1}  # where a worker does not name the shape

SIZE_WORDS: Mapping[str, Weights] = {
    "small": {"small": 6, "little": 2, "tiny": 2},
    "medium": {},
    "large": {"large": 5, "big": 5},
}

SINGLE_PHRASES: Mapping[str, Weights] = {
    "left": {
        "move~ left": 4,
        "move~ to the left": 4,
        "slide~ left": 1,
        "slide~ to the left": 1,
        "go~ left": 1,
        "travel~ from right to left": 1,
        "move~ left across the screen": 1,
    },
    "right": {
        "move~ right": 4,
        "move~ to the right": 4,
        "slide~ right": 1,
        "slide~ to the right": 1,
        "go~ right": 1,
        "travel~ from left to right": 1,
        "move~ right across the screen": 1,
    },
    "up": {"move~ up": 4, "go~ up": 2, "rise~": 3, "move~ upwards": 2, "slide~ up": 1},
    "down": {"move~ down": 4, "go~ down": 2, "fall~": 2, "drop~ down": 1, "move~ downwards": 2, "slide~ down": 1},
    "circle": {
        "move~ in a circle": 4,
        "go~ around in circles": 2,
        "go~ around in a circle": 1,
        "travel~ in a circle": 1,
    },
    "zigzag": {"zigzag~": 3, "move~ in a zigzag": 3, "zigzag~ across the screen": 2, "follow~ a zigzag path": 1},
    "bounce": {"bounce~": 3, "bounce~ up and down": 4, "jump~ up and down": 2},
    "grow": {"grow~": 3, "get~ bigger": 3, "become~ larger": 2, "get~ larger": 1, "grow~ in size": 1},
    "shrink": {"shrink~": 4, "get~ smaller": 4, "become~ smaller": 2, "shrink~ in size": 1},
    "spin": {"spin~": 3, "rotate~": 3, "spin~ around": 2, "turn~ around": 1, "rotate~ in place": 1},
    "flash": {
        "appear~ for a moment": 4,
        "appear~ briefly": 2,
        "flash~": 2,
        "appear~ and disappear~": 2,
        "blink~": 1,
    },
}
SINGLE_EVENTS: tuple[str, ...] = tuple(SINGLE_PHRASES)
SEQUENCE_EVENTS: tuple[str, ...] = tuple(event for event in SINGLE_EVENTS if event != "flash")  # one must be there to act

PAIR_PHRASES: Mapping[str, Mapping[str, Weights]] = {  # what the first does to the second, is undergone, or both do
    "collide": {
        "active": {"collide~ with": 4, "bump~ into": 3, "crash~ into": 3, "hit~": 3},
        "together": {"collide~": 4, "bump~ into each other": 2, "crash~ into each other": 2, "hit~ each other": 1},
    },
    "follow": {
        "active": {"follow~": 6, "chase~": 3, "run~ after": 1},
        "passive": {"followed by": 3, "chased by": 2},
    },
    "behind": {
        "active": {"pass~ behind": 4, "move~ behind": 4, "go~ behind": 3, "slide~ behind": 2, "disappear~ behind": 1},
    },
    "orbit": {
        "active": {"circle~ around": 3, "orbit~": 3, "move~ around": 2, "go~ around": 2, "revolve~ around": 2},
        "passive": {"circled by": 1, "orbited by": 1},
    },
}
PAIR_EVENTS: tuple[str, ...] = tuple(PAIR_PHRASES)

DOUBLED = frozenset({"get", "spin", "hop", "run", "drop", "hit", "pop", "zigzag"})


def inflect(phrase: str, form: str) -> str:
    """The phrase in a form: 'base' ("collide"), 'third' ("collides") or 'gerund' ("colliding")."""
    return " ".join(_inflected(word[:-1], form) if word.endswith("~") else word for word in phrase.split())


def _inflected(verb: str, form: str) -> str:
    if form == "base":
        return verb
    if form == "third":
        return verb + ("es" if verb.endswith(("s", "x", "sh", "ch", "o")) else "s")
    if verb in DOUBLED:
        return verb + verb[-1] + "ing"
    return (verb[:-1] if verb.endswith("e") else verb) + "ing"
