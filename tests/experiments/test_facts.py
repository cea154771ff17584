"""The facts that captions state, counted by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stap.corpora.corpus import Clip
from stap.experiments.facts import FACT_COLUMNS, count_facts, share


def clip(name: str, kind: str, objects: list[tuple[str, str]], events: list[str], **extra: Any) -> Clip:
    acting = [0, 1] if kind == "pair" else [0]
    facts = {
        "kind": kind,
        "objects": [{"colour": colour, "shape": shape, "size": "large"} for colour, shape in objects],
        "events": [{"event": event, "objects": acting} for event in events],
        "brief": False,
        "small": False,
        "distractors": 0,
    } | extra
    return Clip(name, Path(f"{name}.mp4"), "test", (f"words about {name}",), facts)


CLIPS = [
    clip("one", "single", [("red", "circle")], ["left"], small=True),
    clip("two", "sequence", [("blue", "star")], ["grow", "spin"]),
    clip("three", "pair", [("green", "heart"), ("white", "ring")], ["collide"]),
    Clip("four", Path("four.mp4"), "test", ("words",)),  # without facts: not counted
]
CAPTIONS = {
    "one": "a red square moves left",  # colour, event
    "two": "a blue star grows and then spins",  # all five
    "three": "a green heart collides with a black ring",  # colour, two shapes, event
    "four": "a red circle",
}


def test_facts_by_kind_and_by_sort_of_scene() -> None:
    counts = count_facts(CLIPS, CAPTIONS)
    assert tuple(counts) == FACT_COLUMNS
    assert counts == {
        "facts": (11, 13),
        "colour": (3, 4),
        "shape": (3, 4),
        "event": (4, 4),
        "order": (1, 1),
        "two objects": (4, 5),
        "small": (2, 3),
        "large": (9, 10),
        "brief": (0, 0),
        "long": (11, 13),
    }


def test_shares() -> None:
    assert (share((3, 4)), share((0, 2)), share((0, 0))) == (0.75, 0.0, None)


def test_clips_without_facts_have_no_counts() -> None:
    assert count_facts(CLIPS[3:], CAPTIONS) == {}
