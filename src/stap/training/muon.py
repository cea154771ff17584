"""Muon for a model's matrices and Adam for everything else, as one optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, overload

import torch
from torch import Tensor, nn

__all__ = ["MuonAndAdam", "matrices", "move_matrices", "orthogonalised"]

MOMENTUM = 0.95
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # they bring singular values near 1 the fastest, at the price of not reaching it


def matrices(model: nn.Module) -> list[nn.Parameter]:
    """The weights that Muon updates: two-dimensional weights, and those of convolutions, a row for each output channel; in the model's order.

    Not among them are embeddings and the layers named `output`, whose rows are words, and the parameters named `place_embedding` and
    `time_embedding`, whose rows are places and times: tables rather than maps from one space to another.
    """
    return [
        weight
        for path, module in model.named_modules()
        for name, weight in module.named_parameters(recurse=False)
        if (weight.dim() == 2 or isinstance(module, nn.Conv2d))
        and weight.dim() > 1
        and not isinstance(module, nn.Embedding)
        and path.rpartition(".")[2] != "output"
        and name not in ("place_embedding", "time_embedding")
    ]


@torch.no_grad()
def move_matrices(weights: Iterable[nn.Parameter], state: MutableMapping[Tensor, Any], rate: float) -> None:
    """A step of Muon: momentum whose steps are made nearly orthogonal (Jordan et al. 2024), and scaled to the size of Adam's
    (Liu et al. 2025, section 2.2).

        average = 0.95 average + 0.05 gradient
        step = 0.2 sqrt(max(rows, columns)) orthogonalised(0.95 average + 0.05 gradient)

    That is torch.optim.Muon with adjust_lr_fn="match_rms_adamw" up to rounding: PyTorch computes in bfloat16, which on
    processors without matrix units takes several times as long.

    state: of each weight, as of an optimiser. A weight without a gradient stays.
    """
    for weight in weights:
        if weight.grad is not None:
            average = state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
            average.lerp_(weight.grad, 1 - MOMENTUM)
            step = orthogonalised(weight.grad.lerp(average, MOMENTUM).flatten(1))
            weight.add_(step.view_as(weight), alpha=-rate * 0.2 * math.sqrt(max(step.shape)))


def orthogonalised(matrix: Tensor) -> Tensor:
    """The matrix with its singular values brought near 1 by Newton-Schulz iterations (Jordan et al. 2024).

    With X the matrix over its Frobenius norm, its short side first, an iteration makes (a + b G + c G^2) X of X, where G = X X^T. All
    iterations of X are polynomials of the first G times the first X, so that only G, which is small, is iterated on, and the
    long side is multiplied twice in all.
    """
    a, b, c = COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if is_tall else matrix
    x = x / x.norm().clamp_min(1e-7)
    gram = x @ x.T
    polynomial: Tensor | None = None
    for iteration in range(ITERATIONS):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        polynomial = factor if polynomial is None else factor @ polynomial
        if iteration + 1 < ITERATIONS:
            gram = factor @ (gram @ factor)  # they commute, and the product stays symmetric
    assert polynomial is not None
    orthogonal: Tensor = polynomial @ x
    return orthogonal.T if is_tall else orthogonal


class MuonAndAdam(torch.optim.Optimizer):
    """Muon for `matrices`, and PyTorch's Adam for the rest.

    The groups are Adam's weights and Muon's, in that order; each has its own rate as `initial_lr`. The two share groups and state
    with this optimiser, so that its state_dict holds everything.
    """

    def __init__(self, model: nn.Module, *, learning_rate: float, matrix_learning_rate: float, epsilon: float = 1e-8) -> None:
        """learning_rate, epsilon: Adam's.   matrix_learning_rate: Muon's. There is no weight decay."""
        chosen = matrices(model)
        is_matrix = {id(weight) for weight in chosen}
        others = [weight for weight in model.parameters() if id(weight) not in is_matrix]
        self._adam = torch.optim.Adam([{"params": others}], lr=learning_rate, eps=epsilon)
        super().__init__([*self._adam.param_groups, {"params": chosen, "lr": matrix_learning_rate}], {})
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
        _, muon = self.param_groups
        move_matrices(muon["params"], self.state, muon["lr"])
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As of any optimiser."""
        super().load_state_dict(state_dict)  # replaces groups and state by new ones
        self._share()

    def _share(self) -> None:
        self._adam.param_groups, self._adam.state = self.param_groups[:1], self.state
