"""Captions read at once equal captions read word by word, forward and backward."""

import pytest
import torch
from torch import Tensor

from stap.models import attention, teacher_forcing
from stap.models.caption_model import DecoderState, Positions
from stap.models.decoder import AttentiveDecoder, StatesMemory
from stap.models.teacher_forcing import Blocks

B, K, L, T, H, E, A = 4, 3, 6, 5, 8, 7, 4
LENGTHS = torch.tensor([[2, 6, 1], [3, 3, 3], [1, 0, 2], [5, 1, 4]])
OF_A_VIDEO_WITHOUT_WORDS = torch.tensor([[2, 6, 1], [0, 0, 0], [1, 0, 2], [5, 1, 4]])


def results(
    implementation: str, lengths: Tensor | None, dtype: torch.dtype = torch.float64, again: bool = False
) -> list[Tensor]:
    """States and attention of the words that count, and the gradients of all inputs and weights."""
    torch.manual_seed(0)
    decoder = AttentiveDecoder(20, H, E, A, dropout=0.0, forget_bias=1.0, implementation=implementation).double().to(dtype)
    states, embedded, h, c = (
        torch.randn(shape, dtype=torch.float64).to(dtype).requires_grad_()
        for shape in ((B, T, H), (B * K, L, E), (B * K, H), (B * K, H))
    )
    padding = torch.arange(T) >= torch.tensor([5, 3, 1, 4])[:, None]
    memory = StatesMemory(
        Positions.all_of("grid", padding),
        DecoderState(h[::K], c[::K]),
        h[::K],
        states=states,
        keys=decoder.attention.keys(states),
    )
    counts = torch.arange(L) < (torch.full((B * K,), L) if lengths is None else lengths.flatten())[:, None]
    hidden, attention = decoder.teacher_forced(
        memory, DecoderState(h, c), embedded, None if lengths is None else lengths.flatten()
    )
    weighing = torch.randn(B * K, L, H, dtype=torch.float64).to(dtype), torch.randn(B * K, L, T, dtype=torch.float64).to(dtype)
    loss = (hidden * weighing[0])[counts].sum() + (attention * weighing[1])[counts].sum()
    inputs = [states, embedded, h, c, *(w for name, w in decoder.named_parameters() if not name.startswith("output"))]
    gradients = torch.autograd.grad(loss, inputs, retain_graph=again)
    if again:
        gradients = torch.autograd.grad(loss, inputs)
    return [hidden[counts].detach(), attention[counts].detach(), *gradients]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "of PyTorch's operations"])
@pytest.mark.parametrize("lengths", [None, LENGTHS, OF_A_VIDEO_WITHOUT_WORDS], ids=["all words", "lengths", "a video without"])
def test_at_once_equals_word_by_word(
    lengths: Tensor | None, compiled: bool, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:  # as on a GPU
        monkeypatch.setattr(teacher_forcing, "trains_with_cpu_kernels", lambda tensor: False)
        monkeypatch.setattr(attention, "trains_with_cpu_kernels", lambda tensor: False)
    found, expected = results("auto", lengths, again=again), results("reference", lengths)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_float32_is_close() -> None:
    for one, other in zip(results("auto", LENGTHS, torch.float32), results("reference", LENGTHS), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)


def test_captions_that_go_on_are_a_block() -> None:
    blocks = Blocks(LENGTHS)
    assert blocks.videos.tolist() == [0, 3, 1, 2]
    assert blocks.sizes == [(4, 3), (4, 3), (3, 3), (2, 2), (2, 1), (1, 1)]
    assert blocks.rows[0].tolist() == [1, 0, 2]
    places = blocks.places(L)
    real = {(row, word) for row, length in enumerate(LENGTHS.flatten().tolist()) for word in range(length)}
    computed = {divmod(place, L) for place in places.tolist()}
    assert real <= computed
    assert len(computed) == len(places) == sum(b * k for b, k in blocks.sizes)


def test_only_blocks_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    monkeypatch.setattr(
        torch.nn.Linear, "forward", lambda self, x: rows.append(len(x)) or torch.nn.functional.linear(x, self.weight, self.bias)
    )
    results("auto", LENGTHS)
    assert 40 in rows  # 12 + 12 + 9 + 4 + 2 + 1 of 72 words
