"""Training, from the whole to one step.

`fit` is a training: epochs until the last one, or until validation has stopped improving. `Training.epoch` is an epoch: updates,
validation, and everything written to the folder. `update` is a step. `Validator` measures a model on the validation clips.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from stap.captioning.batches import read_ahead
from stap.captioning.captions import caption_clips
from stap.captioning.model_folder import model_for, save_description, save_metrics, save_weights
from stap.corpora.corpus import Corpus
from stap.corpora.loading import load_corpus
from stap.errors import CheckpointError
from stap.features.extractor import build_extractors, weights_files
from stap.features.streams import FeatureStreams, open_streams
from stap.models.caption_model import CaptionModel, Losses
from stap.recipes.settings import Recipe, TrainingSettings
from stap.scoring.metrics import Scorer
from stap.training.batches import Batch, CaptionedVideos, Group, choose_clips, tokenized_corpus
from stap.training.checks import check_motion, check_numbers, check_parts
from stap.training.optimizer import add_l2, build_optimizer, set_learning_rates
from stap.training.processes import ALONE, Processes, joined
from stap.training.resume import Progress, epoch_seed, load_state, save_state, state_file
from stap.training.summary import LOG_LIKELIHOOD, EpochSummary, TrainingResult, write_curves

__all__ = ["EpochSummary", "OnEpoch", "TrainingResult", "fit", "train", "update"]

STEPS_BETWEEN_CHECKS = 50  # of the losses for NaN; each check waits for the GPU
METRICS = ("bleu", "rouge", "cider")  # METEOR takes longer than the rest together

OnEpoch = Callable[[EpochSummary], None]


def train(
    recipe: Recipe,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
    on_epoch: OnEpoch | None = None,
) -> TrainingResult:
    """Train the recipe's model on its corpus and extracted features, and write the model folder `out`. See `fit`."""
    corpus = load_corpus(recipe.corpus)
    extractors = build_extractors(recipe)  # for their fingerprints; no video is read
    store = open_streams(recipe.features, extractors)
    if recipe.corpus.available_only:
        corpus = corpus.only(store, "features in every stream")
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
    """Train the recipe's model on a corpus and its features, and write the model folder `out`.

    weights: files of the extractors' own weights, by the recipe's section, to copy into the folder.
    resume: continue the run in `out` after its last whole epoch, as if it had never stopped.   on_epoch: called after each epoch.

    In processes that torchrun or `processes.launch` started, all train one model; the first one writes and calls on_epoch.
    Seeds torch's global generators. Raises CorpusError, FeatureError (features are missing: run `stap extract`),
    CheckpointError (`out` holds a run, or cannot be written), ConfigError (resumed with another recipe; too many processes), and
    StapError when the loss is no longer a number.
    """
    with joined(torch.device(device)) as processes, ExitStack() as stack:
        if processes.is_first and not resume and state_file(out).exists():
            raise CheckpointError(f"{out}: holds a training run. Continue it with --resume, or choose another folder.")
        clips, vocabulary = tokenized_corpus(corpus, recipe.text)
        videos = CaptionedVideos([one for one in clips if one.clip.split == "train"], vocabulary, store)
        validation_clips = [one for one in clips if one.clip.split == "validation"]
        chosen = choose_clips(validation_clips, recipe.training.validation_clips, recipe.seed)
        validation = CaptionedVideos(chosen, vocabulary, store)
        store.check_complete([clip.id for clip in [*videos.clips, *validation.clips]])
        check_motion(recipe.model.motion_size, store, videos.clips[0].id)
        training = Training(recipe, videos, store, out, processes)
        progress = training.resumed() if resume else training.begun(weights)
        validator = writer = None
        if processes.is_first:
            writer = stack.enter_context(SummaryWriter(str(out / "tensorboard"), purge_step=progress.epoch + 1))
            validator = stack.enter_context(Validator(recipe, validation, store, processes.device)) if len(validation) else None
        while progress.epoch < recipe.training.epochs and progress.validations_without_gain < recipe.training.patience:
            summary, progress = training.epoch(progress, validator)
            if writer:
                write_curves(writer, summary)
            if on_epoch and processes.is_first:
                on_epoch(summary)
    history = tuple(EpochSummary(**record) for record in progress.history)
    best = next(summary for summary in reversed(history) if summary.is_best)
    return TrainingResult(out, best, history, stopped_early=progress.epoch < recipe.training.epochs)


def update(
    model: CaptionModel,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    settings: TrainingSettings,
    processes: Processes = ALONE,
) -> dict[str, Tensor]:
    """One step: move the weights by the gradient of the loss of a batch, which is on the model's device.

    processes: each brings its part of the batch.
    Returns scalars without a gradient: the 'norm' of the gradient before clipping, the 'loss', and its parts by name. With
    settings.l2, 'loss' includes that penalty, and 'l2' is the sum of squares.
    """
    losses = _loss(model, batch, settings)
    optimizer.zero_grad(set_to_none=True)
    processes.backward(losses.total, len(batch[1].words), model.parameters())
    total, parts = losses.total.detach(), losses.parts
    if settings.l2:
        squares = add_l2(model.parameters(), settings.l2)
        total, parts = total + settings.l2 * squares, parts | {"l2": squares}
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
    optimizer.step()
    return {"norm": norm, "loss": total} | {name: part.detach() for name, part in parts.items()}


def _loss(model: CaptionModel, batch: Batch, settings: TrainingSettings) -> Losses:
    videos, captions = batch
    device = videos.video_numbers.device.type
    with torch.autocast(device, torch.bfloat16, enabled=settings.precision == "bfloat16"):
        return model.loss(videos, captions)


class Training:
    """A model, its optimiser and its training data. All that changes from epoch to epoch is in these two and in a Progress."""

    def __init__(self, recipe: Recipe, videos: CaptionedVideos, store: FeatureStreams, out: Path, processes: Processes) -> None:
        self.recipe, self.videos, self.store, self.out, self.processes = recipe, videos, store, out, processes
        self.data = videos.digest | {"features": store.digest}
        check_parts(recipe, videos.epoch(recipe.training, recipe.seed, 1, 0), processes.size)
        torch.manual_seed(epoch_seed(recipe.seed, 0))
        smoothing = recipe.training.label_smoothing
        self.model = model_for(recipe, videos.vocabulary, store.specs, smoothing).to(processes.device)
        self.optimizer = build_optimizer(recipe.training.optimizer, self.model)

    def begun(self, weights: Mapping[str, Path] | None) -> Progress:
        """A new run: its folder is written, and nothing is done yet."""
        progress = Progress()
        if self.processes.is_first:
            save_description(self.out, self.recipe, self.videos.vocabulary, self.store.specs, weights)
            save_state(self.out, self.recipe, progress, self.model, self.optimizer, self.data)
        return progress

    def resumed(self) -> Progress:
        """The run in the folder, as its last whole epoch left it. Raises CheckpointError or ConfigError."""
        return load_state(self.out, self.recipe, self.model, self.optimizer, self.data)

    def epoch(self, progress: Progress, validator: Validator | None) -> tuple[EpochSummary, Progress]:
        """Train and validate one epoch and write the outcome. The state is written last: until then the epoch does not count."""
        began = time.perf_counter()
        number, settings = progress.epoch + 1, self.recipe.training
        plan = self.videos.epoch(settings, self.recipe.seed, number, progress.step)
        losses = self._updates(plan, number, progress.step)
        outcome = None
        if self.processes.is_first:
            validation, scores = {}, {}
            if validator and (number % settings.validate_every == 0 or number == settings.epochs):
                validation = validator.losses(self.model)
                scores = validator.scores(self.model, validation)
            score = scores.get(settings.best_by)
            is_best = validator is None or (score is not None and (progress.best_score is None or score > progress.best_score))
            seconds, rate = time.perf_counter() - began, float(self.optimizer.param_groups[0]["lr"])
            summary = EpochSummary(number, settings.epochs, seconds, rate, losses, validation, scores, is_best)
            outcome = summary, progress.after(asdict(summary), updates=len(plan), score=score)
            self._save(*outcome)
        return self.processes.broadcast(outcome)

    def _updates(self, plan: Sequence[Sequence[Group]], number: int, first_step: int) -> dict[str, float]:
        """One update for each batch of the plan; the mean of each loss over the batches."""
        settings, processes = self.recipe.training, self.processes
        torch.manual_seed(epoch_seed(self.recipe.seed, number) + processes.rank)
        self.model.train()
        names: list[str] = []
        rows: list[Tensor] = []
        counts: list[int] = []
        batches = read_ahead(self._batch, [processes.part(groups) for groups in plan])
        for step, batch in enumerate(batches, start=first_step):
            set_learning_rates(self.optimizer, settings.optimizer, step, len(plan) * settings.epochs)
            measured = update(self.model, self.optimizer, batch, settings, processes)
            names = list(measured)
            rows.append(torch.stack(list(measured.values())).float())
            counts.append(len(batch[1].words))
            if len(rows) % STEPS_BETWEEN_CHECKS == 0:
                recent = torch.stack(rows[-STEPS_BETWEEN_CHECKS:])
                check_numbers(recent, step + 1 - STEPS_BETWEEN_CHECKS, settings.optimizer.learning_rate)
        table = torch.stack(rows)  # (updates, the norm and the losses)
        check_numbers(table, first_step, settings.optimizer.learning_rate)
        means = processes.mean(table, counts).mean(dim=0)
        return dict(zip(names[1:], means[1:].tolist(), strict=True))

    def _batch(self, groups: Sequence[Group]) -> Batch:
        videos, captions = self.videos.batch(groups)
        return videos.to(self.processes.device), captions.to(self.processes.device)

    def _save(self, summary: EpochSummary, progress: Progress) -> None:
        if summary.is_best:
            save_weights(self.out, self.model)
        best = next((record for record in reversed(progress.history) if record["is_best"]), None)
        save_metrics(self.out, self.recipe, {"best": best, "history": progress.history})
        save_state(self.out, self.recipe, progress, self.model, self.optimizer, self.data)


class Validator:
    """Measures a model on the validation clips. Captions are greedy, for speed, whatever the recipe's beam width."""

    def __init__(self, recipe: Recipe, videos: CaptionedVideos, store: FeatureStreams, device: torch.device) -> None:
        self.settings, self.seed, self.videos, self.store, self.device = recipe.training, recipe.seed, videos, store, device
        self.decoding = recipe.decoding.model_copy(update={"beam_width": 1})
        references = {clip.id: clip.captions for clip in videos.clips}
        self.scorer = Scorer(references, METRICS) if recipe.training.best_by == "CIDEr" else None

    @torch.inference_mode()
    def losses(self, model: CaptionModel) -> dict[str, float]:
        """The loss and its parts with every caption once, without dropout: means over the captions. Leaves the model in eval mode.

        Where a video's captions are no multiple of captions_per_video, some of them count twice, as in training.
        """
        model.eval()
        names: list[str] = []
        rows: list[Tensor] = []
        counts: list[int] = []
        for videos, captions in read_ahead(self.videos.batch, self.videos.one_pass(self.settings, [self.seed])):
            losses = _loss(model, (videos.to(self.device), captions.to(self.device)), self.settings)
            names = ["loss", *losses.parts]
            rows.append(torch.stack([losses.total, *losses.parts.values()]).float())
            counts.append(len(captions.words))
        table = torch.stack(rows)
        share = table.new_tensor(counts)
        return dict(zip(names, (share @ table / share.sum()).tolist(), strict=True))

    def scores(self, model: CaptionModel, losses: Mapping[str, float]) -> dict[str, float]:
        """The scores that models are compared by, higher is better: BLEU, ROUGE-L and CIDEr of the model's captions.

        With training.best_by log-likelihood, that of the validation captions, summed over a caption's words and averaged over
        captions, from the losses. No caption is then decoded, and no scorer (Java) started.
        """
        if self.scorer is None:
            return {LOG_LIKELIHOOD: -losses["caption"]}
        captions = caption_clips(model, self.videos.vocabulary, self.store, self.videos.clips, self.decoding, self.device)
        return self.scorer.score({video_id: found.caption for video_id, found in captions.items()}).corpus

    def __enter__(self) -> Validator:
        """The validator itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the scorer."""
        if self.scorer is not None:
            self.scorer.close()
