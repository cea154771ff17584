"""The optimiser and its learning rate. RMSProp is TensorFlow's, because the paper's figures were made with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast, overload

import torch
from torch import Tensor, nn

from stap.recipes.settings import OptimizerSettings
from stap.training.muon import MuonAndAdam

__all__ = ["TensorFlowRMSProp", "add_l2", "build_optimizer", "learning_rate", "set_learning_rates"]


class TensorFlowRMSProp(torch.optim.Optimizer):
    """RMSProp as TensorFlow 1 computes it (tf.train.RMSPropOptimizer; Tieleman & Hinton 2012, lecture 6.5).

        square = decay * square + (1 - decay) * gradient^2
        weight = weight - rate * gradient / sqrt(square + epsilon)

    It differs from torch.optim.RMSprop twice: epsilon is inside the root (1e-10 there acts like 1e-5 outside), and `square`
    starts at one instead of zero, so that the first steps are small instead of large.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        learning_rate: float,
        decay: float = 0.9,
        epsilon: float = 1e-10,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": learning_rate, "decay": decay, "epsilon": epsilon, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)

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
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    _move(weight, weight.grad, self.state[weight], group)
        return loss


def _move(weight: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
    if not state:
        state["square"] = torch.ones_like(weight)
    if group["weight_decay"]:
        gradient = gradient.add(weight, alpha=group["weight_decay"])
    square = state["square"].mul_(group["decay"]).addcmul_(gradient, gradient, value=1 - group["decay"])
    weight.addcdiv_(gradient, square.add(group["epsilon"]).sqrt_(), value=-group["lr"])


def build_optimizer(settings: OptimizerSettings, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a recipe for all of a model's parameters. Adam and AdamW keep PyTorch's betas; weight decay is decoupled in AdamW only.

    Adadelta (Zeiler 2012, algorithm 1): `decay` is rho; the step that it finds is multiplied by the learning rate.
    """
    if settings.kind == "muon":
        return MuonAndAdam(
            model,
            learning_rate=settings.learning_rate,
            matrix_learning_rate=settings.matrix_learning_rate or settings.learning_rate,
            epsilon=settings.epsilon,
        )
    if settings.kind == "rmsprop":
        return TensorFlowRMSProp(
            model.parameters(),
            learning_rate=settings.learning_rate,
            decay=settings.decay,
            epsilon=settings.epsilon,
            weight_decay=settings.weight_decay,
        )
    kinds = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "adadelta": partial(torch.optim.Adadelta, rho=settings.decay),
    }
    make = cast(Callable[..., torch.optim.Optimizer], kinds[settings.kind])
    return make(model.parameters(), lr=settings.learning_rate, eps=settings.epsilon, weight_decay=settings.weight_decay)


@torch.no_grad()
def add_l2(parameters: Iterable[nn.Parameter], weight: float) -> Tensor:
    """Add the gradient of weight * sum of squares to that of every parameter; returns the sum of squares.

    Unlike an optimiser's weight decay, the penalty is part of the gradient that is clipped, and there is no factor 1/2.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in trained:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad.add_(parameter, alpha=2 * weight)
    return torch.nn.utils.get_total_norm(trained).square()


def set_learning_rates(
    optimizer: torch.optim.Optimizer, settings: OptimizerSettings, step: int, total_steps: int, factor: float = 1.0
) -> None:
    """Give each group of weights the rate of this step, times the factor: from `initial_lr`, where it has a rate of its own."""
    for group in optimizer.param_groups:
        group["lr"] = factor * learning_rate(settings, step, total_steps, group.get("initial_lr"))


def learning_rate(settings: OptimizerSettings, step: int, total_steps: int, base: float | None = None) -> float:
    """The rate of step 0 ... total_steps - 1: a linear warm-up, then constant or half a cosine that would be 0 at total_steps.

    base: the rate after the warm-up, instead of settings.learning_rate.
    """
    rate = settings.learning_rate if base is None else base
    if step < settings.warmup_steps:
        return rate * (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return rate
    passed = (step - settings.warmup_steps) / max(1, total_steps - settings.warmup_steps)
    return rate * 0.5 * (1 + math.cos(math.pi * min(1.0, passed)))
