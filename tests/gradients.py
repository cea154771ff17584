"""Gradients of a model's loss against finite differences."""

import torch
from torch import nn

from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.caption_model import CaptionModel


class _Total(nn.Module):
    def __init__(self, model: CaptionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, videos: VideoBatch, captions: CaptionBatch) -> torch.Tensor:
        return self.model.loss(videos, captions).total


def check_loss_gradients(model: CaptionModel, videos: VideoBatch, captions: CaptionBatch) -> None:
    """`gradcheck` of the loss with respect to every parameter, in float64."""
    names, values = zip(*model.named_parameters(), strict=True)

    def total(*values: torch.Tensor) -> torch.Tensor:
        state = {f"model.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(_Total(model), state, (videos, captions))

    assert torch.autograd.gradcheck(total, [value.detach().clone().requires_grad_() for value in values], fast_mode=True)
