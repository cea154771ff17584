"""A captioner of the Hub and a model of ours in one process."""

from collections.abc import Callable
from pathlib import Path

import torch

import stap
from stap.models.build import build_model
from stap.recipes.files import load_recipe
from stap.recipes.streams import StreamSpec


def test_own_models_are_built_without_memory_after_a_teacher_was_loaded(teacher: Callable[[str], Path]) -> None:
    stap.load(teacher("git"), "cpu")  # transformers changes what PyTorch does on the device meta
    settings = load_recipe("demo/quick").model
    with torch.device("meta"):
        model = build_model(settings, {"grid": StreamSpec("grid", 128, grid=(6, 6), frames=8)}, vocabulary_size=100)
    assert all(weight.is_meta for weight in model.parameters())
