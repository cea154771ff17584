"""The device that networks run on: the CPU, or an available GPU."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from stap.errors import ConfigError

__all__ = ["choose_device", "describe_device", "empty_cache", "halved_without_memory", "is_out_of_memory"]

Result = TypeVar("Result")
log = logging.getLogger(__name__)

# How PyTorch says that the processor's memory, or that of a library on the GPU, does not suffice: plain RuntimeErrors.
MEMORY_MESSAGES = ("DefaultCPUAllocator", "not enough memory", "out of memory", "_STATUS_ALLOC_FAILED")


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name: auto, cpu, cuda, cuda:1 or mps. Auto is the first GPU there is, otherwise the processor.

    Raises ConfigError for another name and for a device that this machine or this PyTorch does not have.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ConfigError(f"device {name!r}: expected auto, cpu, cuda, cuda:1 (the second GPU) or mps.")
    if name == "auto":
        return torch.device(_best())
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device 'mps': PyTorch finds no Apple GPU here. Use auto or cpu.")
    if name.startswith("cuda"):
        _check_cuda(name)
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """The device in words: 'cpu, 8 threads', 'cuda:0, NVIDIA A100-SXM4-40GB'."""
    if device.type == "cuda":
        return f"{device}, {torch.cuda.get_device_name(device)}"
    return f"{device}, {torch.get_num_threads()} threads" if device.type == "cpu" else str(device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of a device does not suffice."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in MEMORY_MESSAGES)


def halved_without_memory(compute: Callable[[Tensor], Result], items: Tensor) -> list[Result]:
    """compute(items), in a list; where memory runs out, that of each half, and so on. The results of items must not depend on each other.

    Raises what compute raises where memory runs out for a single item.
    """
    try:
        return [compute(items)]
    except (RuntimeError, MemoryError) as error:
        if len(items) == 1 or not is_out_of_memory(error):
            raise
    empty_cache()
    half = -(-len(items) // 2)
    log.warning("memory ran out: computing %d at a time instead of %d, with the same result", half, len(items))
    return [*halved_without_memory(compute, items[:half]), *halved_without_memory(compute, items[half:])]


def empty_cache() -> None:
    """Give back what PyTorch keeps of the GPU's memory. To be called outside of the handler of an error, which holds on to its tensors."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _check_cuda(name: str) -> None:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise ConfigError(
            f"device {name!r}: PyTorch finds no CUDA GPU here. Use auto or cpu; `stap doctor` says what is there."
        )
    index = int(name.partition(":")[2] or 0)
    if index >= count:
        there = ", ".join(f"cuda:{number}" for number in range(count))
        raise ConfigError(f"device {name!r}: this machine has {there}. Use one of these, auto or cpu.")
