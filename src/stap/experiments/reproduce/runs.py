"""A row and a seed: trained, captioned, scored; found again when it is done, continued when it is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from stap.captioning.captions import caption_clips
from stap.captioning.model_folder import load_run
from stap.corpora.corpus import Clip, Corpus
from stap.errors import CheckpointError, CorpusError
from stap.experiments.evaluate import Evaluation, recall_facts
from stap.experiments.reproduce.corpus import clips_digest
from stap.features.streams import FeatureStreams
from stap.files import write_atomically, write_json
from stap.recipes.files import recipe_to_yaml
from stap.recipes.settings import Recipe
from stap.reports.page import ScoresRow
from stap.scoring.metrics import Scorer
from stap.training.loop import fit
from stap.training.resume import state_file

__all__ = ["CAPTIONS_FILE", "OUTCOME_FILE", "RECIPE_FILE", "REPORT_FILE", "Outcome", "finished", "run_seed"]

OUTCOME_FILE = "outcome.json"  # written last: with it the run is done
CAPTIONS_FILE, RECIPE_FILE, REPORT_FILE = "captions.json", "recipe.yaml", "report.html"


@dataclass(frozen=True)
class Outcome:
    """What became of a row and a seed.

    scores: fractions by metric, of the test clips.   clips: of each split that were used.   facts: recalled and in all, by kind,
    where the clips come with facts.
    """

    seed: int
    scores: Mapping[str, float]
    clips: Mapping[str, int]
    epochs: int
    best_epoch: int
    parameters: int
    training_seconds: float
    facts: Mapping[str, Sequence[int]]


def finished(folder: Path, recipe: Recipe, corpus: Corpus, store: FeatureStreams) -> Outcome | None:
    """The outcome in the folder, if it is of these settings, clips and features; None if there is none, or of others."""
    try:
        content = json.loads((folder / OUTCOME_FILE).read_text(encoding="utf-8"))
        outcome = Outcome(**content["outcome"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return outcome if content.get("made_with") == _made_with(recipe, corpus, store) else None


def run_seed(
    folder: Path,
    recipe: Recipe,
    corpus: Corpus,
    store: FeatureStreams,
    *,
    weights: Mapping[str, Path],
    published: Sequence[ScoresRow] = (),
    device: torch.device,
    say: Callable[[str], None],
) -> Outcome:
    """Train (or continue, or find trained) and score, and write all of it into the folder.

    weights: files of the extractors to carry, by section.   published: rows for the page of the run.
    Raises StapError: ConfigError if the folder holds a run of other settings or data.
    """
    clips = corpus.split("test")
    if not clips:
        raise CorpusError(f"{corpus.name}: no test clip has all features. Nothing can be scored.")
    result = fit(
        recipe,
        corpus,
        store,
        folder,
        weights=weights,
        device=device,
        resume=_begun(folder),
        on_epoch=lambda epoch: say(f"    {epoch}"),
    )
    evaluation = _evaluate(folder, clips, store, device)
    write_json(folder / CAPTIONS_FILE, evaluation.to_json())
    write_atomically(folder / RECIPE_FILE, recipe_to_yaml(recipe).encode())
    _write_page(folder, evaluation, published, device, say)
    outcome = Outcome(
        seed=recipe.seed,
        scores=evaluation.scores.corpus,
        clips={split: len(corpus.split(split)) for split in ("train", "validation", "test")},
        epochs=len(result.history),
        best_epoch=result.best.epoch,
        parameters=sum(parameter.numel() for parameter in evaluation.run.model.parameters()),
        training_seconds=sum(summary.seconds for summary in result.history),
        facts={kind: list(counts) for kind, counts in evaluation.facts.items()},
    )
    write_json(folder / OUTCOME_FILE, {"outcome": asdict(outcome), "made_with": _made_with(recipe, corpus, store)})
    return outcome


def _begun(folder: Path) -> bool:
    """Whether there is a state to continue. A folder that holds something else is refused, not written over."""
    if state_file(folder).exists():
        return True
    if (folder / "model.safetensors").exists():
        raise CheckpointError(
            f"{folder}: holds a model without the state of its training. Move it away, or choose another --out."
        )
    return False


def _evaluate(folder: Path, clips: Sequence[Clip], store: FeatureStreams, device: torch.device) -> Evaluation:
    """As `stap evaluate` does, on these clips and features."""
    run = load_run(folder, device)
    captions = caption_clips(run.model, run.vocabulary, store, clips, run.recipe.decoding, device)
    references = {clip.id: clip.captions for clip in clips}
    predictions = {video_id: found.caption for video_id, found in captions.items()}
    with Scorer(references, remember=True) as scorer:
        scores, words = scorer.score(predictions), scorer.words(predictions)
    return Evaluation(run, "test", captions, references, scores, words, recall_facts(clips, predictions))


def _write_page(
    folder: Path, evaluation: Evaluation, published: Sequence[ScoresRow], device: torch.device, say: Callable[[str], None]
) -> None:
    from stap.reports.evaluation_page import EvaluatedSplit, write_evaluation_page

    evaluated = EvaluatedSplit(evaluation.run, evaluation.split, evaluation.scores, device=device)
    for remark in write_evaluation_page(folder / REPORT_FILE, evaluated, published=published):
        say(f"    {remark}")


def _made_with(recipe: Recipe, corpus: Corpus, store: FeatureStreams) -> dict[str, Any]:
    """What an outcome depends on."""
    settings = recipe.without_places()
    del settings["name"], settings["description"]
    return {"recipe": settings, "clips": clips_digest(corpus.clips), "features": store.digest}
