"""The demo's table: a column per system, facts and scores times 100."""

from __future__ import annotations

from pathlib import Path

from stap.corpora.corpus import Clip
from stap.experiments.demo.scores import COLUMNS, SystemScores, score_constant, scores_as_text, scores_table
from stap.experiments.facts import FACT_COLUMNS
from stap.scoring.metrics import Scores

FACTS = dict.fromkeys(FACT_COLUMNS, (3, 4)) | {"facts": (11, 13), "brief": (0, 0)}
SCORES = {"BLEU-1": 0.1, "BLEU-4": 0.2, "METEOR": 0.3, "ROUGE-L": 0.4, "CIDEr": 1.205}
LSTAP = SystemScores("L-STAP", {}, FACTS, SCORES)
CONSTANT = SystemScores("most frequent caption", {}, FACTS | {"facts": (1, 20)}, SCORES)


def test_a_table_for_the_terminal() -> None:
    lines = scores_as_text([LSTAP, CONSTANT]).splitlines()
    assert lines[:3] == [
        "               L-STAP  most frequent caption",
        "facts            84.6                    5.0",
        "  colour         75.0                   75.0",
    ]
    assert lines[9:11] == ["  brief             -                      -", "  long           75.0                   75.0"]
    assert lines[-1] == "CIDEr           120.5                  120.5"


def test_a_table_for_the_page() -> None:
    table = scores_table([LSTAP, CONSTANT])
    assert table.columns == COLUMNS
    assert [(row.name, row.values[0], row.values[-1]) for row in table.rows] == [
        ("L-STAP", 11 / 13, 1.205),
        ("most frequent caption", 1 / 20, 1.205),
    ]


def test_json_has_counts_shares_and_every_score() -> None:
    content = LSTAP.to_json()
    assert content["facts"]["facts"] == {"recalled": 11, "total": 13, "share": 11 / 13}
    assert content["facts"]["brief"] == {"recalled": 0, "total": 0, "share": None}
    assert content["scores"] == SCORES


class EqualityScorer:
    """In place of the real one, which starts Java: the share of captions that equal a reference, under every name."""

    def __init__(self, references: dict[str, tuple[str, ...]]) -> None:
        self.references = references

    def score(self, predictions: dict[str, str]) -> Scores:
        right = [caption in self.references[video_id] for video_id, caption in predictions.items()]
        return Scores(dict.fromkeys(SCORES, sum(right) / len(right)), {})


def test_the_scores_of_a_constant_caption() -> None:
    facts = {"kind": "single", "objects": [{"colour": "red", "shape": "circle"}], "events": [{"event": "left", "objects": [0]}]}
    clips = [
        Clip(name, Path(f"{name}.mp4"), "test", (f"a red {name}",), facts | {"small": True, "brief": False})
        for name in ("circle", "star")
    ]
    found = score_constant("constant", "a red star", clips, EqualityScorer({clip.id: clip.captions for clip in clips}))
    assert found.captions == {"circle": "a red star", "star": "a red star"}
    assert found.scores["METEOR"] == 1 / 2
    assert (found.facts["facts"], found.facts["colour"], found.facts["large"]) == ((2, 6), (2, 2), (0, 0))
