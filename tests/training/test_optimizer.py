"""TensorFlow's RMSProp against its formula in plain floats, and the learning rate's schedule."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from stap.config import OptimizerSettings
from stap.training.optimizer import TensorFlowRMSProp, build_optimizer, learning_rate

START = [0.5, -2.0, 3.0]
GRADIENTS = [[1e-7, -0.3, 5.0], [0.0, 0.2, -4.0], [2e-6, 0.1, 1.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_rmsprop_equals_its_formula(momentum: float, weight_decay: float) -> None:
    settings = OptimizerSettings(learning_rate=0.01, decay=0.9, momentum=momentum, epsilon=1e-10, weight_decay=weight_decay)
    weight = nn.Parameter(torch.tensor(START, dtype=torch.float64))
    untouched = nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = build_optimizer(settings, [weight, untouched])
    for gradient in GRADIENTS:
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    for index, value in enumerate(START):
        square, taken = 1.0, 0.0
        for gradient in GRADIENTS:
            g = gradient[index] + weight_decay * value
            square = 0.9 * square + (1 - 0.9) * g**2
            taken = momentum * taken + 0.01 * g / math.sqrt(square + 1e-10)
            value -= taken
        assert weight[index].item() == pytest.approx(value, abs=1e-14)
    assert torch.equal(untouched, torch.ones(2, dtype=torch.float64))


def test_rmsprop_evaluates_a_closure() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = TensorFlowRMSProp([weight], learning_rate=0.1)

    def closure() -> Any:
        loss = (weight**2).sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 4.0
    assert weight.item() == pytest.approx(2 - 0.1 * 4 / math.sqrt(0.9 + 0.1 * 16))


def test_adam_and_adamw_get_their_settings() -> None:
    weight = nn.Parameter(torch.ones(1))
    for kind, expected in {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}.items():
        settings = OptimizerSettings(kind=kind, learning_rate=0.3, epsilon=1e-6, weight_decay=0.2)
        optimizer = build_optimizer(settings, [weight])
        assert type(optimizer) is expected
        assert {name: optimizer.defaults[name] for name in ("lr", "eps", "weight_decay")} == {
            "lr": 0.3, "eps": 1e-6, "weight_decay": 0.2,
        }  # fmt: skip


def test_learning_rate_warms_up_and_falls_as_a_cosine() -> None:
    settings = OptimizerSettings(learning_rate=1.0, warmup_steps=4, schedule="cosine")
    rates = [learning_rate(settings, step, total_steps=12) for step in range(12)]
    expected = [0.25, 0.5, 0.75, 1.0] + [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert rates == pytest.approx(expected, abs=1e-15)
    assert learning_rate(settings, 12, total_steps=12) == pytest.approx(0, abs=1e-15)
    constant = OptimizerSettings(learning_rate=1.0, warmup_steps=2)
    assert [learning_rate(constant, step, total_steps=4) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]
