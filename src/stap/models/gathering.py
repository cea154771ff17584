"""Gather the parts of a batch from all training processes, for losses that compare all videos with all sentences."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

__all__ = ["gathered", "is_shared"]


def is_shared() -> bool:
    """Whether several processes train together (`torch.distributed` is initialised) and the loss here will be differentiated.

    Validation, which one process does alone while the others wait, must not ask them for anything.
    """
    return distributed.is_available() and distributed.is_initialized() and torch.is_grad_enabled()


def gathered(own: Tensor) -> tuple[Tensor, slice]:
    """The rows of all processes in the order of their ranks, (N, ...), and which of them are `own`, (n, ...).

    Every process must call this with rows of the same shape; their number may differ. Differentiable: a row's gradient is the
    sum of what all processes ask of it, so each must compute a loss of its own, not all the same.
    """
    count, ranks = torch.tensor([len(own)], device=own.device), distributed.get_world_size()
    counts = [torch.empty_like(count) for _ in range(ranks)]
    distributed.all_gather(counts, count)
    sizes, rank = [int(size) for size in counts], distributed.get_rank()
    first = sum(sizes[:rank])
    rows: Tensor = _Gathered.apply(own, sizes, first)
    return rows, slice(first, first + len(own))


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, sizes: list[int], first: int) -> Tensor:
        ctx.own = slice(first, first + len(own))
        padded = own.new_zeros(max(sizes), *own.shape[1:])  # what is exchanged must be equally large everywhere
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total[ctx.own], None, None
