"""The fused recurrences equal the text of the equations, forward and backward; the GPU's kernels run in Triton's interpreter here."""

import importlib
from types import ModuleType

import pytest
import torch
from torch import Tensor

from stap.errors import ShapeError
from stap.models.fused_recurrence import fused_recurrence
from stap.models.lstap import LSTAP, RecurrenceWeights, choose_recurrence, pooled_recurrence

B, T, R, D, H, A = 3, 4, 5, 6, 8, 4


@pytest.fixture(scope="module")
def gpu_module() -> ModuleType:
    """The GPU's module; tests/conftest.py has its kernels interpreted where there is no GPU."""
    pytest.importorskip("triton")
    return importlib.import_module("stap.models.fused_recurrence_gpu")


def results(
    recurrence, pooling: str, dtype: torch.dtype, device: str = "cpu", again: bool = False, bias: tuple[int, ...] = ()
) -> list[Tensor]:
    """Outputs and every gradient, in float64.   bias: its axes before the gates."""
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device, dtype).requires_grad_()

    rows = 4 * H + (A if pooling == "attention" else 0)
    grid, h, c = random(B, T, R, D), random(B, H), random(B, H)
    weights = RecurrenceWeights(
        random(rows, D), random(*bias, rows), random(rows, H), random(A) if pooling == "attention" else None
    )
    padding = torch.tensor([[False] * T, [False, False, True, True], [False, True, False, False]], device=device)
    states, cells, local = recurrence(grid, weights, h, c, padding)
    loss = (states * random(B, T, H).detach()).sum() + (cells * random(B, T, H).detach()).sum()
    inputs = [t for t in (grid, h, c, *weights) if t is not None]
    gradients = torch.autograd.grad(loss, inputs, retain_graph=again)
    if again:
        gradients = torch.autograd.grad(loss, inputs)
    return [t.detach().cpu().double() for t in (states, cells, local, *gradients)]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_by_hand_equals_the_equations(pooling: str, again: bool) -> None:
    expected = results(pooled_recurrence, pooling, torch.float64)
    for one, other in zip(expected, results(fused_recurrence, pooling, torch.float64, again=again), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("bias", [(T, R), (1, R), (T, 1)])
@pytest.mark.slow
def test_a_bias_for_each_frame_and_location(bias: tuple[int, ...], gpu_module: ModuleType) -> None:
    expected = results(pooled_recurrence, "attention", torch.float64, bias=bias)
    found = results(fused_recurrence, "attention", torch.float64, bias=bias)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-10, atol=1e-12)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = results(gpu_module.fused_recurrence, "attention", torch.float32, device, bias=bias)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "attention"])
@pytest.mark.slow
def test_kernels_equal_the_equations(pooling: str, again: bool, gpu_module: ModuleType) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    expected = results(pooled_recurrence, pooling, torch.float64)
    found = results(gpu_module.fused_recurrence, pooling, torch.float32, device, again)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=2e-4, atol=2e-5)


@pytest.mark.slow
def test_units_in_several_blocks(gpu_module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_module, "_blocks", lambda R, H: (8, 4))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    expected = results(pooled_recurrence, "attention", torch.float64)
    for one, other in zip(expected, results(gpu_module.fused_recurrence, "attention", torch.float32, device), strict=True):
        torch.testing.assert_close(other, one, rtol=2e-4, atol=2e-5)


def test_the_switch_chooses() -> None:
    grid, h = torch.randn(2, 3, 4, D), torch.zeros(2, H)
    assert choose_recurrence("reference", grid, h) is pooled_recurrence
    assert choose_recurrence("auto", grid, h) is choose_recurrence("fused", grid, h) is fused_recurrence
    with torch.no_grad():
        assert choose_recurrence("fused", grid, h) is fused_recurrence
        assert choose_recurrence("auto", grid, h) is pooled_recurrence
        assert choose_recurrence("auto", torch.zeros(1).expand(2, 1024, 2048, D), h) is fused_recurrence
    assert choose_recurrence("auto", grid.bfloat16(), h.bfloat16()) is pooled_recurrence
    module = LSTAP(D, H, implementation="reference")
    expected = module(grid).states
    module.implementation = "fused"
    torch.testing.assert_close(module(grid).states, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_not_hidden(value: float) -> None:
    module = LSTAP(D, H)
    grid = torch.randn(2, 3, 4, D)
    grid[1, 1, 2] = value
    states = module(grid).states
    assert states[0].isfinite().all()
    assert states[1, 1:].isnan().any() == module_reference(module, grid)[1, 1:].isnan().any()


def module_reference(module: LSTAP, grid: Tensor) -> Tensor:
    module.implementation = "reference"
    return module(grid).states


@pytest.mark.parametrize("padding", [(1, T), (B, T - 1)])
def test_padding_of_another_size_is_refused(padding: tuple[int, int]) -> None:
    with pytest.raises(
        ShapeError, match=rf"^is_padding \({padding[0]}, {padding[1]}\): expected \(3, 4\), a flag for each frame\.$"
    ):
        LSTAP(D, H)(torch.randn(B, T, R, D), torch.zeros(padding, dtype=torch.bool))


def test_one_mark_or_several() -> None:
    module, grid = LSTAP(D, H), torch.randn(B, T, R, D)
    of_places, of_frames = torch.randn(1, R, D), torch.randn(T, 1, D)
    expected = module(grid + of_places + of_frames).states
    for marks in (of_places + of_frames, [of_places, of_frames]):
        torch.testing.assert_close(module(grid, marks=marks).states, expected, rtol=1e-5, atol=1e-6)
    for mark in (torch.zeros(3, 1, D), torch.zeros(1, 4, D), torch.zeros(R, D)):
        with pytest.raises(ShapeError, match=r"^mark .*: expected \(4 or 1, 5 or 1, 6\) for a grid \(3, 4, 5, 6\)\.$"):
            module(grid, marks=[mark])
