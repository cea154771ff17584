"""The state of a training run after an epoch, from which it continues exactly: RUN/state/last.safetensors.

One safetensors file holds the weights and the optimiser's tensors, and in its header, as JSON, the recipe, the progress and
a digest of the data, so that one rename replaces all of it. Random generators need no saving: every epoch seeds them from the
recipe's seed and its own number (see `epoch_seed`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stap.captioning.model_folder import read_tensors, write_tensors
from stap.errors import CheckpointError, ConfigError
from stap.files import one_line, parse_json
from stap.recipes.settings import Recipe
from stap.recipes.streams import differences

__all__ = ["Progress", "epoch_seed", "load_state", "save_state", "state_file"]


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    epoch: whole epochs done.   step: updates done.   history: one record an epoch, as in metrics.json.
    best_score: by training.best_by, of the weights in model.safetensors; None before the first validation.
    validations_without_gain: since that score.
    """

    epoch: int = 0
    step: int = 0
    best_score: float | None = None
    validations_without_gain: int = 0
    history: tuple[dict[str, Any], ...] = ()

    def after(self, record: dict[str, Any], *, updates: int, score: float | None) -> Progress:
        """The progress one epoch later.   record: for the history, with is_best.   score: None after an epoch without validation."""
        is_best = record["is_best"]
        return Progress(
            epoch=self.epoch + 1,
            step=self.step + updates,
            best_score=score if is_best else self.best_score,
            validations_without_gain=0 if is_best else self.validations_without_gain + (score is not None),
            history=(*self.history, record),
        )


def state_file(run: Path) -> Path:
    """The file of a run's state."""
    return run / "state" / "last.safetensors"


def epoch_seed(seed: int, epoch: int) -> int:
    """The seed of torch's generators in an epoch (epoch 0: the fresh weights)."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def save_state(
    run: Path,
    recipe: Recipe,
    progress: Progress,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Replace the state of the run. Raises CheckpointError if it cannot be written; the former state then stays.

    data: the digest of the training data.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in values.items()}
    header = {"begun_with": _begun_with(recipe, data), "progress": asdict(progress)}
    write_tensors(state_file(run), tensors, {"stap": json.dumps(header)})


def load_state(
    run: Path, recipe: Recipe, model: nn.Module, optimizer: torch.optim.Optimizer, data: Mapping[str, Any] | None = None
) -> Progress:
    """Put the state of the run into the model and the optimiser.

    Raises CheckpointError if there is none or it is damaged, ConfigError if it was made with other settings or data.
    """
    path = state_file(run)
    if not path.exists():
        raise CheckpointError(
            f"{run}: no training to continue ({path.relative_to(run)} is missing). Leave out --resume to begin one."
        )
    tensors, metadata = read_tensors(path)
    try:
        header = parse_json(metadata["stap"])
        _check_begun_with(run, _begun_with(recipe, data), header["begun_with"])
        progress = Progress(**header["progress"] | {"history": tuple(header["progress"]["history"])})
        model.load_state_dict(_under("model.", tensors))
        optimizer.load_state_dict(_optimizer_state(tensors) | {"param_groups": optimizer.state_dict()["param_groups"]})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: not a training state of this model ({one_line(error)}). Begin again in another folder."
        ) from error
    return progress


def _begun_with(recipe: Recipe, data: Mapping[str, Any] | None) -> dict[str, Any]:
    return recipe.without_places() | {"data": dict(data or {})}


def _check_begun_with(run: Path, here: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    now, begun = _flat(here), _flat(there)
    # A setting that is younger than the run had its default then.
    begun |= {name: value for name, value in _flat(Recipe().without_places()).items() if name in now and name not in begun}
    if others := differences(begun, now):
        raise ConfigError(
            f"{run}: was begun with another recipe or other data: {'; '.join(others)}. "
            "Continue with the same, or begin in another folder."
        )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _optimizer_state(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under("optimizer.", tensors).items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    return {"state": state}
