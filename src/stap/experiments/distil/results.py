"""What a distillation came to: agreement with the teacher, scores against people, speed, size, and what the filter dropped."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stap.captioning.captioner import Captioner
from stap.captioning.model_folder import load_run
from stap.corpora.corpus import Clip
from stap.errors import StapError
from stap.experiments.distil.clips import Said, SourceClip
from stap.experiments.distil.filter import REASONS, Filtered, FilterSettings
from stap.experiments.distil.said import VIDEOS_AT_A_TIME, Teacher
from stap.experiments.facts import recall_facts
from stap.recipes.settings import VideoLimits
from stap.reports.clip import clip_from_file
from stap.reports.curves import run_curves
from stap.reports.page import PlainTable, Report, write_report
from stap.reports.text_table import text_table
from stap.scoring.metrics import Scorer

__all__ = ["STUDENT", "TEACHER", "UNFILTERED", "Results", "Speed", "measure_speed", "score_systems", "write_page"]

STUDENT, UNFILTERED, TEACHER = "student", "student without the filter", "teacher"
METRICS = ("bleu", "meteor", "rouge", "cider")
COLUMNS = ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
EXAMPLES, CLIPS_SHOWN = 20, 6
AGREEMENT = "Agreement with the teacher"


@dataclass(frozen=True)
class Speed:
    """captions_per_second: files in, captions out, decoding included.   parameters: of all networks."""

    captions_per_second: float
    parameters: int


@dataclass(frozen=True)
class Results:
    """agreement, human: scores by system and column, as fractions; human is empty without human captions of test videos.

    human_videos: how many of the test videos have human captions.   counts: clips of each split, captions said and kept ...
    """

    agreement: Mapping[str, Mapping[str, float]]
    human: Mapping[str, Mapping[str, float]]
    human_videos: int
    speeds: Mapping[str, Speed]
    counts: Mapping[str, int]
    filtered: Filtered
    settings: FilterSettings
    made: Mapping[str, str]

    def tables(self) -> list[PlainTable]:
        """The tables of the page and of the terminal."""
        test = self.counts["test videos"]
        tables = [
            PlainTable(
                AGREEMENT,
                f"Captions of {test} test videos against everything that the teacher said about them, times 100. It says how alike the two "
                "speak, not how often they are right.",
                ("", *self.agreement[STUDENT]),
                _rows(self.agreement),
            )
        ]
        if self.human:
            caption = f"Captions of {self.human_videos} test videos against what people wrote about them, times 100."
            tables.append(PlainTable("Against human captions", caption, ("", *self.human[STUDENT]), _rows(self.human)))
        speeds = tuple(
            (name, f"{one.captions_per_second:.2f}", f"{one.parameters / 1e6:.1f}") for name, one in self.speeds.items()
        )
        caption = "Files in, captions out, decoding included, on this machine; the teacher with its beam while it was asked."
        tables.append(PlainTable("Speed and size", caption, ("", "captions a second", "million parameters"), speeds))
        reasons = {name: text.format(**vars(self.settings)) for name, text in REASONS.items()}
        fell = tuple((name, reasons[name], str(count)) for name, count in self.filtered.counts.items())
        caption = (
            f"Of {self.counts['captions said']} captions {self.counts['captions kept']} were kept; the first reason counts."
        )
        tables.append(PlainTable("What the filter dropped", caption, ("", "because", "captions"), fell))
        return tables

    def examples(self) -> PlainTable:
        """Some captions that were dropped."""
        rows = tuple(
            (one.video, one.reason, one.said.caption, f"{one.said.score:.2f}") for one in self.filtered.examples(EXAMPLES)
        )
        return PlainTable("Some of what was dropped", "In turn of each reason.", ("video", "because", "caption", "score"), rows)

    def to_json(self) -> dict[str, Any]:
        """The content of metrics.json."""
        return {
            "agreement_with_teacher": self.agreement,
            "human": self.human,
            "human_videos": self.human_videos,
            "speed": {name: vars(one) for name, one in self.speeds.items()},
            "counts": dict(self.counts),
            "dropped": self.filtered.counts,
            "made": dict(self.made),
        }

    def __str__(self) -> str:
        shown = [f"{table.heading}\n{text_table([table.columns, *table.rows])}" for table in self.tables()]
        return "\n\n".join(shown)


def score_systems(
    predictions: Mapping[str, Mapping[str, str]], said: Mapping[str, Sequence[Said]], human: Mapping[str, Clip]
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Scores by system and column: of the students against all that the teacher said; of them and the teacher against people.

    predictions: of each student by video.   said: of the same videos, the beam's caption first.   human: the clips with human captions.
    """
    with Scorer({video: [one.caption for one in captions] for video, captions in said.items()}, METRICS) as scorer:
        agreement = {system: _columns(scorer, captions) for system, captions in predictions.items()}
        if not human:
            return agreement, {}
        everyone = {**predictions, TEACHER: {video: captions[0].caption for video, captions in said.items()}}
        with Scorer({video: clip.captions for video, clip in human.items()}, METRICS, sharing=scorer) as people:
            against = {system: _columns(people, captions) for system, captions in everyone.items()}
    for system, row in against.items():
        if facts := recall_facts(list(human.values()), everyone[system]).values():
            row["facts"] = sum(recalled for recalled, _ in facts) / max(sum(total for _, total in facts), 1)
    return agreement, against


def _columns(scorer: Scorer, captions: Mapping[str, str]) -> dict[str, float]:
    scores = scorer.score({video: captions[video] for video in scorer.ids}).corpus
    return {column: scores[column] for column in COLUMNS if column in scores}


def measure_speed(folder: Path, paths: Sequence[Path], device: torch.device, limits: VideoLimits) -> Speed:
    """Of a student, on as many of the files as the teacher was asked about at a time."""
    captioner = Captioner(load_run(folder, device), device, limits)
    paths = paths[:VIDEOS_AT_A_TIME]
    began = time.perf_counter()
    for _ in captioner.caption_many(paths, on_error=lambda *_: None):
        pass
    return Speed(len(paths) / (time.perf_counter() - began), captioner.parameters)


def write_page(
    path: Path,
    results: Results,
    model: Path,
    test: Sequence[SourceClip],
    said: Mapping[str, Sequence[Said]],
    device: torch.device,
) -> None:
    """The report page: the tables, dropped captions, test clips with the student's attention, curves, and how it was made."""
    captioner = Captioner(load_run(model, device), device)
    clips = []
    for clip in test[:: max(1, len(test) // CLIPS_SHOWN)][:CLIPS_SHOWN]:
        human = clip.human.captions if clip.human else ()
        teacher = {TEACHER: said[clip.id][0].caption}
        try:
            clips.append(clip_from_file(captioner, clip.path, video_id=clip.id, references=human, extra=teacher))
        except StapError:  # its features were there before its file went
            continue
    report = Report(
        title=f"A student of {results.made['Teacher']}",
        intro="A small model that learned to caption from a large one. Its captions are compared with the teacher's, which may be wrong, and "
        "with what people wrote where they did.",
        tables=(*results.tables(), results.examples()),
        clips=tuple(clips),
        curves=tuple(run_curves(model)),
        how_made=results.made,
    )
    write_report(path, report)


def teacher_speed(teacher: Teacher) -> Speed:
    """As measured while it was asked."""
    return Speed(1 / teacher.seconds, teacher.parameters)


def _rows(scores: Mapping[str, Mapping[str, float]]) -> tuple[tuple[str, ...], ...]:
    return tuple((name, *(f"{100 * value:.1f}" for value in row.values())) for name, row in scores.items())
