"""The hyperbolic tangent, computed from the sigmoid on a processor, where that is faster."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["tanh_"]


def tanh_(values: Tensor) -> Tensor:
    """tanh in place, to rounding: 2 sigmoid(2 x) - 1 on a processor, where PyTorch's sigmoid is several times as fast as its tanh.

    The absolute error is that of numbers near 1, so types of less than 32 bits and GPUs keep PyTorch's.
    """
    if values.device.type != "cpu" or torch.finfo(values.dtype).bits < 32:
        return values.tanh_()
    return values.mul_(2).sigmoid_().mul_(2).sub_(1)
