"""Weighted sums of the same vectors, with other weights for every word."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["WeightedSums"]

Calls = dict[object, tuple[Tensor, Tensor]]  # of each call the weights (B, K, P) and the gradient (B, K, D) of its sum


class WeightedSums:
    """A call with weights (B, K, P) gives the sums (B, K, D) of `values` (B, P, D).

    The backward pass computes the gradient of the values after all calls, as one product of all weights with all
    gradients. Automatic differentiation allocates a tensor of the values' size for each call and adds them up, which for a few rows
    a video takes many times as long as the sums themselves.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self._calls: Calls = {}
        # A scalar that every sum depends on and that depends on the values: its gradient comes after those of all sums.
        self._after_all: Tensor | None = None
        if values.requires_grad and torch.is_grad_enabled():
            self._after_all = _AfterAll.apply(values, self._calls)

    def __call__(self, weights: Tensor) -> Tensor:
        """(B, K, P) -> (B, K, D), in the type of the values."""
        weights = weights.to(self.values.dtype)
        if self._after_all is None:
            return torch.bmm(weights, self.values)
        summed: Tensor = _Sum.apply(weights, self.values.detach(), self._after_all, self._calls)
        return summed


class _Sum(torch.autograd.Function):
    """One call: the gradient of its weights, and a record for `_AfterAll`."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, values: Tensor, after_all: Tensor, calls: Calls) -> Tensor:
        ctx.save_for_backward(weights, values, after_all)
        ctx.calls = calls
        return torch.bmm(weights, values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor, None]:
        weights, values, after_all = ctx.saved_tensors
        gradient = gradient.to(values.dtype)
        ctx.calls.pop(ctx, None)  # of an earlier backward pass that did not ask for the gradient of the values
        ctx.calls[ctx] = (weights, gradient)
        return torch.bmm(gradient, values.transpose(1, 2)), None, torch.ones_like(after_all), None


class _AfterAll(torch.autograd.Function):
    """The gradient of the values from the records of all calls."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, calls: Calls) -> Tensor:
        ctx.calls = calls
        return torch.zeros((), device=values.device)  # float32 counts exactly, whatever the values' type

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, count: Tensor) -> tuple[Tensor, None]:
        of_this_pass = list(ctx.calls.values())[-int(count) :]  # each of its calls counted one, and came last
        weights, gradients = zip(*of_this_pass, strict=True)
        ctx.calls.clear()
        return torch.bmm(torch.cat(weights, dim=1).transpose(1, 2), torch.cat(gradients, dim=1)), None
