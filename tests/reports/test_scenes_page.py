"""Which clips are shown, and what is said about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stap.corpora.corpus import Clip
from stap.reports import scenes_page
from stap.reports.clip import ClipReport
from stap.reports.page import ScoresRow, ScoresTable
from stap.reports.scenes_page import choose_shown, curves, recalled
from stap.training.loop import EpochSummary, TrainingResult
from stap.training.pretraining.pretrain import PretrainingResult, PretrainingSummary

RIGHT, WRONG = "a red circle moves left", "a red circle grows"


def scene_clip(number: int, kind: str = "single") -> Clip:
    objects = [{"colour": "red", "shape": "circle", "size": "large"}]
    facts = {"kind": kind, "objects": objects, "events": [{"event": "left", "objects": [0]}]}
    return Clip(f"video{number}", Path(f"{number}.mp4"), "test", (RIGHT,), facts)


def test_clips_are_chosen_in_turn_of_right_and_wrong_and_of_each_kind() -> None:
    clips = [scene_clip(number, ("single", "sequence", "pair")[number % 3]) for number in range(30)]
    captions = {c.id: RIGHT if number < 21 else WRONG for number, c in enumerate(clips)}
    shown = [int(c.id.removeprefix("video")) for c in choose_shown(clips, captions, 12)]
    assert shown == [0, 1, 2, 21, 22, 23, 3, 4, 5, 24, 25, 26]


def test_where_nothing_is_wrong_only_right_ones_are_shown() -> None:
    clips = [scene_clip(number) for number in range(4)]
    assert choose_shown(clips, {c.id: RIGHT for c in clips}, 12) == clips


def test_facts_recalled_in_words() -> None:
    assert recalled(scene_clip(1), WRONG) == "2 of 3 (colour 1/1, shape 1/1, event 0/1)"


def test_a_curve_for_each_loss_and_score() -> None:
    recall = {"sentence->frame R@1": 0.25}
    history = tuple(PretrainingSummary(epoch, 2, 1.0, 1 / epoch, recall) for epoch in (1, 2))
    epochs = (
        EpochSummary(1, 2, 1.0, 0.1, {"loss": 3.0}, {}, {}, False),
        EpochSummary(2, 2, 1.0, 0.1, {"loss": 2.0}, {"loss": 2.5}, {"CIDEr": 0.7}, True),
    )
    training = TrainingResult(Path("model"), epochs[1], epochs, False)
    found = curves(PretrainingResult(Path("w"), history, ()), {"L-STAP": training})
    assert [(curve.name, curve.y_label, list(curve.x), list(curve.y)) for curve in found] == [
        ("training", "ranking loss", [1, 2], [1.0, 0.5]),
        ("sentence->frame R@1", "validation recall", [1, 2], [0.25, 0.25]),
        ("L-STAP, training", "loss", [1, 2], [3.0, 2.0]),
        ("L-STAP, validation", "loss", [2], [2.5]),
        ("L-STAP", "validation CIDEr (greedy)", [2], [0.7]),
    ]


def test_the_page_shows_the_captions_of_rivals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: ClipReport) -> None:
    monkeypatch.setattr(scenes_page, "clip_from_file", lambda *_, video_id, **__: replace(clip, video_id=video_id))
    scene = scene_clip(1)
    scene = replace(scene, facts={**(scene.facts or {}), "distractors": 1, "small": True, "brief": False})
    captions = {name: {scene.id: f"{name} says"} for name in ("L-STAP", "LRCN", "most frequent")}
    table = ScoresTable(("facts",), (ScoresRow("L-STAP", (0.5,)),))
    scenes_page.write_scenes_page(tmp_path / "r.html", None, [scene], table, captions, (), {"seed": "1"})  # type: ignore[arg-type]
    html = (tmp_path / "r.html").read_text()
    assert "one object, small, 1 distractor" in html
    assert "LRCN says" in html
    assert "L-STAP says" not in html  # its words are the clip's own
    assert "“most frequent”" in html
