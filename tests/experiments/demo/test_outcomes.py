"""The table: which facts count where, and how it is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stap.corpora.corpus import Clip
from stap.experiments.demo import outcomes
from stap.experiments.demo.outcomes import SCORES, Outcome, fact_shares, judge, scores_table, text_table
from stap.scoring.metrics import Scores


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
]
CAPTIONS = {
    "one": "a red square moves left",  # colour, event
    "two": "a blue star grows and then spins",  # all five
    "three": "a green heart collides with a black ring",  # colour, two shapes, event
}


def test_shares_of_facts_counted_by_hand() -> None:
    assert fact_shares(CLIPS, CAPTIONS) == {
        "facts": 11 / 13,
        "colour": 3 / 4,
        "shape": 3 / 4,
        "event": 4 / 4,
        "order": 1 / 1,
        "two objects": 4 / 5,
        "small objects": 2 / 3,
        "brief events": None,
    }


def test_a_table_for_the_terminal() -> None:
    values = {"facts": 0.8461, "colour": 1.0, "brief events": None, "CIDEr": 1.205}
    table = text_table([Outcome("L-STAP", {}, values), Outcome("most frequent caption", {}, values | {"facts": 0.05})])
    assert table == (
        "                  L-STAP  most frequent caption\n"
        "facts               84.6                    5.0\n"
        "  colour           100.0                  100.0\n"
        "  brief events         -                      -\n"
        "CIDEr              120.5                  120.5"
    )


def test_a_table_for_the_page() -> None:
    values = {"facts": 0.5, "CIDEr": None}
    table = scores_table([Outcome("L-STAP", {}, values), Outcome("LRCN", {}, values)])
    assert table.columns == ("facts", "CIDEr")
    assert [(row.name, row.values) for row in table.rows] == [("L-STAP", (0.5, None)), ("LRCN", (0.5, None))]


class EqualityScorer:
    """In place of the real one, which starts Java: the share of captions that equal a reference, under every name."""

    def __init__(self, references: dict[str, tuple[str, ...]]) -> None:
        self.references = references

    def __enter__(self) -> EqualityScorer:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def score(self, predictions: dict[str, str]) -> Scores:
        right = [caption in self.references[video_id] for video_id, caption in predictions.items()]
        return Scores(dict.fromkeys((*SCORES, "BLEU-1"), sum(right) / len(right)), {})


def test_systems_are_judged_by_facts_and_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "Scorer", EqualityScorer)
    exact = {c.id: c.captions[0] for c in CLIPS}
    parrot, factual = judge({"parrot": exact, "factual": CAPTIONS}, CLIPS)
    assert (parrot.name, parrot.captions) == ("parrot", exact)
    assert parrot.values == fact_shares(CLIPS, exact) | dict.fromkeys(SCORES, 1.0)
    assert factual.values == fact_shares(CLIPS, CAPTIONS) | dict.fromkeys(SCORES, 0.0)
    assert list(parrot.values) == list(factual.values)
