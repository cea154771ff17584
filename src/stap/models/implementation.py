"""Which implementation computes a recurrence: the text of the equations, or kernels that are compiled where the tensors are."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Implementation", "compiles_gpu_kernels", "fits_cpu_kernels", "trains_with_cpu_kernels"]

Implementation = Literal["auto", "reference", "fused"]


def fits_cpu_kernels(tensor: Tensor) -> bool:
    """Whether `cpu_kernels` take such a tensor: float32 or float64 on the processor."""
    return tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64)


def trains_with_cpu_kernels(tensor: Tensor) -> bool:
    """Whether `cpu_kernels` take the tensor and gradients are recorded: importing numba takes half a second, longer than encoding a clip."""
    return torch.is_grad_enabled() and fits_cpu_kernels(tensor)


def compiles_gpu_kernels(tensor: Tensor) -> bool:
    """Whether the tensor is on a CUDA device, Triton is there, and a C compiler for what starts its kernels."""
    if tensor.device.type != "cuda" or find_spec("triton") is None:
        return False
    return bool(os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang"))
