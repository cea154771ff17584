"""The captioner for somebody who names none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

__all__ = ["DefaultModel", "default_model"]

FREE_BYTES = 8_000_000_000  # of a GPU, for the larger model: 4.3 GB of weights and what it computes


@dataclass(frozen=True)
class DefaultModel:
    """A model of the Hub, its licence and the size of its files."""

    name: str
    licence: str
    gigabytes: float

    def __str__(self) -> str:
        """The sentence that is said before anything is fetched."""
        return (
            f"no --model: captioning with {self.name} (licence {self.licence}, {self.gigabytes:g} GB, fetched from the Hugging Face Hub "
            "unless this machine has it)."
        )


ON_CPU = DefaultModel("microsoft/git-base-vatex", "MIT", 0.7)
ON_GPU = DefaultModel("Qwen/Qwen3-VL-2B-Instruct", "Apache-2.0", 4.3)


def default_model(device: torch.device, free_memory: Callable[[torch.device], int]) -> DefaultModel:
    """A small video captioner on a processor, a model that chats on a CUDA GPU with room for it.   free_memory: of a GPU, in bytes."""
    return ON_GPU if device.type == "cuda" and free_memory(device) >= FREE_BYTES else ON_CPU
