"""The training loop: epochs, validation, the best weights, early stopping, and exact continuation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from stap.config import Recipe
from stap.corpora.corpus import Clip, Corpus, load_corpus
from stap.errors import CheckpointError, CorpusError, FeatureError
from stap.features.extractor import build_extractors, weights_files
from stap.features.streams import FeatureStreams, open_streams
from stap.models.batch import CaptionBatch, VideoBatch
from stap.tokenization import TextRules
from stap.training.batches import CaptionedVideos, Group, read_ahead
from stap.training.epoch import train_epoch
from stap.training.optimizer import build_optimizer
from stap.training.resume import Progress, epoch_seed, load_state, save_state, state_file
from stap.training.run_folder import model_for, save_description, save_metrics, save_weights
from stap.training.validation import LOG_LIKELIHOOD, Validator, choose_clips

__all__ = ["EpochSummary", "TrainingResult", "fit", "train"]


@dataclass(frozen=True)
class EpochSummary:
    """One epoch. Empty where not validated: validation, the mean losses by name as in training; and scores, see `Validator.scores`."""

    epoch: int
    epochs: int
    seconds: float
    learning_rate: float
    training: dict[str, float]
    validation: dict[str, float]
    scores: dict[str, float]
    is_best: bool

    def __str__(self) -> str:
        shown = [f"epoch {self.epoch}/{self.epochs}", f"loss {_shown(self.training)}"]
        if self.validation:
            best = " (best)" if self.is_best else ""
            shown += [f"validation {_shown(self.validation)}", _judged(self.scores) + best]
        return "  ".join([*shown, f"{self.seconds:.1f} s"])


@dataclass(frozen=True)
class TrainingResult:
    """best: the epoch whose weights are in the folder, by training.best_by; the last one where there are no validation clips."""

    folder: Path
    best: EpochSummary
    history: tuple[EpochSummary, ...]
    stopped_early: bool

    def __str__(self) -> str:
        early = " (stopped early)" if self.stopped_early else ""
        score = f", validation {_judged(self.best.scores)}" if self.best.scores else ""
        return f"{self.folder}: {len(self.history)} epochs{early}, weights of epoch {self.best.epoch}{score}"


OnEpoch = Callable[[EpochSummary], None]


def train(
    recipe: Recipe, out: Path, *, device: torch.device | str = "cpu", resume: bool = False, on_epoch: OnEpoch | None = None
) -> TrainingResult:
    """Train the recipe's model on its corpus and extracted features, and write the model folder `out`.

    resume: continue the run in `out` after its last whole epoch, as if it had never stopped.   on_epoch: told of each epoch.

    Seeds torch's global generators. Raises CorpusError, FeatureError (features missing: `stap extract` makes them),
    CheckpointError (`out` holds a run, or cannot be written), ConfigError (resumed with another recipe), and StapError when the
    loss is no longer a number.
    """
    corpus = load_corpus(recipe.corpus)
    extractors = build_extractors(recipe)  # for their fingerprints; no video is read
    store = open_streams(recipe.features, extractors)
    weights = weights_files(extractors)
    return fit(recipe, corpus, store, out, weights=weights, device=device, resume=resume, on_epoch=on_epoch)


def fit(
    recipe: Recipe,
    corpus: Corpus,
    store: FeatureStreams,
    out: Path,
    *,
    weights: Mapping[str, Path] | None = None,
    device: torch.device | str = "cpu",
    resume: bool = False,
    on_epoch: OnEpoch | None = None,
) -> TrainingResult:
    """`train` with a corpus and a store at hand. weights: the extractors' own weights files by section, copied into the folder."""
    if not resume and state_file(out).exists():
        raise CheckpointError(f"{out}: holds a training run. Continue it with --resume, or choose another folder.")
    device = torch.device(device)
    rules = TextRules(recipe.text)
    training_clips = rules.with_words(corpus.split("train"))
    validation_clips = rules.with_words(corpus.split("validation"))
    validation_clips = choose_clips(validation_clips, recipe.training.validation_clips, recipe.seed)
    if not training_clips:
        raise CorpusError(f"{corpus.name}: no training clip has a caption. Check corpus.kind and corpus.root.")
    store.check_complete([clip.id for clip in [*training_clips, *validation_clips]])
    _check_motion(recipe.model.motion_size, store, training_clips[0])
    vocabulary = rules.vocabulary(corpus.clips)
    run = _Run(recipe, out, CaptionedVideos(training_clips, vocabulary, store, rules), store, device)
    if resume:
        progress = load_state(out, recipe, run.model, run.optimizer, run.data)
    else:
        progress = Progress()
        save_description(out, recipe, vocabulary, store.fingerprint, weights)
        save_state(out, recipe, progress, run.model, run.optimizer, run.data)
    with ExitStack() as stack:
        writer = stack.enter_context(SummaryWriter(str(out / "tensorboard"), purge_step=progress.epoch + 1))
        validator = Validator(recipe, validation_clips, vocabulary, rules, store, device) if validation_clips else None
        if validator:
            stack.enter_context(validator)
        while not _is_over(progress, recipe):
            summary, progress = run.epoch(progress, validator)
            _write_curves(writer, summary)
            if on_epoch:
                on_epoch(summary)
    history = tuple(EpochSummary(**record) for record in progress.history)
    best = next(summary for summary in reversed(history) if summary.is_best)
    return TrainingResult(out, best, history, stopped_early=progress.epoch < recipe.training.epochs)


class _Run:
    """The model, its optimiser and what it learns from. Everything that changes is in these two and in a Progress."""

    def __init__(self, recipe: Recipe, out: Path, videos: CaptionedVideos, store: FeatureStreams, device: torch.device) -> None:
        self.recipe, self.out, self.videos, self.device = recipe, out, videos, device
        self.data = videos.digest | {"features": store.digest}
        torch.manual_seed(epoch_seed(recipe.seed, 0))
        self.model = model_for(recipe, videos.vocabulary, store.fingerprint, recipe.training.label_smoothing).to(device)
        self.optimizer = build_optimizer(recipe.training.optimizer, self.model)

    def epoch(self, progress: Progress, validator: Validator | None) -> tuple[EpochSummary, Progress]:
        """Train and validate one epoch, and write the outcome. The state is written last: until then the epoch has not been."""
        began = time.perf_counter()
        number, epochs, best_by = progress.epoch + 1, self.recipe.training.epochs, self.recipe.training.best_by
        losses, steps = self._train(number, progress.step)
        validation, scores = {}, {}
        if validator and (number % self.recipe.training.validate_every == 0 or number == epochs):
            validation = validator.losses(self.model)
            scores = validator.scores(self.model, validation)
        is_best = not validator or (bool(scores) and (progress.best_score is None or scores[best_by] > progress.best_score))
        seconds, rate = time.perf_counter() - began, float(self.optimizer.param_groups[0]["lr"])
        summary = EpochSummary(number, epochs, seconds, rate, losses, validation, scores, is_best)
        progress = Progress(
            epoch=number,
            step=progress.step + steps,
            best_score=scores.get(best_by) if is_best else progress.best_score,
            validations_without_gain=0 if is_best else progress.validations_without_gain + bool(scores),
            history=(*progress.history, asdict(summary)),
        )
        self._save(summary, progress)
        return summary, progress

    def _train(self, number: int, first_step: int) -> tuple[dict[str, float], int]:
        settings, seed = self.recipe.training, self.recipe.seed
        plan = self._plan(number, first_step)
        torch.manual_seed(epoch_seed(seed, number))
        steps = {"first_step": first_step, "total_steps": len(plan) * settings.epochs}
        return train_epoch(self.model, self.optimizer, read_ahead(self._batch, plan), settings, **steps), len(plan)

    def _plan(self, number: int, first_step: int) -> list[list[Group]]:
        """The batches of an epoch: one pass over the captions, or `epoch_updates` batches of passes that follow each other."""
        updates = self.recipe.training.epoch_updates
        if updates is None:
            return self._pass(number)
        length = len(self._pass(1))  # of every pass
        plan: list[list[Group]] = []
        while len(plan) < updates:
            passes, within = divmod(first_step + len(plan), length)
            plan += self._pass(passes + 1)[within:][: updates - len(plan)]
        return plan

    def _pass(self, number: int) -> list[list[Group]]:
        """All captions once."""
        settings = self.recipe.training
        seed = (self.recipe.seed, number if settings.reshuffle else 1)
        return self.videos.epoch(settings.batch_size, settings.captions_per_video, seed=seed)

    def _batch(self, groups: Sequence[Group]) -> tuple[VideoBatch, CaptionBatch]:
        videos, captions = self.videos.batch(groups)
        return videos.to(self.device), captions.to(self.device)

    def _save(self, summary: EpochSummary, progress: Progress) -> None:
        if summary.is_best:
            save_weights(self.out, self.model)
        best = next((record for record in reversed(progress.history) if record["is_best"]), None)
        save_metrics(self.out, self.recipe, {"best": best, "history": progress.history})
        save_state(self.out, self.recipe, progress, self.model, self.optimizer, self.data)


def _check_motion(motion_size: int | None, store: FeatureStreams, clip: Clip) -> None:
    streams = store.read(clip.id)
    found = f"a motion stream of {tuple(streams['motion'].shape)}" if "motion" in streams else "no motion stream"
    if motion_size and found != f"a motion stream of {(motion_size,)}":
        raise FeatureError(
            f"{clip.id}: model.motion_size is {motion_size}, but its features have {found}. "
            "Give the recipe a section motion, or leave model.motion_size empty to learn the start state."
        )


def _is_over(progress: Progress, recipe: Recipe) -> bool:
    settings = recipe.training
    return progress.epoch >= settings.epochs or progress.validations_without_gain >= settings.patience


def _write_curves(writer: SummaryWriter, summary: EpochSummary) -> None:
    for group in ("training", "validation", "scores"):
        for name, value in getattr(summary, group).items():
            writer.add_scalar(f"{group}/{name}", value, summary.epoch)
    writer.add_scalar("learning rate", summary.learning_rate, summary.epoch)
    writer.flush()


def _judged(scores: dict[str, float]) -> str:
    name = "CIDEr" if "CIDEr" in scores else LOG_LIKELIHOOD
    return f"{name} {scores[name]:.3f}"


def _shown(losses: dict[str, float]) -> str:
    parts = ", ".join(f"{name} {value:.2f}" for name, value in losses.items() if name != "loss")
    return f"{losses['loss']:.3f} ({parts})" if parts else f"{losses['loss']:.3f}"
