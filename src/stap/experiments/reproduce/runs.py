"""A row and a seed: trained, captioned and scored. A finished one is found, an interrupted one continued."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from stap.captioning.captions import caption_clips
from stap.captioning.model_folder import load_run
from stap.corpora.corpus import SPLITS, Corpus
from stap.errors import CheckpointError, CorpusError
from stap.experiments.evaluate import Evaluation, score_clips
from stap.experiments.facts import Counts, count_facts, share
from stap.experiments.reproduce.attention import effective_numbers
from stap.experiments.reproduce.corpus import clips_digest
from stap.features.streams import FeatureStreams
from stap.files import read_json, write_atomically, write_json
from stap.recipes.files import recipe_to_yaml
from stap.recipes.settings import Recipe
from stap.reports.page import ScoresRow
from stap.scoring.metrics import Scorer
from stap.training.loop import TrainingResult, fit
from stap.training.resume import state_file

__all__ = [
    "CAPTIONS_FILE",
    "OUTCOME_FILE",
    "RECIPE_FILE",
    "REPORT_FILE",
    "Outcome",
    "RowData",
    "evaluate_row",
    "finished",
    "outcome_of",
    "run_seed",
    "train_row",
]

OUTCOME_FILE = "outcome.json"  # written last: with it the run is finished
CAPTIONS_FILE, RECIPE_FILE, REPORT_FILE = "captions.json", "recipe.yaml", "report.html"

Say = Callable[[str], None]


@dataclass(frozen=True)
class RowData:
    """What a row is trained on.   weights: files of the extractors, by section of the recipe, for model folders to carry."""

    corpus: Corpus
    store: FeatureStreams
    weights: Mapping[str, Path]


@dataclass(frozen=True)
class Outcome:
    """The scores of a row and a seed, and what training took.

    scores: fractions by metric, of the test clips.   clips: of each split that were used.   facts: (recalled, in all) by column
    (see FACT_COLUMNS), where the clips come with facts.   attention: effective numbers by column (see ATTENTION_COLUMNS).
    """

    seed: int
    scores: Mapping[str, float]
    clips: Mapping[str, int]
    epochs: int
    best_epoch: int
    parameters: int
    training_seconds: float
    facts: Mapping[str, Counts] = field(default_factory=dict)
    attention: Mapping[str, float | None] = field(default_factory=dict)

    def value(self, column: str) -> float | None:
        """The number in a column of a table; None where there is none."""
        if column in self.facts:
            return share(self.facts[column])
        return self.attention[column] if column in self.attention else self.scores.get(column)


def finished(folder: Path, recipe: Recipe, data: RowData) -> Outcome | None:
    """The outcome in the folder, if it is of these settings, clips and features; otherwise None."""
    try:
        content = read_json(folder / OUTCOME_FILE)
        outcome = Outcome(**content["outcome"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return outcome if content.get("made_with") == _made_with(recipe, data) else None


def run_seed(
    folder: Path,
    recipe: Recipe,
    data: RowData,
    *,
    published: Sequence[ScoresRow] = (),
    device: torch.device,
    say: Say,
) -> Outcome:
    """Train (or continue, or find trained) and score, and write all of it into the folder.

    published: rows for the page of the run.
    Raises StapError: ConfigError if the folder holds a run of other settings or data.
    """
    result = train_row(folder, recipe, data, device=device, say=lambda line: say(f"    {line}"))
    evaluation = evaluate_row(folder, data, device)
    write_json(folder / CAPTIONS_FILE, evaluation.to_json())
    write_atomically(folder / RECIPE_FILE, recipe_to_yaml(recipe).encode())
    _write_page(folder, evaluation, published, device, say)
    outcome = outcome_of(result, evaluation, data, device)
    write_json(folder / OUTCOME_FILE, {"outcome": asdict(outcome), "made_with": _made_with(recipe, data)})
    return outcome


def train_row(folder: Path, recipe: Recipe, data: RowData, *, device: torch.device, say: Say) -> TrainingResult:
    """Train the row in the folder, or continue there after the last whole epoch. Raises StapError as `fit` does."""
    if not data.corpus.split("test"):
        raise CorpusError(f"{data.corpus.name}: no test clip has all features. Nothing can be scored.")
    return fit(
        recipe,
        data.corpus,
        data.store,
        folder,
        weights=data.weights,
        device=device,
        resume=_is_begun(folder),
        on_epoch=lambda epoch: say(str(epoch)),
    )


def evaluate_row(folder: Path, data: RowData, device: torch.device, sharing: Scorer | None = None) -> Evaluation:
    """Captions and scores of the test clips by the model in the folder.   sharing: as of `Scorer`."""
    run, clips = load_run(folder, device), data.corpus.split("test")
    captions = caption_clips(run.model, run.vocabulary, data.store, clips, run.recipe.decoding, device)
    return score_clips(run, "test", clips, captions, sharing)


def outcome_of(result: TrainingResult, evaluation: Evaluation, data: RowData, device: torch.device) -> Outcome:
    """The numbers of a trained and evaluated row."""
    run, clips = evaluation.run, data.corpus.split("test")
    captions = {video_id: found.caption for video_id, found in evaluation.captions.items()}
    return Outcome(
        seed=run.recipe.seed,
        scores=evaluation.scores.corpus,
        clips={split: len(data.corpus.split(split)) for split in SPLITS},
        epochs=len(result.history),
        best_epoch=result.best.epoch,
        parameters=sum(parameter.numel() for parameter in run.model.parameters()),
        training_seconds=sum(summary.seconds for summary in result.history),
        facts=count_facts(clips, captions),
        attention=effective_numbers(run.model, data.store, clips, evaluation.captions, device),
    )


def _is_begun(folder: Path) -> bool:
    """Whether there is a state to continue. A folder that holds something else is refused, not written over."""
    if state_file(folder).exists():
        return True
    if (folder / "model.safetensors").exists():
        raise CheckpointError(
            f"{folder}: holds a model without the state of its training. Move it away, or choose another --out."
        )
    return False


def _write_page(folder: Path, evaluation: Evaluation, published: Sequence[ScoresRow], device: torch.device, say: Say) -> None:
    from stap.reports.evaluation_page import EvaluatedSplit, write_evaluation_page

    evaluated = EvaluatedSplit(evaluation.run, evaluation.split, evaluation.scores, device=device)
    for remark in write_evaluation_page(folder / REPORT_FILE, evaluated, published=published):
        say(f"    {remark}")


def _made_with(recipe: Recipe, data: RowData) -> dict[str, Any]:
    """What an outcome depends on."""
    settings = recipe.without_places()
    del settings["name"], settings["description"]
    return {"recipe": settings, "clips": clips_digest(data.corpus.clips), "features": data.store.digest}
