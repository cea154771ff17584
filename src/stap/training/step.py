"""One step of training: the gradient of a batch's loss, clipped, and the move of the weights.

A batch that does not fit in memory is computed in parts where the gradient of the whole is the mean of theirs. A step whose loss
or gradient is not a finite number is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.profiler import record_function

from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.caption_model import CaptionModel, Losses
from stap.recipes.settings import ModelSettings, TrainingSettings
from stap.training.batches import Batch
from stap.training.optimizer import add_l2
from stap.training.processes import ALONE, Processes

__all__ = ["Objective", "after_update", "batch_loss", "is_mean_over_videos", "split", "update"]

Objective = Callable[[CaptionModel, VideoBatch, CaptionBatch], Losses]

after_update: list[Callable[[], object]] = []
"""Called in this process after each update, as a profiler asks."""


def update(
    model: CaptionModel,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    settings: TrainingSettings,
    processes: Processes = ALONE,
    parts: int = 1,
    objective: Objective | None = None,
) -> dict[str, Tensor]:
    """One step: move the weights by the gradient of the loss of a batch, which is on the model's device.

    processes: each brings its part of the batch.   parts: that the batch is computed in, one after another; see `is_mean_over_videos`.
    objective: the loss of videos and captions, if not the model's own.
    Returns scalars without a gradient: the 'norm' of the gradient before clipping, the 'loss', and its parts by name. With
    settings.l2, 'loss' includes that penalty, and 'l2' is the sum of squares. Where the norm is NaN, no step was made: the loss or
    the gradient of some process is not a finite number.
    """
    optimizer.zero_grad(set_to_none=True)
    measured = _backward(model, batch, partial(batch_loss, settings=settings, objective=objective), processes, parts)
    if settings.l2:
        squares = add_l2(model.parameters(), settings.l2)
        measured["loss"] = measured["loss"] + settings.l2 * squares
        measured["l2"] = squares
    with record_function("optimizer"):
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        if processes.all(norm.isfinite() & measured["loss"].isfinite()):
            optimizer.step()
        else:
            norm = torch.full_like(norm, torch.nan)
    for call in after_update:
        call()
    return {"norm": norm} | measured


def _backward(
    model: CaptionModel, batch: Batch, loss: Callable[[CaptionModel, Batch], Losses], processes: Processes, parts: int
) -> dict[str, Tensor]:
    """Leave the gradient in the parameters; the 'loss' and its parts."""
    if parts == 1:
        losses = loss(model, batch)
        with record_function("backward"):
            processes.backward(losses.total, len(batch[1].words), model.parameters())
        return {"loss": losses.total.detach()} | {name: part.detach() for name, part in losses.parts.items()}
    captions = len(batch[1].words)
    measured: dict[str, Tensor] = {}
    for part in split(batch, parts):
        losses = loss(model, part)
        share = len(part[1].words) / captions
        with record_function("backward"):
            (losses.total * share).backward()  # type: ignore[no-untyped-call]
        for name, value in {"loss": losses.total, **losses.parts}.items():
            measured[name] = measured.get(name, 0) + share * value.detach()
    return measured


@record_function("decoder and losses")
def batch_loss(model: CaptionModel, batch: Batch, settings: TrainingSettings, objective: Objective | None = None) -> Losses:
    """The loss of a batch, which is on the model's device, in the precision of the settings; the model's own without an objective."""
    videos, captions = batch
    device = videos.video_numbers.device.type
    with torch.autocast(device, torch.bfloat16, enabled=settings.precision == "bfloat16"):
        return model.loss(videos, captions) if objective is None else objective(model, videos, captions)


def is_mean_over_videos(settings: ModelSettings) -> bool:
    """Whether a batch's loss is the mean of the losses of its videos, so that it can be computed in parts.

    The matching loss compares every video with every sentence of the batch, and without penalty_captions the penalty on attention is
    weighed by the number of captions.
    """
    return not settings.matching_weight and not (settings.attention_penalty and not settings.penalty_captions)


def split(batch: Batch, parts: int) -> Iterator[Batch]:
    """The batch as so many smaller ones, of nearly equal numbers of videos."""
    videos, captions = batch
    each = captions.captions_per_video
    for rows in torch.arange(videos.size).tensor_split(min(parts, videos.size)):
        first, last = int(rows[0]), int(rows[-1]) + 1
        yield (
            VideoBatch(
                {name: stream[first:last] for name, stream in videos.streams.items()},
                {name: padding[first:last] for name, padding in videos.is_padding.items()},
                videos.video_numbers[first:last],
            ),
            CaptionBatch(captions.words[first * each : last * each], each),
        )
