"""The training loop: epochs, validation, the best weights, early stopping, and exact continuation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from stap.captioning.batches import CaptionedVideos, Group, read_ahead
from stap.captioning.model_folder import model_for, save_description, save_metrics, save_weights
from stap.corpora.corpus import Clip, Corpus
from stap.corpora.loading import load_corpus
from stap.errors import CheckpointError, ConfigError, CorpusError, FeatureError
from stap.features.extractor import build_extractors, weights_files
from stap.features.streams import FeatureStreams, open_streams
from stap.models.batch import CaptionBatch, VideoBatch
from stap.recipes.settings import Recipe
from stap.text.rules import TextRules
from stap.training.epoch import train_epoch
from stap.training.optimizer import build_optimizer
from stap.training.processes import Processes, several_processes
from stap.training.resume import Progress, epoch_seed, load_state, save_state, state_file
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
    recipe: Recipe,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    processes: int = 1,
    resume: bool = False,
    on_epoch: OnEpoch | None = None,
) -> TrainingResult:
    """Train the recipe's model on its corpus and extracted features, and write the model folder `out`.

    processes: how many train together, each with its part of every batch (see `training.processes`).
    resume: continue the run in `out` after its last whole epoch, as if it had never stopped.   on_epoch: told of each epoch.

    Seeds torch's global generators. Raises CorpusError, FeatureError (features missing: `stap extract` makes them),
    CheckpointError (`out` holds a run, or cannot be written), ConfigError (resumed with another recipe; too many processes), and
    StapError when the loss is no longer a number.
    """
    corpus = load_corpus(recipe.corpus)
    extractors = build_extractors(recipe)  # for their fingerprints; no video is read
    store = open_streams(recipe.features, extractors)
    if recipe.corpus.available_only:
        corpus = corpus.only(store, "features in every stream")
    weights = weights_files(extractors)
    return fit(
        recipe, corpus, store, out, weights=weights, device=device, processes=processes, resume=resume, on_epoch=on_epoch
    )


def fit(
    recipe: Recipe,
    corpus: Corpus,
    store: FeatureStreams,
    out: Path,
    *,
    weights: Mapping[str, Path] | None = None,
    device: torch.device | str = "cpu",
    processes: int = 1,
    resume: bool = False,
    on_epoch: OnEpoch | None = None,
) -> TrainingResult:
    """`train` with a corpus and a store at hand. weights: the extractors' own weights files by section, copied into the folder."""
    if not resume and state_file(out).exists():
        raise CheckpointError(f"{out}: holds a training run. Continue it with --resume, or choose another folder.")
    rules = TextRules(recipe.text)
    validation_clips = rules.with_words(corpus.split("validation"))
    validation_clips = choose_clips(validation_clips, recipe.training.validation_clips, recipe.seed)
    store.check_complete([clip.id for clip in [*rules.with_words(corpus.split("train")), *validation_clips]])
    with ExitStack() as stack:
        begun = several_processes(processes, torch.device(device), _follow, recipe, corpus, store, out, resume=resume)
        run = _Run(recipe, corpus, store, out, stack.enter_context(begun))
        progress = run.resumed() if resume else run.begun(weights)
        writer = stack.enter_context(SummaryWriter(str(out / "tensorboard"), purge_step=progress.epoch + 1))
        validator = None
        if validation_clips:
            validator = Validator(recipe, validation_clips, run.videos.vocabulary, rules, store, run.processes.device)
            stack.enter_context(validator)
        while not _is_over(progress, recipe):
            summary, progress = run.epoch(progress, validator)
            _write_curves(writer, summary)
            if on_epoch:
                on_epoch(summary)
    history = tuple(EpochSummary(**record) for record in progress.history)
    best = next(summary for summary in reversed(history) if summary.is_best)
    return TrainingResult(out, best, history, stopped_early=progress.epoch < recipe.training.epochs)


def _follow(processes: Processes, recipe: Recipe, corpus: Corpus, store: FeatureStreams, out: Path, *, resume: bool) -> None:
    """What the other processes do of `fit`."""
    run = _Run(recipe, corpus, store, out, processes)
    progress = run.resumed() if resume else Progress()
    while not _is_over(progress, recipe):
        _, progress = run.epoch(progress, None)


class _Run:
    """The model, its optimiser and what it learns from. Everything that changes is in these two and in a Progress."""

    def __init__(self, recipe: Recipe, corpus: Corpus, store: FeatureStreams, out: Path, processes: Processes) -> None:
        self.recipe, self.store, self.out, self.processes = recipe, store, out, processes
        rules = TextRules(recipe.text)
        clips = rules.with_words(corpus.split("train"))
        if not clips:
            raise CorpusError(f"{corpus.name}: no training clip has a caption. Check corpus.kind and corpus.root.")
        _check_motion(recipe.model.motion_size, store, clips[0])
        self.videos = CaptionedVideos(clips, rules.vocabulary(corpus.clips), store, rules)
        self.data = self.videos.digest | {"features": store.digest}
        _check_parts(recipe, self._pass(1), processes.size)
        torch.manual_seed(epoch_seed(recipe.seed, 0))
        smoothing = recipe.training.label_smoothing
        self.model = model_for(recipe, self.videos.vocabulary, store.fingerprint, smoothing).to(processes.device)
        self.optimizer = build_optimizer(recipe.training.optimizer, self.model)

    def begun(self, weights: Mapping[str, Path] | None) -> Progress:
        """A new run, its folder written."""
        progress = Progress()
        save_description(self.out, self.recipe, self.videos.vocabulary, self.store.fingerprint, weights)
        save_state(self.out, self.recipe, progress, self.model, self.optimizer, self.data)
        return progress

    def resumed(self) -> Progress:
        """The run in the folder."""
        return load_state(self.out, self.recipe, self.model, self.optimizer, self.data)

    def epoch(self, progress: Progress, validator: Validator | None) -> tuple[EpochSummary, Progress]:
        """Train and validate one epoch, and write the outcome. The state is written last: until then the epoch has not been."""
        began = time.perf_counter()
        losses, steps = self._train(progress.epoch + 1, progress.step)
        outcome = None
        if self.processes.is_first:
            outcome = self._judge(progress, validator, losses, steps, began)
            self._save(*outcome)
        return self.processes.of_first(outcome)

    def _judge(
        self, progress: Progress, validator: Validator | None, losses: dict[str, float], steps: int, began: float
    ) -> tuple[EpochSummary, Progress]:
        number, epochs, best_by = progress.epoch + 1, self.recipe.training.epochs, self.recipe.training.best_by
        validation, scores = {}, {}
        if validator and (number % self.recipe.training.validate_every == 0 or number == epochs):
            validation = validator.losses(self.model)
            scores = validator.scores(self.model, validation)
        is_best = not validator or (bool(scores) and (progress.best_score is None or scores[best_by] > progress.best_score))
        seconds, rate = time.perf_counter() - began, float(self.optimizer.param_groups[0]["lr"])
        summary = EpochSummary(number, epochs, seconds, rate, losses, validation, scores, is_best)
        return summary, Progress(
            epoch=number,
            step=progress.step + steps,
            best_score=scores.get(best_by) if is_best else progress.best_score,
            validations_without_gain=0 if is_best else progress.validations_without_gain + bool(scores),
            history=(*progress.history, asdict(summary)),
        )

    def _train(self, number: int, first_step: int) -> tuple[dict[str, float], int]:
        settings, seed = self.recipe.training, self.recipe.seed
        plan = self._plan(number, first_step)
        torch.manual_seed(epoch_seed(seed, number) + self.processes.rank)
        batches = read_ahead(self._batch, [self.processes.part(groups) for groups in plan])
        steps = {"first_step": first_step, "total_steps": len(plan) * settings.epochs}
        return train_epoch(self.model, self.optimizer, batches, settings, **steps, processes=self.processes), len(plan)

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
        return videos.to(self.processes.device), captions.to(self.processes.device)

    def _save(self, summary: EpochSummary, progress: Progress) -> None:
        if summary.is_best:
            save_weights(self.out, self.model)
        best = next((record for record in reversed(progress.history) if record["is_best"]), None)
        save_metrics(self.out, self.recipe, {"best": best, "history": progress.history})
        save_state(self.out, self.recipe, progress, self.model, self.optimizer, self.data)


def _check_parts(recipe: Recipe, batches: Sequence[Sequence[Group]], processes: int) -> None:
    if (smallest := min(map(len, batches))) < processes:
        raise ConfigError(f"{processes} processes: the smallest batch has {smallest} videos, and each process needs one.")
    if processes > 1 and recipe.model.attention_penalty and not recipe.model.penalty_captions:
        raise ConfigError(
            f"{processes} processes: model.attention_penalty is weighed by the number of captions in a batch, and each has a part. "
            f"Say the number: model.penalty_captions={recipe.training.batch_size * recipe.training.captions_per_video}."
        )


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
