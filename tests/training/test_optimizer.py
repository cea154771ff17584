"""TensorFlow's RMSProp and Adadelta against their formulas in plain floats, L2 before clipping, the learning rate's schedule."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.caption_model import Losses
from stap.recipes.settings import OptimizerSettings, TrainingSettings
from stap.training.loop import update
from stap.training.optimizer import TensorFlowRMSProp, build_optimizer, learning_rate

START = [0.5, -2.0, 3.0]
GRADIENTS = [[1e-7, -0.3, 5.0], [0.0, 0.2, -4.0], [2e-6, 0.1, 1.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_rmsprop_equals_its_formula(weight_decay: float) -> None:
    settings = OptimizerSettings(learning_rate=0.01, decay=0.9, epsilon=1e-10, weight_decay=weight_decay)
    weight = nn.Parameter(torch.tensor(START, dtype=torch.float64))
    untouched = nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = build_optimizer(settings, nn.ParameterList([weight, untouched]))
    for gradient in GRADIENTS:
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    for index, value in enumerate(START):
        square = 1.0
        for gradient in GRADIENTS:
            g = gradient[index] + weight_decay * value
            square = 0.9 * square + (1 - 0.9) * g**2
            value -= 0.01 * g / math.sqrt(square + 1e-10)
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
        optimizer = build_optimizer(settings, nn.ParameterList([weight]))
        assert type(optimizer) is expected
        assert {name: optimizer.defaults[name] for name in ("lr", "eps", "weight_decay")} == {
            "lr": 0.3, "eps": 1e-6, "weight_decay": 0.2,
        }  # fmt: skip


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_adadelta_equals_its_formula(rate: float) -> None:
    """Zeiler 2012, algorithm 1."""
    weight = nn.Parameter(torch.tensor(START, dtype=torch.float64))
    optimizer = build_optimizer(
        OptimizerSettings(kind="adadelta", learning_rate=rate, decay=0.95, epsilon=1e-6), nn.ParameterList([weight])
    )
    for gradient in GRADIENTS:
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    for index, value in enumerate(START):
        squares, moved = 0.0, 0.0
        for gradient in GRADIENTS:
            squares = 0.95 * squares + 0.05 * gradient[index] ** 2
            change = -math.sqrt(moved + 1e-6) / math.sqrt(squares + 1e-6) * gradient[index]
            moved = 0.95 * moved + 0.05 * change**2
            value += rate * change
        assert weight[index].item() == pytest.approx(value, abs=1e-14)


class Linear(nn.Module):
    """In place of a caption model: loss = sum of slope * weight, so that its gradient is the slope; one weight is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([3.0, -4.0], dtype=torch.float64))
        self.unused = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
        self.fixed = nn.Parameter(torch.tensor([9.0], dtype=torch.float64), requires_grad=False)

    def loss(self, videos: VideoBatch, captions: CaptionBatch) -> Losses:
        loss = (videos.streams["slope"][0] * self.weight).sum()
        return Losses(loss, {"caption": loss})


@pytest.mark.parametrize(("slope", "is_clipped"), [((1.0, -2.0), False), ((30.0, -40.0), True)])
def test_l2_is_part_of_the_gradient_that_is_clipped(slope: tuple[float, float], is_clipped: bool) -> None:
    model, l2 = Linear(), 0.5
    videos = VideoBatch({"slope": torch.tensor([slope])}, {}, torch.tensor([0]))
    sgd = torch.optim.SGD([model.weight, model.unused], lr=1.0)
    settings = TrainingSettings(clip_norm=10, l2=l2, optimizer=OptimizerSettings(learning_rate=1.0))
    measured = update(model, sgd, (videos, CaptionBatch(torch.tensor([[2]]))), settings)
    gradient = [slope[0] + 2 * l2 * 3, slope[1] + 2 * l2 * -4, 2 * l2 * 2]
    norm = math.hypot(*gradient)
    factor = 10 / norm if is_clipped else 1.0
    assert (norm > 10) == is_clipped
    moved = [3.0 - model.weight[0].item(), -4.0 - model.weight[1].item(), 2.0 - model.unused.item()]
    assert moved == pytest.approx([factor * value for value in gradient], rel=1e-6)
    caption = slope[0] * 3 + slope[1] * -4
    expected = {"norm": norm, "loss": caption + l2 * 29, "caption": caption, "l2": 29}  # 9 + 16 + 4
    assert {name: value.item() for name, value in measured.items()} == pytest.approx(expected)


def test_learning_rate_warms_up_and_falls_as_a_cosine() -> None:
    settings = OptimizerSettings(learning_rate=1.0, warmup_steps=4, schedule="cosine")
    rates = [learning_rate(settings, step, total_steps=12) for step in range(12)]
    expected = [0.25, 0.5, 0.75, 1.0] + [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert rates == pytest.approx(expected, abs=1e-15)
    assert learning_rate(settings, 12, total_steps=12) == pytest.approx(0, abs=1e-15)
    constant = OptimizerSettings(learning_rate=1.0, warmup_steps=2)
    assert [learning_rate(constant, step, total_steps=4) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]
