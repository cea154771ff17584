"""The page of an evaluation: its scores and published ones, clips from the best to the worst, curves, and how it was made."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stap.captioning.model_folder import Run
from stap.corpora.corpus import Clip
from stap.corpora.loading import load_corpus_with_files
from stap.errors import CheckpointError, CorpusError, FeatureError, StapError
from stap.features.streams import FeatureStreams, open_run_streams
from stap.reports.clip import ClipReport, clip_from_features
from stap.reports.curves import Curve, run_curves
from stap.reports.page import Report, ScoresRow, ScoresTable, write_report

if TYPE_CHECKING:
    from stap.scoring.metrics import Scores
    from stap.scoring.resampling import Interval

__all__ = ["EvaluatedSplit", "evenly_ranked", "write_evaluation_page"]

CLIPS_SHOWN = 8
_RANKED_BY = ("CIDEr", "METEOR", "ROUGE-L", "BLEU-4")  # the first of them among the scores


@dataclass(frozen=True)
class EvaluatedSplit:
    """A split that a model has captioned, and its scores.

    corpus, store: folders of the clips and the features, if not those of the model's recipe.   beam_width: None for the recipe's.
    """

    run: Run
    split: str
    scores: Scores
    corpus: Path | None = None
    store: Path | None = None
    beam_width: int | None = None
    device: torch.device | str = "cpu"


def write_evaluation_page(
    path: Path,
    evaluated: EvaluatedSplit,
    *,
    published: Sequence[ScoresRow] = (),
    intervals: Mapping[str, Interval] | None = None,
    clips: int = CLIPS_SHOWN,
) -> tuple[str, ...]:
    """Write the page. Returns a sentence for each clip that is missing on it, such as one without its video file.

    published: further rows of the table, with a value (or None) for each of the scores, in their order.
    intervals: the confidence interval of each score.   clips: how many are shown.   Raises StapError if the page cannot be written.
    """
    run, scores = evaluated.run, evaluated.scores
    metric = next((name for name in _RANKED_BY if name in scores.corpus), next(iter(scores.corpus)))
    shown = evenly_ranked({video_id: each[metric] for video_id, each in scores.per_video.items()}, clips)
    drawn, remarks = _clip_reports(evaluated, shown)
    ranges = () if intervals is None else tuple((intervals[name].low, intervals[name].high) for name in scores.corpus)
    measured = ScoresRow(run.recipe.name, tuple(scores.corpus.values()), str(run.folder), intervals=ranges)
    chosen = f"Clips are spread evenly over the split, from the best {metric} to the worst." if drawn else ""
    report = Report(
        title=f"{run.recipe.name}: captions of the {evaluated.split} split",
        intro="\n\n".join(filter(None, [run.recipe.description, chosen, *remarks[:1]])),
        scores=ScoresTable(
            tuple(scores.corpus), (measured, *published), f"{len(scores.per_video)} clips, times 100; higher is better."
        ),
        clips=drawn,
        curves=_curves(run),
        how_made=_how_made(evaluated),
    )
    write_report(path, report)
    return remarks


def evenly_ranked(scores: Mapping[str, float], count: int) -> list[str]:
    """`count` of the ids, evenly spaced from the highest score to the lowest, both included; all, if there are no more."""
    ranked = sorted(scores, key=lambda video_id: (-scores[video_id], video_id))
    places = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    return [ranked[place] for place in places]


def _clip_reports(evaluated: EvaluatedSplit, shown: Sequence[str]) -> tuple[tuple[ClipReport, ...], tuple[str, ...]]:
    """The clips of these ids, and a sentence for each that cannot be shown."""
    run = evaluated.run
    try:
        found = _clips_with_video(evaluated)
        streams = open_run_streams(run.recipe.features, run.streams, evaluated.store)
    except (CorpusError, FeatureError) as error:
        return (), (f"No clips are shown: {error}",)
    drawn, remarks = [], []
    for video_id in shown:
        try:
            if video_id not in found:
                raise CorpusError(f"{video_id}: its video file is missing, so the clip is not shown.")
            drawn.append(_clip_report(evaluated, found[video_id], streams))
        except StapError as error:
            remarks.append(str(error))
    return tuple(drawn), tuple(remarks)


def _clips_with_video(evaluated: EvaluatedSplit) -> dict[str, Clip]:
    elsewhere: dict[str, Any] = {} if evaluated.corpus is None else {"root": evaluated.corpus, "videos": None}
    settings = evaluated.run.recipe.corpus.model_copy(update={"available_only": True, **elsewhere})
    return {clip.id: clip for clip in load_corpus_with_files(settings).clips if clip.split == evaluated.split}


def _clip_report(evaluated: EvaluatedSplit, clip: Clip, streams: FeatureStreams) -> ClipReport:
    scores = evaluated.scores.per_video[clip.id]
    return clip_from_features(
        evaluated.run,
        streams.arrays(clip.id),
        clip.path,
        video_id=clip.id,
        references=clip.captions,
        extra={name: f"{100 * scores[name]:.1f}" for name in ("METEOR", "CIDEr") if name in scores},
        beam_width=evaluated.beam_width,
        device=evaluated.device,
    )


def _curves(run: Run) -> tuple[Curve, ...]:
    try:
        return tuple(run_curves(run.folder))
    except CheckpointError:  # weights that were imported have no history
        return ()


def _how_made(evaluated: EvaluatedSplit) -> dict[str, str]:
    run = evaluated.run
    decoding = run.recipe.decoding
    features = {f"Features, {stream}": _described(spec.fingerprint) for stream, spec in run.streams.items()}
    return {
        "Model": f"{run.folder} ({run.recipe.name}, {run.recipe.model.kind}, seed {run.recipe.seed})",
        "Corpus": f"{run.recipe.corpus.kind}, split {evaluated.split}: {len(evaluated.scores.per_video)} clips",
        **features,
        "Decoding": f"beam of {evaluated.beam_width or decoding.beam_width}, at most {decoding.max_words} words",
        "Scores": "the COCO caption scorer's (pycocoevalcap)",
        "Versions": f"stap {version('stap')}, PyTorch {torch.__version__}, Python {platform.python_version()}",
    }


def _described(made: Mapping[str, Any]) -> str:
    """A stream's fingerprint in a line."""
    shown = ("kind", "backbone", "detector", "network", "weights_sha256", "frames", "image_size", "grid", "feature_size")
    parts = {name: str(made[name]) for name in shown if made.get(name) is not None}
    if "weights_sha256" in parts:
        parts["weights_sha256"] = parts["weights_sha256"][:12]
    return ", ".join(f"{name} {value}" for name, value in parts.items())
