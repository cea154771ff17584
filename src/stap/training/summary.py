"""Reports of a training: a summary of every epoch, the result, and TensorBoard's curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

__all__ = ["LOG_LIKELIHOOD", "EpochSummary", "TrainingResult", "write_curves"]

LOG_LIKELIHOOD = "log-likelihood"


@dataclass(frozen=True)
class EpochSummary:
    """One epoch.

    training, validation: mean losses, 'loss' (the total) and its parts by name.   scores: of the validation captions, see
    `stap.training.loop.Validator.scores`. validation and scores are empty after an epoch without validation.
    skipped: updates that were left out because their loss or gradient was not a finite number.   remark: what else to know of the epoch.
    """

    epoch: int
    epochs: int
    seconds: float
    learning_rate: float
    training: dict[str, float]
    validation: dict[str, float]
    scores: dict[str, float]
    is_best: bool
    skipped: int = 0
    remark: str = ""

    def __str__(self) -> str:
        shown = [f"epoch {self.epoch}/{self.epochs}", f"loss {_losses(self.training)}"]
        if self.validation:
            best = " (best)" if self.is_best else ""
            shown += [f"validation {_losses(self.validation)}", _score(self.scores) + best]
        shown.append(f"{self.seconds:.1f} s")
        if self.skipped:
            shown.append(
                f"{self.skipped} {'update' if self.skipped == 1 else 'updates'} skipped: the loss was not a finite number"
            )
        return "  ".join([*shown, *filter(None, [self.remark])])


@dataclass(frozen=True)
class TrainingResult:
    """best: the epoch whose weights are in the folder, by training.best_by; the last one without validation clips.

    is_chosen_by_loss: by the validation loss instead, because the score was the same in every validation.
    """

    folder: Path
    best: EpochSummary
    history: tuple[EpochSummary, ...]
    stopped_early: bool
    is_chosen_by_loss: bool = False

    def __str__(self) -> str:
        early = " (stopped early)" if self.stopped_early else ""
        score = f", validation {_score(self.best.scores)}" if self.best.scores else ""
        score += " in every validation, so chosen by the validation loss" if self.is_chosen_by_loss else ""
        return f"{self.folder}: {len(self.history)} epochs{early}, weights of epoch {self.best.epoch}{score}"


def write_curves(writer: SummaryWriter, summary: EpochSummary) -> None:
    """Add an epoch's losses, scores and learning rate to TensorBoard's curves."""
    for group in ("training", "validation", "scores"):
        for name, value in getattr(summary, group).items():
            writer.add_scalar(f"{group}/{name}", value, summary.epoch)
    writer.add_scalar("learning rate", summary.learning_rate, summary.epoch)
    writer.flush()


def _score(scores: Mapping[str, float]) -> str:
    name = "CIDEr" if "CIDEr" in scores else LOG_LIKELIHOOD
    return f"{name} {scores[name]:.3f}"


def _losses(losses: Mapping[str, float]) -> str:
    parts = ", ".join(f"{name} {value:.2f}" for name, value in losses.items() if name != "loss")
    return f"{losses['loss']:.3f} ({parts})" if parts else f"{losses['loss']:.3f}"
