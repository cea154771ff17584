"""One epoch of updates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from stap.errors import StapError
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.caption_model import CaptionModel
from stap.recipes.settings import TrainingSettings
from stap.training.optimizer import set_learning_rates
from stap.training.processes import ALONE, Processes

__all__ = ["add_l2", "mean_losses", "train_epoch"]

STEPS_BETWEEN_CHECKS = 50  # of the loss for NaN; each check waits for the GPU


def train_epoch(
    model: CaptionModel,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[tuple[VideoBatch, CaptionBatch]],
    settings: TrainingSettings,
    *,
    first_step: int,
    total_steps: int,
    processes: Processes = ALONE,
) -> dict[str, float]:
    """Update the model on each batch (on its device, see `VideoBatch.to`); the mean of each loss over the batches (see `mean_losses`).

    processes: those of which each brings its part of every batch.
    With settings.l2, 'loss' includes that penalty, and 'l2' is the sum of squares.
    first_step, total_steps: place of the epoch in the whole training, for the learning rate's schedule.
    Raises StapError as soon as a loss or the norm of the gradient is seen not to be a number.
    """
    model.train()
    names: list[str] = []
    rows: list[Tensor] = []
    counts: list[int] = []
    for step, (videos, captions) in enumerate(batches, start=first_step):
        set_learning_rates(optimizer, settings.optimizer, step, total_steps)
        with torch.autocast(videos.video_numbers.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            losses = model.loss(videos, captions)
        optimizer.zero_grad(set_to_none=True)
        processes.backward(losses.total, len(captions.words), model.parameters())
        total, parts = losses.total.detach(), losses.parts
        if settings.l2:
            squares = add_l2(model.parameters(), settings.l2)
            total, parts = total + settings.l2 * squares, parts | {"l2": squares}
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimizer.step()
        names = ["loss", *parts]
        rows.append(torch.stack([norm, total, *parts.values()]).detach().float())
        counts.append(len(captions.words))
        if len(rows) % STEPS_BETWEEN_CHECKS == 0:
            _check_numbers(rows[-STEPS_BETWEEN_CHECKS:], step + 1 - STEPS_BETWEEN_CHECKS, settings)
    _check_numbers(rows, first_step, settings)
    return mean_losses(names, processes.mean(torch.stack(rows)[:, 1:], counts))


@torch.no_grad()
def add_l2(parameters: Iterable[nn.Parameter], weight: float) -> Tensor:
    """Add the gradient of weight * sum of squares to that of every parameter; the sum of squares.

    Unlike an optimiser's weight decay it is there when the gradient is clipped, and there is no factor 1/2.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in trained:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad.add_(parameter, alpha=2 * weight)
    return torch.nn.utils.get_total_norm(trained).square()


def mean_losses(names: list[str], table: Tensor, counts: Sequence[int] | None = None) -> dict[str, float]:
    """Means over batches, or over what they hold: 'loss', the total, and each part by its name.

    table: (batches, 1 + parts).   counts: captions in each batch; by default all batches count alike.
    """
    share = table.new_ones(len(table)) if counts is None else table.new_tensor(counts)
    return dict(zip(names, (share @ table / share.sum()).tolist(), strict=True))


def _check_numbers(rows: list[Tensor], first_step: int, settings: TrainingSettings) -> None:
    table = torch.stack(rows)
    wrong = (~table.isfinite().all(dim=1)).nonzero()
    if len(wrong):
        norm, loss = table[wrong[0, 0], :2].tolist()
        raise StapError(
            f"update {first_step + int(wrong[0, 0]) + 1}: the loss is {loss} and the norm of its gradient {norm}; expected numbers. "
            f"Lower training.optimizer.learning_rate (now {settings.optimizer.learning_rate}) or check the features; "
            "the state of the last whole epoch is kept."
        )
