"""The LSTM over packed sentences reads them as L-STAP over a grid of one location does."""

import torch
from torch import Tensor

from stap.models.matching import SentenceEncoder


def test_packed_sentences_equal_lstap_with_gradients() -> None:
    torch.manual_seed(0)
    encoder = SentenceEncoder(5, 7, forget_bias=1.0).double()
    torch.nn.init.normal_(encoder.lstm.learned_start)
    embedded = torch.randn(4, 6, 5, dtype=torch.float64).requires_grad_()
    is_padding = torch.arange(6) >= torch.tensor([6, 2, 0, 4])[:, None]  # one sentence without words

    def gradients(states: Tensor) -> list[Tensor]:
        inputs = [embedded, *encoder.parameters()]
        return [states.detach(), *torch.autograd.grad((states * torch.arange(28.0).view(4, 7)).sum(), inputs)]

    found = gradients(encoder(embedded, is_padding))
    expected = gradients(encoder.lstm(embedded.unsqueeze(2), is_padding).h)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
