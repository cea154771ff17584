"""Frame-sentence matching: how the paper trained its ResNet-152.

An image encoder (any timm backbone) and a recurrent sentence encoder learn to place a frame near the sentences of its video
and away from all others, with the hardest-negative ranking loss of VSE++ (Faghri et al. 2018). The backbone is then frozen, and
its last map gives the grid features of captioning (L-STAP paper, section 4.1).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stap.captioning.batches import pad_words
from stap.captioning.model_folder import write_tensors
from stap.corpora.corpus import Clip, Corpus
from stap.corpora.loading import load_corpus_with_files
from stap.errors import CheckpointError, ConfigError, CorpusError, StapError
from stap.features.backbone import last_map
from stap.features.grid import GridExtractor, PreparedVideo
from stap.files import folder_lock, write_json
from stap.models.matching import Negatives, SentenceEncoder, cosine_similarity, matching_loss
from stap.recipes.settings import PretrainingSettings, Recipe
from stap.text.rules import TextRules, TokenizedClip
from stap.text.special_ids import PAD
from stap.training.batches import choose_clips
from stap.training.optimizer import build_optimizer, set_learning_rates
from stap.training.pretraining.captioned_frames import CaptionedFrames
from stap.training.pretraining.captioned_images import CaptionedImages
from stap.training.processes import Processes, joined
from stap.training.resume import Progress, epoch_seed, load_state, save_state, state_file
from stap.training.skipped import Skipped

__all__ = ["FrameSentenceModel", "PretrainingResult", "PretrainingSummary", "pretrain", "recall_at"]

RANKS = (1, 5, 10)
BACKBONE_FILE = "backbone.safetensors"
ENCODED_AT_ONCE = 64


class FrameSentenceModel(nn.Module):
    """Two encoders into one space (Faghri et al. 2018, "Visual-semantic embedding"). The frame's is its pooled grid, projected."""

    def __init__(self, extractor: GridExtractor, vocabulary_size: int, settings: PretrainingSettings) -> None:
        super().__init__()
        self.backbone = extractor.network
        self.layout = extractor.layout
        self.frame_pooling = settings.frame_pooling
        self.projection = nn.Linear(extractor.feature_size, settings.joint_size)
        self.embedding = nn.Embedding(vocabulary_size, settings.embedding_size)
        self.sentence_encoder = SentenceEncoder(settings.embedding_size, settings.joint_size, settings.forget_bias)

    def embed_frames(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) normalised images -> (N, J)."""
        grid = self.layout.grid(last_map(self.backbone, images))  # (N, R, D)
        embedded: Tensor = self.projection(grid.mean(dim=1) if self.frame_pooling == "mean" else grid.amax(dim=1))
        return embedded

    def embed_sentences(self, words: Tensor) -> Tensor:
        """(N, L) word ids, PAD after the end -> (N, J)."""
        embedded: Tensor = self.sentence_encoder(self.embedding(words), words == PAD)
        return embedded


@dataclass(frozen=True)
class PretrainingSummary:
    """One epoch.

    recall: of the validation split by name, 'sentence->frame R@1' ..., as fractions; empty without such a split.
    skipped: updates that were left out because their loss or gradient was not a finite number.
    """

    epoch: int
    epochs: int
    seconds: float
    loss: float
    recall: dict[str, float]
    skipped: int = 0

    def __str__(self) -> str:
        shown = "  ".join(
            f"{name} {100 * value:.1f} %" for name, value in self.recall.items() if name.endswith(("R@1", "R@10"))
        )
        skipped = f"updates skipped: {self.skipped}, whose loss was not a finite number" if self.skipped else ""
        parts = f"epoch {self.epoch}/{self.epochs}", f"ranking loss {self.loss:.3f}", shown, f"{self.seconds:.1f} s", skipped
        return "  ".join(filter(None, parts))


@dataclass(frozen=True)
class PretrainingResult:
    """weights: the trained backbone, for features.weights.   left_out: clips without a usable video or caption, (id, reason).

    videos: what was decoded for the training, by file: an extractor that samples in the same way need not decode it again.
    """

    weights: Path
    history: tuple[PretrainingSummary, ...]
    left_out: tuple[tuple[str, str], ...]
    videos: Mapping[Path, PreparedVideo] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return f"{self.weights}: backbone after {len(self.history)} epochs"


def pretrain(
    recipe: Recipe,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
    on_epoch: Callable[[PretrainingSummary], None] | None = None,
) -> PretrainingResult:
    """Train the recipe's backbone on its corpus by frame-sentence matching, and write it to `out`/backbone.safetensors.

    `out` also gets config.json and metrics.json. resume: continue after the last whole epoch, exactly.   on_epoch: called after
    each epoch. In processes that torchrun or `processes.launch` started, each has its part of the clips, and of every batch; the
    first one validates and writes.
    Seeds torch's global generators. A clip that cannot be decoded is left out and named in the result.
    Raises CorpusError (no usable clips), CheckpointError (`out` holds such a run, or cannot be written), ConfigError, and
    StapError if the loss is no number in several updates in a row.
    """
    _check(recipe)
    corpus = load_corpus_with_files(recipe.corpus)
    with joined(torch.device(device)) as processes, ExitStack() as stack:
        if processes.is_first:
            stack.enter_context(folder_lock(out, CheckpointError))
            if not resume and state_file(out).exists():
                raise CheckpointError(f"{out}: holds a pretraining run. Continue it with --resume, or choose another folder.")
        pretraining = _Pretraining(recipe, corpus, out, processes)
        progress = pretraining.resumed() if resume else pretraining.begun()
        while progress.epoch < recipe.pretraining.epochs:
            progress = pretraining.epoch(progress)
            if on_epoch and processes.is_first:
                on_epoch(PretrainingSummary(**progress.history[-1]))
        if processes.is_first:
            _save(out, recipe, pretraining.model, progress)
    history = tuple(PretrainingSummary(**record) for record in progress.history)
    return PretrainingResult(out / BACKBONE_FILE, history, pretraining.left_out, pretraining.videos)


def _check(recipe: Recipe) -> None:
    """Raises ConfigError for settings that do not go together."""
    if recipe.pretraining.random_crops and recipe.corpus.kind != "coco":
        raise ConfigError(
            "pretraining.random_crops: frames of videos are kept as centre crops; set it to false, or corpus.kind to coco."
        )


class _Pretraining:
    """The model, its optimiser and this process's part of the clips.

    left_out: clips without a usable video or caption, of all processes and then of validation, (id, reason).
    """

    def __init__(self, recipe: Recipe, corpus: Corpus, out: Path, processes: Processes) -> None:
        settings = recipe.pretraining
        self.recipe, self.settings, self.out, self.processes = recipe, settings, out, processes
        rules = TextRules(recipe.text)
        clips = rules.tokenized([clip for clip in corpus.clips if clip.split != "test" or recipe.text.vocabulary_from == "all"])
        self.vocabulary = rules.vocabulary(clips)
        torch.manual_seed(epoch_seed(recipe.seed, 0))
        features = recipe.features.model_copy(update={"weights": settings.initial_weights, "frames": settings.frames_per_video})
        self.extractor = GridExtractor(features, processes.device)
        # Images are decoded all the time, in threads.
        self.extractor.limits = (
            recipe.corpus.limits if recipe.corpus.kind == "coco" else recipe.corpus.limits.for_files(len(clips))
        )
        self.model = FrameSentenceModel(self.extractor, len(self.vocabulary), settings).to(processes.device)
        rate = f"pretraining.optimizer.learning_rate={settings.optimizer.learning_rate}"
        self.skipped = Skipped(out if processes.is_first else None, recipe.seed, rate)
        self.optimizer, self.digest = build_optimizer(settings.optimizer, self.model), _digest(corpus)
        train = processes.part([one for one in clips if one.clip.split == "train"])
        self.data = self._read(train, crops=settings.random_crops)
        found = processes.all_gather((len(self.data), self.data.left_out))
        counts = [count for count, _ in found]
        self.left_out = tuple(clip for _, left_out in found for clip in left_out)
        _check_usable(corpus.name, counts, self.left_out)
        # As many batches for each, which may hold a few clips more or fewer.
        self.batches = max(1, sum(counts) // settings.batch_size)
        if min(counts) < self.batches:
            raise ConfigError(f"{processes.size} processes: one has {min(counts)} clips for {self.batches} batches. Use fewer.")
        if processes.is_first:
            validation = [one for one in clips if one.clip.split == "validation"]
            self.validation = self._read(choose_clips(validation, recipe.training.validation_clips, recipe.seed), crops=False)
            self.left_out += self.validation.left_out

    @property
    def videos(self) -> dict[Path, PreparedVideo]:
        """What was decoded of this process's clips, by file."""
        read = [self.data, self.validation] if self.processes.is_first else [self.data]
        return {path: video for part in read if isinstance(part, CaptionedFrames) for path, video in part.videos.items()}

    def _read(self, clips: Sequence[TokenizedClip[Clip]], *, crops: bool) -> CaptionedFrames | CaptionedImages:
        """Images are decoded whenever they are shown, frames of videos kept in memory."""
        if self.recipe.corpus.kind == "coco":
            return CaptionedImages.read(clips, self.extractor, self.vocabulary, crops=crops)
        return CaptionedFrames.read(clips, self.extractor, self.vocabulary)

    def begun(self) -> Progress:
        """A new run; its state is written, and nothing is done yet."""
        progress = Progress()
        self._save_state(progress)
        return progress

    def resumed(self) -> Progress:
        """The run in the folder, as its last whole epoch left it. Raises CheckpointError or ConfigError."""
        return load_state(self.out, self.recipe, self.model, self.optimizer, self.digest)

    def _save_state(self, progress: Progress) -> None:
        if self.processes.is_first:
            save_state(self.out, self.recipe, progress, self.model, self.optimizer, self.digest)

    def epoch(self, progress: Progress) -> Progress:
        """Train and validate one epoch, and write the state."""
        began, number = time.perf_counter(), progress.epoch + 1
        before = len(self.skipped.batches)
        loss = self._updates(number)
        outcome = None
        if self.processes.is_first:
            recall = _validate(self.model, self.validation, self.extractor) if len(self.validation) else {}
            summary = PretrainingSummary(
                number, self.settings.epochs, time.perf_counter() - began, loss, recall, len(self.skipped.batches) - before
            )
            outcome = Progress(epoch=number, history=(*progress.history, asdict(summary)))
            self._save_state(outcome)
        return self.processes.broadcast(outcome)

    def _updates(self, epoch: int) -> float:
        """One update for each batch of the epoch; the mean loss."""
        settings, model = self.settings, self.model
        torch.manual_seed(epoch_seed(self.recipe.seed, epoch) + self.processes.rank)
        model.train()
        is_frozen = epoch <= settings.frozen_epochs
        model.backbone.requires_grad_(not is_frozen).train(not is_frozen)
        factor = 0.1 if settings.rate_falls_after and epoch > settings.rate_falls_after else 1.0
        negatives: Negatives = "hardest" if epoch > settings.hardest_after else settings.early_negatives
        losses, counts = [], []
        batches = self.data.epoch(self.batches, settings.captions_per_frame, [self.recipe.seed, epoch, self.processes.rank])
        for number, (images, words) in enumerate(batches, start=(epoch - 1) * self.batches):
            set_learning_rates(self.optimizer, settings.optimizer, number, settings.epochs * self.batches, factor)
            norm_and_loss = self._update(images, words, negatives)
            if norm_and_loss[0].isnan():
                said = [" ".join(self.vocabulary.decode(row)) for row in words.tolist()]
                self.skipped.add(number + 1, norm_and_loss.tolist(), epoch=epoch, captions=said)
                continue
            self.skipped.end_row()
            losses.append(norm_and_loss[1])
            counts.append(len(words))
        if not losses:
            raise StapError(
                f"epoch {epoch}: the ranking loss is {norm_and_loss[1]}. Lower pretraining.optimizer.learning_rate."
            )
        return self.processes.mean(torch.stack(losses)[:, None], counts).mean().item()

    def _update(self, images: Tensor, words: Tensor, negatives: Negatives) -> Tensor:
        """One step.   images: (N, S, S, 3) uint8.   words: (N*K, L).   Returns the norm of the gradient and the loss, (2,).

        Where the norm is NaN, no step was made: the loss or the gradient of some process is not a finite number.
        """
        settings, model, device = self.settings, self.model, self.processes.device
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            frames = model.embed_frames(self.extractor.normalise(images))
            sentences = model.embed_sentences(words.to(device))
        of_frame = self.processes.numbers(len(images))
        of_sentence = of_frame.repeat_interleave(settings.captions_per_frame)
        loss = matching_loss(frames.float(), sentences.float(), of_frame, of_sentence, settings.margin, negatives=negatives)
        self.optimizer.zero_grad(set_to_none=True)
        self.processes.backward(loss, len(words), model.parameters())
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        if self.processes.all(norm.isfinite() & loss.isfinite()):
            self.optimizer.step()
        else:
            norm = torch.full_like(norm, torch.nan)
        return torch.stack([norm.detach(), loss.detach()])


def recall_at(similarity: Tensor, frame_numbers: Tensor, sentence_numbers: Tensor) -> dict[str, float]:
    """Recall at 1, 5 and 10, both ways, from the similarity (F, S) of frames and sentences of numbered videos.

    A sentence is recalled if a frame of its video is among the nearest K frames; a frame, if any of its sentences is among
    the nearest K sentences (Faghri et al. 2018, "Experiments").
    """
    right = frame_numbers[:, None] == sentence_numbers[None, :]  # (F, S)
    recalls = {}
    for name, scores, hits in (("sentence->frame", similarity.T, right.T), ("frame->sentence", similarity, right)):
        order = scores.argsort(dim=1, descending=True, stable=True)
        sorted_hits = hits.gather(1, order)
        for rank in RANKS:
            recalls[f"{name} R@{rank}"] = sorted_hits[:, :rank].any(dim=1).double().mean().item()
    return recalls


def _digest(corpus: Corpus) -> dict[str, Any]:
    """What identifies these clips and captions: their number for people, and a hash."""
    content = json.dumps([[clip.id, clip.split, clip.captions] for clip in corpus.clips]).encode()
    return {"clips": len(corpus.clips), "sha256": hashlib.sha256(content).hexdigest()[:12]}


def _check_usable(name: str, counts: Sequence[int], left_out: Sequence[tuple[str, str]]) -> None:
    if sum(counts) < 2:
        why = f" The first one left out: {left_out[0][1]}" if left_out else ""
        raise CorpusError(
            f"{name}: {sum(counts)} of {sum(counts) + len(left_out)} training clips can be used, and matching needs at least 2.{why}"
        )


@torch.inference_mode()
def _validate(model: FrameSentenceModel, data: CaptionedFrames | CaptionedImages, extractor: GridExtractor) -> dict[str, float]:
    """Recall of the middle frame of each video among all, and of its captions."""
    model.eval()
    device = next(model.parameters()).device
    frames = torch.cat([model.embed_frames(extractor.normalise(part)) for part in data.middle_frames(ENCODED_AT_ONCE)])
    words = pad_words([caption for captions in data.captions for caption in captions]).to(device)
    sentences = torch.cat([model.embed_sentences(part) for part in torch.split(words, ENCODED_AT_ONCE)])
    numbers = torch.arange(len(data), device=device)
    of_sentence = numbers.repeat_interleave(torch.tensor([len(captions) for captions in data.captions], device=device))
    return recall_at(cosine_similarity(frames, sentences), numbers, of_sentence)


def _save(out: Path, recipe: Recipe, model: FrameSentenceModel, progress: Progress) -> None:
    record: dict[str, Any] = {"history": list(progress.history)}
    write_json(out / "config.json", {"recipe": recipe.model_dump(mode="json")})
    write_json(out / "metrics.json", record)
    write_tensors(out / BACKBONE_FILE, model.backbone.state_dict())
