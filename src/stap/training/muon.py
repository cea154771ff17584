"""Muon for a model's matrices and Adam for everything else, as one optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import nn

__all__ = ["MuonAndAdam", "matrices"]


def matrices(model: nn.Module) -> list[nn.Parameter]:
    """What Muon moves: two-dimensional weights, in the model's order.

    Not among them are embeddings and the layers named `output`, whose rows are words, and the parameters named `location_bias`,
    whose rows are places: tables rather than maps from one space to another.
    """
    return [
        weight
        for path, module in model.named_modules()
        for name, weight in module.named_parameters(recurse=False)
        if weight.dim() == 2
        and not isinstance(module, nn.Embedding)
        and path.rpartition(".")[2] != "output"
        and name != "location_bias"
    ]


class MuonAndAdam(torch.optim.Optimizer):
    """PyTorch's Muon (Jordan et al. 2024), its steps scaled to the size of Adam's (Liu et al. 2025), and PyTorch's Adam.

    The groups are Adam's weights and Muon's, in that order; each has its own rate as `initial_lr`. The two share groups and state
    with this optimiser, so that its state_dict holds everything.
    """

    def __init__(self, model: nn.Module, *, learning_rate: float, matrix_learning_rate: float, epsilon: float = 1e-8) -> None:
        """learning_rate, epsilon: Adam's.   matrix_learning_rate: Muon's. There is no weight decay."""
        chosen = matrices(model)
        is_matrix = {id(weight) for weight in chosen}
        others = [weight for weight in model.parameters() if id(weight) not in is_matrix]
        self._adam = torch.optim.Adam([{"params": others}], lr=learning_rate, eps=epsilon)
        self._muon = torch.optim.Muon(
            [{"params": chosen}], lr=matrix_learning_rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
        )
        super().__init__([*self._adam.param_groups, *self._muon.param_groups], {})
        for group in self.param_groups:
            group["initial_lr"] = group["lr"]
        self._share()

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every weight that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._adam.step()
        self._muon.step()  # type: ignore[no-untyped-call]
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As of any optimiser."""
        super().load_state_dict(state_dict)  # replaces groups and state by new ones
        self._share()

    def _share(self) -> None:
        self._adam.param_groups, self._muon.param_groups = self.param_groups[:1], self.param_groups[1:]
        self._adam.state = self._muon.state = self.state
