"""The page of generated scenes: scores, test clips with their facts and attention, curves, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from stap.captioning.captioner import Captioner
from stap.corpora.corpus import Clip
from stap.reports.clip import ClipReport, clip_from_file
from stap.reports.curves import Curve, pretraining_curves, training_curves
from stap.reports.page import Report, ScoresTable, write_report
from stap.scenes import facts_recalled
from stap.training.loop import TrainingResult
from stap.training.pretraining.pretrain import PretrainingResult

__all__ = ["choose_shown", "curves", "recalled", "write_scenes_page"]

SCENE_KINDS = ("single", "sequence", "pair")
INTRO = (
    "Captions for generated videos that the model has never seen. Every combination of colour, shape and event in these test "
    "clips was kept out of training.\n\n"
    "The encoder of the frames was trained from nothing by matching frames with sentences, and {system} on its features. The row "
    "“{baseline}” is what can be said without looking. Right and wrong captions are shown alike, in the order of the test split."
)


def choose_shown(clips: Sequence[Clip], captions: Mapping[str, str], count: int) -> list[Clip]:
    """About `count` clips, in turn of each kind of scene, a right and a wrong caption each time while there are both."""
    queues = []
    for is_right in (True, False):
        for kind in SCENE_KINDS:
            queues.append([c for c in clips if c.facts and c.facts["kind"] == kind and _is_right(c, captions) == is_right])
    turns = (clip for turn in zip_longest(*queues) for clip in turn if clip is not None)
    return [clip for clip, _ in zip(turns, range(count), strict=False)]


def recalled(clip: Clip, caption: str) -> str:
    """'3 of 4 (colour 1/1, shape 1/1, event 1/2)': the facts of the clip that the caption states."""
    counts = {kind: pair for kind, pair in facts_recalled(caption, clip.facts or {}).items() if pair[1]}
    found, present = (sum(pair[i] for pair in counts.values()) for i in range(2))
    return f"{found} of {present} ({', '.join(f'{kind} {a}/{b}' for kind, (a, b) in counts.items())})"


def write_scenes_page(
    path: Path,
    captioner: Captioner,
    shown: Sequence[Clip],
    scores: ScoresTable,
    captions: Mapping[str, Mapping[str, str]],
    curves: Sequence[Curve],
    how_made: Mapping[str, str],
) -> None:
    """Write the page.

    captions: system -> clip id -> caption; the captioner's own first, the most frequent caption last.
    """
    system, *rivals, baseline = captions
    report = Report(
        title="stap demo: captions for generated videos",
        intro=INTRO.format(system=system, baseline=baseline),
        scores=scores,
        clips=tuple(_clip_report(captioner, clip, {rival: captions[rival][clip.id] for rival in rivals}) for clip in shown),
        curves=tuple(curves),
        how_made=how_made,
    )
    write_report(path, report)


def curves(pretraining: PretrainingResult, trainings: Mapping[str, TrainingResult]) -> list[Curve]:
    """Losses, recall and validation scores over the epochs. trainings: by the system's name."""
    lines = pretraining_curves([asdict(summary) for summary in pretraining.history])
    for name, result in trainings.items():
        lines += training_curves([asdict(summary) for summary in result.history], name)
    return lines


def _clip_report(captioner: Captioner, clip: Clip, rivals: Mapping[str, str]) -> ClipReport:
    report = clip_from_file(captioner, clip.path, video_id=clip.id, references=clip.captions)
    facts = {"Scene": _scene(clip.facts or {}), "Facts recalled": recalled(clip, " ".join(report.caption_words))}
    return replace(report, extra={**facts, **rivals})


def _scene(facts: Mapping[str, Any]) -> str:
    kinds = {"single": "one object", "sequence": "one object, two events", "pair": "two objects"}
    distractors = {0: "", 1: "1 distractor"}.get(facts["distractors"], f"{facts['distractors']} distractors")
    parts = [kinds[facts["kind"]], "small" if facts["small"] else "", "brief" if facts["brief"] else "", distractors]
    return ", ".join(filter(None, parts))


def _is_right(clip: Clip, captions: Mapping[str, str]) -> bool:
    return all(found == present for found, present in facts_recalled(captions[clip.id], clip.facts or {}).values())
