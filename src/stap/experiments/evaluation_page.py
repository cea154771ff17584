"""The report of an evaluation: scores beside published ones, clips from the best to the worst, curves, and how it was made."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stap.captioning.model_folder import Run
from stap.corpora.corpus import Clip
from stap.corpora.loading import load_corpus_with_files
from stap.errors import CheckpointError, CorpusError, FeatureError, StapError
from stap.experiments.evaluate import Evaluation
from stap.features.streams import FeatureStreams, open_run_streams
from stap.reports.clip import ClipReport, clip_from_features
from stap.reports.curves import Curve, run_curves
from stap.reports.page import Report, ScoresRow, ScoresTable, write_report

if TYPE_CHECKING:
    from stap.scoring.resampling import Interval

__all__ = ["spread", "write_evaluation_report"]

CLIPS_SHOWN = 8
_RANKED_BY = ("CIDEr", "METEOR", "ROUGE-L", "BLEU-4")  # the first of them that there is


def write_evaluation_report(
    path: Path,
    evaluation: Evaluation,
    *,
    published: Sequence[ScoresRow] = (),
    intervals: Mapping[str, Interval] | None = None,
    corpus: Path | None = None,
    store: Path | None = None,
    beam_width: int | None = None,
    clips: int = CLIPS_SHOWN,
    device: torch.device | str = "cpu",
) -> tuple[str, ...]:
    """Write the page of an evaluation. Returns a sentence for each clip that could not be drawn, such as one whose video is not here.

    published: rows to stand beside the measured one, with a value (or None) for each score of the evaluation, in its order.
    intervals: the range of each score.   corpus, store, beam_width: as they were given to `evaluate`.   clips: how many are shown.
    Raises StapError if the page cannot be written.
    """
    run, scores = evaluation.run, evaluation.scores
    metric = next((name for name in _RANKED_BY if name in scores.corpus), next(iter(scores.corpus)))
    shown = {
        video_id: scores.per_video[video_id] for video_id in spread({v: s[metric] for v, s in scores.per_video.items()}, clips)
    }
    drawn, remarks = _draw(evaluation, shown, corpus, store, beam_width, device)
    ranges = () if intervals is None else tuple((intervals[name].low, intervals[name].high) for name in scores.corpus)
    measured = ScoresRow(run.recipe.name, tuple(scores.corpus.values()), str(run.folder), intervals=ranges)
    chosen = f"Clips are spread evenly over the split, from the best {metric} to the worst." if drawn else ""
    report = Report(
        title=f"{run.recipe.name}: captions of the {evaluation.split} split",
        intro="\n\n".join(filter(None, [run.recipe.description, chosen, *remarks[:1]])),
        scores=ScoresTable(
            tuple(scores.corpus), (measured, *published), f"{len(scores.per_video)} clips, times 100; higher is better."
        ),
        clips=drawn,
        curves=_curves(run),
        how_made=_how_made(evaluation, beam_width),
    )
    write_report(path, report)
    return remarks


def spread(scores: Mapping[str, float], count: int) -> list[str]:
    """`count` of the ids, evenly spread from the highest score to the lowest, both included; all, if there are no more."""
    ranked = sorted(scores, key=lambda video_id: (-scores[video_id], video_id))
    places = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    return [ranked[place] for place in places]


def _draw(
    evaluation: Evaluation,
    shown: Mapping[str, Mapping[str, float]],
    corpus: Path | None,
    store: Path | None,
    beam_width: int | None,
    device: torch.device | str,
) -> tuple[tuple[ClipReport, ...], tuple[str, ...]]:
    """The clips, and why some are not among them."""
    run = evaluation.run
    try:
        found = _clips(run, evaluation.split, corpus)
        streams = open_run_streams(run.recipe.features, run.fingerprint, store)
    except (CorpusError, FeatureError) as error:
        return (), (f"No clips are shown: {error}",)
    drawn, remarks = [], []
    for video_id, scores in shown.items():
        try:
            if video_id not in found:
                raise CorpusError(f"{video_id}: its video is not here, so the clip is not shown.")
            extra = {name: f"{100 * scores[name]:.1f}" for name in ("METEOR", "CIDEr") if name in scores}
            drawn.append(_drawn(run, found[video_id], streams, extra, beam_width, device))
        except StapError as error:
            remarks.append(str(error))
    return tuple(drawn), tuple(remarks)


def _clips(run: Run, split: str, corpus: Path | None) -> dict[str, Clip]:
    """The clips of the split whose videos are here."""
    elsewhere: dict[str, Any] = {} if corpus is None else {"root": corpus, "videos": None}
    settings = run.recipe.corpus.model_copy(update={"available_only": True, **elsewhere})
    return {clip.id: clip for clip in load_corpus_with_files(settings).clips if clip.split == split}


def _drawn(
    run: Run,
    clip: Clip,
    streams: FeatureStreams,
    extra: Mapping[str, str],
    beam_width: int | None,
    device: torch.device | str,
) -> ClipReport:
    return clip_from_features(
        run,
        streams.arrays(clip.id),
        clip.path,
        video_id=clip.id,
        references=clip.captions,
        extra=extra,
        beam_width=beam_width,
        device=device,
    )


def _curves(run: Run) -> tuple[Curve, ...]:
    try:
        return tuple(run_curves(run.folder))
    except CheckpointError:  # weights that were imported have no history
        return ()


def _how_made(evaluation: Evaluation, beam_width: int | None) -> dict[str, str]:
    run = evaluation.run
    decoding = run.recipe.decoding
    features = {f"Features, {stream}": _described(made) for stream, made in run.fingerprint.items()}
    return {
        "Model": f"{run.folder} ({run.recipe.name}, {run.recipe.model.kind}, seed {run.recipe.seed})",
        "Corpus": f"{run.recipe.corpus.kind}, split {evaluation.split}: {len(evaluation.captions)} clips",
        **features,
        "Decoding": f"beam of {beam_width or decoding.beam_width}, at most {decoding.max_words} words",
        "Scores": "the COCO caption scorer's (pycocoevalcap)",
        "Versions": f"stap {version('stap')}, PyTorch {torch.__version__}, Python {platform.python_version()}",
    }


def _described(made: Mapping[str, Any]) -> str:
    """A stream's fingerprint in a line."""
    told = ("kind", "backbone", "detector", "network", "weights_sha256", "frames", "image_size", "grid", "feature_size")
    parts = {name: str(made[name]) for name in told if made.get(name) is not None}
    if "weights_sha256" in parts:
        parts["weights_sha256"] = parts["weights_sha256"][:12]
    return ", ".join(f"{name} {value}" for name, value in parts.items())
