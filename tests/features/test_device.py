"""Choosing a device: what is there, and a sentence for what is not."""

import pytest
import torch

from raising import error_of
from stap.errors import ConfigError
from stap.features.device import choose_device, describe_device


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch):
    """Make this machine look as if it had so many CUDA GPUs, and no other."""

    def pretend(count: int, *, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("count", "mps", "chosen"), [(0, False, "cpu"), (2, False, "cuda"), (0, True, "mps"), (1, True, "cuda")]
)
def test_auto_takes_a_gpu_where_there_is_one(gpus, count: int, mps: bool, chosen: str) -> None:
    gpus(count, mps=mps)
    assert choose_device("auto") == torch.device(chosen)


def test_a_named_device_is_taken(gpus) -> None:
    gpus(2)
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize(
    ("count", "name", "sentence"),
    [
        (0, "gpu", "device 'gpu': expected auto, cpu, cuda, cuda:1 (the second GPU) or mps."),
        (0, "cuda", "device 'cuda': PyTorch finds no CUDA GPU here. Use auto or cpu; `stap doctor` says what is there."),
        (2, "cuda:2", "device 'cuda:2': this machine has cuda:0, cuda:1. Use one of these, auto or cpu."),
        (1, "mps", "device 'mps': PyTorch finds no Apple GPU here. Use auto or cpu."),
    ],
)
def test_a_device_that_is_not_there_is_refused(gpus, count: int, name: str, sentence: str) -> None:
    gpus(count)
    assert error_of(ConfigError, choose_device, name) == sentence


def test_a_device_in_words() -> None:
    assert describe_device(torch.device("cpu")) == f"cpu, {torch.get_num_threads()} threads"
