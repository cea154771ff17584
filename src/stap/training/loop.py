"""Training, from the whole to one step.

`fit` is a training: epochs until the last one, or until validation has stopped improving. `Training.epoch` is an epoch: updates,
validation, and everything written to the folder. `update` (step.py) is a step. `Validator` measures a model on the validation clips.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor
from torch.profiler import record_function
from torch.utils.tensorboard import SummaryWriter

from stap.captioning.batches import read_ahead
from stap.captioning.captions import caption_clips
from stap.captioning.model_folder import model_for, save_description, save_metrics, save_weights
from stap.corpora.corpus import Corpus
from stap.corpora.loading import load_corpus
from stap.errors import CheckpointError, StapError
from stap.features.device import empty_cache, is_out_of_memory
from stap.features.extractor import build_extractors, weights_files
from stap.features.streams import FeatureStreams, open_streams
from stap.files import folder_lock
from stap.models.caption_model import CaptionModel
from stap.models.output_bias import start_at_frequencies, word_counts
from stap.recipes.settings import Recipe
from stap.scoring.metrics import Scorer
from stap.training.batches import Batch, CaptionedVideos, Group, choose_clips, tokenized_corpus
from stap.training.checks import check_motion, check_objective, check_parts
from stap.training.choice import constant_score, is_best
from stap.training.initial_weights import load_initial_weights
from stap.training.optimizer import build_optimizer, set_learning_rates
from stap.training.processes import Processes, joined
from stap.training.resume import Progress, epoch_seed, load_state, save_state, state_file
from stap.training.self_critical import Reward, SelfCritical
from stap.training.skipped import Skipped
from stap.training.step import batch_loss, is_mean_over_videos, update
from stap.training.summary import LOG_LIKELIHOOD, EpochSummary, TrainingResult, write_curves

__all__ = ["EpochSummary", "OnEpoch", "TrainingResult", "fit", "train", "update"]

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
    CheckpointError (`out` holds a run, is being written by another process, or cannot be written), ConfigError (resumed with another recipe; too many processes), and
    StapError when the loss is no longer a number, in validation or in several updates in a row.
    """
    check_objective(recipe.training)
    with joined(torch.device(device)) as processes, ExitStack() as stack:
        if processes.is_first:
            stack.enter_context(folder_lock(out, CheckpointError))
            if not resume and state_file(out).exists():
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
    constant = constant_score(progress.history, recipe.training.best_by)
    return TrainingResult(out, best, history, progress.epoch < recipe.training.epochs, is_chosen_by_loss=constant is not None)


class Training:
    """A model, its optimiser and its training data. All that changes from epoch to epoch is in these two and in a Progress."""

    def __init__(self, recipe: Recipe, videos: CaptionedVideos, store: FeatureStreams, out: Path, processes: Processes) -> None:
        self.recipe, self.videos, self.store, self.out, self.processes = recipe, videos, store, out, processes
        self.data = videos.digest | {"features": store.digest}
        check_parts(recipe, videos.epoch(recipe.training, recipe.seed, 1, 0), processes.size)
        torch.manual_seed(epoch_seed(recipe.seed, 0))
        smoothing = recipe.training.label_smoothing
        self.model = model_for(recipe, videos.vocabulary, store.specs, smoothing).to(processes.device)
        self._begin_weights()
        self.optimizer_settings = recipe.training.optimizer_of_objective
        self.optimizer = build_optimizer(self.optimizer_settings, self.model)
        self.objective: SelfCritical | None = None
        if recipe.training.objective == "cider":
            self.objective = SelfCritical(
                Reward(videos), samples=recipe.training.cider.samples, max_words=recipe.decoding.max_words
            )
        self.parts = 1  # that a batch is computed in; more after memory ran out
        self.can_be_split = self.objective is not None or is_mean_over_videos(recipe.model)
        section = "training.cider.optimizer" if self.objective else "training.optimizer"
        rate = f"{section}.learning_rate={self.optimizer_settings.learning_rate}"
        self.skipped = Skipped(out if processes.is_first else None, recipe.seed, rate)

    def _begin_weights(self) -> None:
        """Those of another run, or fresh ones, whose output bias may know the words' frequencies."""
        recipe, videos = self.recipe, self.videos
        if recipe.training.initial_weights is not None:
            given = recipe.training.initial_weights
            self.data["initial_weights"] = load_initial_weights(self.model, given, videos.vocabulary, self.store.specs)
        elif recipe.model.output_bias == "frequency":
            assert self.model.output_bias is not None
            captions = (caption for of_video in videos.captions for caption in of_video)
            start_at_frequencies(self.model.output_bias, word_counts(captions, len(videos.vocabulary)))

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
        left_out, parts = len(self.skipped.batches), self.parts
        losses = self._updates(plan, number, progress.step)
        left_out = len(self.skipped.batches) - left_out
        remarks = (
            []
            if self.parts == parts
            else [f"memory ran out: batches are computed in {self.parts} parts, with the same gradient"]
        )
        outcome = None
        if self.processes.is_first:
            validation, scores = {}, {}
            if validator and (number % settings.validate_every == 0 or number == settings.epochs):
                with record_function("validation"):
                    validation = validator.losses(self.model)
                    scores = validator.scores(self.model, validation)
                remarks += validator.remarks
            score, name = scores.get(settings.best_by), settings.best_by
            best = validator is None or (score is not None and is_best(score, validation["loss"], name, progress.history))
            if scores and (same := constant_score([*progress.history, {"scores": scores}], name)) is not None:
                remarks.append(f"{name} was {same:.3f} in every validation: the validation loss chooses the weights")
            seconds, rate = time.perf_counter() - began, float(self.optimizer.param_groups[0]["lr"])
            summary = EpochSummary(
                *(number, settings.epochs, seconds, rate, losses, validation, scores, best), left_out, "; ".join(remarks)
            )
            outcome = summary, progress.after(asdict(summary), updates=len(plan), score=score)
            self._save(*outcome)
        return self.processes.broadcast(outcome)

    def _updates(self, plan: Sequence[Sequence[Group]], number: int, first_step: int) -> dict[str, float]:
        """One update for each batch of the plan; the mean of each loss over the batches whose step was made."""
        settings, processes = self.recipe.training, self.processes
        torch.manual_seed(epoch_seed(self.recipe.seed, number) + processes.rank)
        self.model.train()
        names: list[str] = []
        rows: list[Tensor] = []
        counts: list[int] = []
        batches = read_ahead(self.videos.batch, [processes.part(groups) for groups in plan])
        for step, (videos, captions) in enumerate(batches, start=first_step):
            batch = videos.to(processes.device), captions.to(processes.device)
            set_learning_rates(self.optimizer, self.optimizer_settings, step, len(plan) * settings.epochs)
            measured = self._update(batch)
            names, row = list(measured), torch.stack(list(measured.values())).float()
            if row[0].isnan():
                self._skip(step + 1, number, plan[step - first_step], row[:2].tolist())
                continue
            self.skipped.end_row()
            rows.append(row)
            counts.append(len(batch[1].words))
        if not rows:
            raise StapError(f"epoch {number}: no update had a finite loss. Check the features, or lower the learning rate.")
        means = processes.mean(torch.stack(rows), counts).mean(dim=0)
        return dict(zip(names[1:], means[1:].tolist(), strict=True))

    def _update(self, batch: Batch) -> dict[str, Tensor]:
        """A step, in more parts from the time when the memory does not hold the batch in fewer."""
        settings = self.recipe.training
        while True:
            try:
                return update(self.model, self.optimizer, batch, settings, self.processes, self.parts, self.objective)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                videos = batch[0].size
                if self.processes.size > 1 or self.parts >= videos or not self.can_be_split:
                    raise StapError(
                        f"the memory of {self.processes.device} does not hold {videos} videos with their captions. Lower "
                        f"training.batch_size (now {settings.batch_size}); the state of the last whole epoch is kept."
                    ) from error
                self.parts = min(2 * self.parts, videos)
            empty_cache()  # outside of the block: the error holds on to what was computed

    def _skip(self, update: int, epoch: int, groups: Sequence[Group], norm_and_loss: Sequence[float]) -> None:
        captions = self.videos.captions
        clips = [
            {
                "id": self.videos.clips[group.video].id,
                "captions": [" ".join(self.videos.vocabulary.decode(captions[group.video][one])) for one in group.captions],
            }
            for group in groups
        ]
        self.skipped.add(update, norm_and_loss, epoch=epoch, torch_seed=epoch_seed(self.recipe.seed, epoch), clips=clips)

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
        self.remarks: list[str] = []  # what the last scores show besides their values
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
        plan = self.videos.one_pass(self.settings, [self.seed])
        for groups, batch in zip(plan, read_ahead(self.videos.batch, plan), strict=True):
            losses = self._losses(model, batch)
            if not all(value.isfinite() for value in losses.values()):
                self._blame(model, groups)
            names = list(losses)
            rows.append(torch.stack(list(losses.values())).float())
            counts.append(len(batch[1].words))
        table = torch.stack(rows)
        share = table.new_tensor(counts)
        return dict(zip(names, (share @ table / share.sum()).tolist(), strict=True))

    def _losses(self, model: CaptionModel, batch: Batch) -> dict[str, Tensor]:
        videos, captions = batch
        losses = batch_loss(model, (videos.to(self.device), captions.to(self.device)), self.settings)
        return {"loss": losses.total} | losses.parts

    def _blame(self, model: CaptionModel, groups: Sequence[Group]) -> NoReturn:
        """Raises StapError that names the clips whose own loss is not a finite number; all of the batch if none is."""
        found = [group for group in groups if not self._losses(model, self.videos.batch([group]))["loss"].isfinite()]
        ids = list(dict.fromkeys(self.videos.clips[group.video].id for group in found or groups))
        shown = ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
        raise StapError(
            f"validation clip {shown}: the loss is not a finite number, and no epoch could be chosen by it. Check the features of the clip; "
            "where many are named, the training has diverged: lower training.optimizer.learning_rate. "
            "The state of the last whole epoch is kept."
        )

    def scores(self, model: CaptionModel, losses: Mapping[str, float]) -> dict[str, float]:
        """The scores that models are compared by, higher is better: BLEU, ROUGE-L and CIDEr of the model's captions.

        With training.best_by log-likelihood, that of the validation captions, summed over a caption's words and averaged over
        captions, from the losses. No caption is then decoded, and no scorer (Java) started.
        """
        self.remarks = []
        if self.scorer is None:
            return {LOG_LIKELIHOOD: -losses["caption"]}
        captions = caption_clips(model, self.videos.vocabulary, self.store, self.videos.clips, self.decoding, self.device)
        said = {found.caption for found in captions.values()}
        if len(said) == 1 and len(captions) > 1:
            self.remarks = [f"all {len(captions)} validation captions are the same: {said.pop()!r}"]
        scores = self.scorer.score({video_id: found.caption for video_id, found in captions.items()}).corpus
        if wrong := [name for name, score in scores.items() if not math.isfinite(score)]:
            raise StapError(f"validation: {', '.join(wrong)} of {len(captions)} captions is not a finite number.")
        return scores

    def __enter__(self) -> Validator:
        """The validator itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the scorer."""
        if self.scorer is not None:
            self.scorer.close()
