"""Muon and Adam as one optimiser: who moves what, how far, at which rate, and exact continuation."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from stap.models.build import build_model
from stap.recipes.settings import ModelSettings, OptimizerSettings, Recipe
from stap.recipes.streams import StreamSpec
from stap.training.muon import MuonAndAdam, matrices, move_matrices, orthogonalised
from stap.training.optimizer import build_optimizer, set_learning_rates
from stap.training.resume import Progress, load_state, save_state

SIZES = {"hidden_size": 4, "attention_size": 3, "embedding_size": 3, "matching_weight": 0.4,
         "inputs": {"place_embedding": 0.3, "time_embedding": 0.3}}  # fmt: skip


class Small(nn.Module):
    """A matrix, a bias, a table and an output layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embedding = nn.Embedding(6, 3)
        self.hidden = nn.Linear(3, 5)
        self.output = nn.Linear(5, 6)

    def loss(self, step: int) -> torch.Tensor:
        logits = self.output(torch.tanh(self.hidden(self.embedding.weight)))
        return nn.functional.cross_entropy(logits, (torch.arange(6) + step) % 6)


def advance(model: Small, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        model.loss(step).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@pytest.mark.parametrize("kind", ["lstap", "lstap-stat"])
def test_matrices_are_muons_and_tables_and_vectors_adams(kind: str) -> None:
    settings = ModelSettings.model_validate({"kind": kind} | SIZES)
    model = build_model(settings, {"grid": StreamSpec("grid", 5, grid=(2, 3), frames=4)}, vocabulary_size=9)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(OptimizerSettings(kind="muon"), model)
    adams, muons = ([names[id(weight)] for weight in group["params"]] for group in optimizer.param_groups)
    assert sorted(adams + muons) == sorted(names.values())
    assert {"encoder.input_weight", "encoder.recurrent_weight", "decoder.word_gates.weight", "decoder.context_gates.weight",
            "sentence_encoder.lstm.input_weight"} <= set(muons)  # fmt: skip
    two_dimensional = {name for name, weight in model.named_parameters() if weight.dim() == 2}
    tables = {"embedding.weight", "decoder.output.weight", "inputs.place_embedding", "inputs.time_embedding"}
    assert two_dimensional - set(muons) == tables
    assert set(muons) <= two_dimensional


def test_a_convolution_is_a_matrix_with_a_row_for_each_output_channel() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))
    convolution = network[0]
    assert [id(weight) for weight in matrices(network)] == [id(convolution.weight)]
    before, gradient = convolution.weight.detach().clone(), torch.randn_like(convolution.weight)
    convolution.weight.grad = gradient.clone()
    move_matrices([convolution.weight], {convolution.weight: {}}, 0.1)
    rows = (0.05 * 0.95 + 0.05) * gradient.reshape(
        4, 18
    )  # Nesterov's first step: a multiple of the gradient, so no matter which
    moved = (convolution.weight.detach() - before).reshape(4, 18)
    torch.testing.assert_close(moved, -0.1 * 0.2 * 18**0.5 * orthogonalised(rows))


def test_steps_are_those_of_pytorchs_own() -> None:
    """Three steps, so that momentum and both moments play a part. PyTorch's matrices are rounded to bfloat16, three digits."""
    together, apart = Small(), Small()
    assert [tuple(weight.shape) for weight in matrices(together)] == [(5, 3)]
    both = build_optimizer(OptimizerSettings(kind="muon", learning_rate=0.02, matrix_learning_rate=0.3, epsilon=1e-7), together)
    muon = torch.optim.Muon([apart.hidden.weight], lr=0.3, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    others = [apart.embedding.weight, apart.hidden.bias, apart.output.weight, apart.output.bias]
    adam = torch.optim.Adam(others, lr=0.02, eps=1e-7)
    advance(together, both, range(3))
    for step in range(3):
        apart.zero_grad()
        apart.loss(step).backward()  # type: ignore[no-untyped-call]
        muon.step()
        adam.step()
    for name, weight in together.named_parameters():
        torch.testing.assert_close(weight, apart.get_parameter(name), rtol=0, atol=0.01)
        assert (weight - Small().get_parameter(name)).abs().max() > 0.05, name


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5), (1, 6)])
def test_newton_schulz_iterations_by_their_definition(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.double)
    left, values, right = np.linalg.svd(matrix.numpy(), full_matrices=False)
    values = values / np.sqrt((values**2).sum())
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    np.testing.assert_allclose(orthogonalised(matrix).numpy(), left * values @ right, atol=1e-9)
    assert ((values > 0.3) & (values < 1.3)).all()


def test_a_gradient_of_zero_moves_nothing() -> None:
    assert orthogonalised(torch.zeros(3, 2)).tolist() == [[0.0, 0.0]] * 3


def test_both_rates_follow_the_schedule() -> None:
    settings = OptimizerSettings(kind="muon", learning_rate=1.0, matrix_learning_rate=10.0, warmup_steps=2, schedule="cosine")
    optimizer = build_optimizer(settings, Small())
    rates = []
    for step in range(6):
        set_learning_rates(optimizer, settings, step, 6, 0.5)
        rates.append([group["lr"] for group in optimizer.param_groups])
    assert rates[:3] == [[0.25, 2.5], [0.5, 5.0], [0.5, 5.0]]
    assert rates[4] == pytest.approx([0.25, 2.5])
    same = build_optimizer(OptimizerSettings(kind="muon", learning_rate=0.7), Small())
    assert [group["lr"] for group in same.param_groups] == [0.7, 0.7]


def test_a_continued_training_has_the_same_weights(tmp_path: Path) -> None:
    def fresh() -> tuple[Small, MuonAndAdam]:
        model = Small()
        return model, MuonAndAdam(model, learning_rate=0.02, matrix_learning_rate=0.1)

    whole, optimizer = fresh()
    advance(whole, optimizer, range(3))
    save_state(tmp_path, Recipe(), Progress(epoch=1, step=3), whole, optimizer)
    at_three = copy.deepcopy(whole.state_dict())
    advance(whole, optimizer, range(3, 6))
    continued, optimizer = fresh()
    assert load_state(tmp_path, Recipe(), continued, optimizer).step == 3
    assert all(torch.equal(weight, at_three[name]) for name, weight in continued.state_dict().items())
    advance(continued, optimizer, range(3, 6))
    assert all(torch.equal(weight, whole.get_parameter(name)) for name, weight in continued.named_parameters())


def test_a_closure_is_evaluated_and_weights_without_gradient_stay() -> None:
    model = Small()
    model.embedding.requires_grad_(requires_grad=False)
    optimizer = MuonAndAdam(model, learning_rate=0.1, matrix_learning_rate=0.1)

    def closure() -> float:
        optimizer.zero_grad()
        loss = model.loss(0)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    assert optimizer.step(closure) == Small().loss(0).item()
    assert torch.equal(model.embedding.weight, Small().embedding.weight)
    assert not torch.equal(model.hidden.weight, Small().hidden.weight)
