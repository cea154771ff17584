import pytest
import torch

import stap.models.attention
from stap.errors import ShapeError
from stap.models.attention import AdditiveAttention

B, K, T, D, Q, A = 2, 3, 5, 4, 3, 6


@pytest.fixture
def look():
    torch.manual_seed(0)
    attention = AdditiveAttention(D, Q, A).double()
    values = torch.randn(B, T, D).double()
    padding = torch.zeros(B, T, dtype=torch.bool)
    padding[1, 3:] = True
    return attention, torch.randn(B * K, Q).double(), values, padding


def test_equals_plain_loops(look, reference):
    attention, query, values, padding = look
    attended = attention(query, attention.keys(values), values, padding)
    for n in range(B * K):
        length = T if n < K else 3
        context, weights = reference.attend(
            query[n].tolist(),
            values[n // K, :length].tolist(),
            attention.key.weight.tolist(),
            attention.key.bias.tolist(),
            attention.query.weight.tolist(),
            attention.score.weight[0].tolist(),
        )
        torch.testing.assert_close(attended.context[n], torch.tensor(context, dtype=torch.double), atol=1e-10, rtol=0)
        torch.testing.assert_close(attended.weights[n, :length], torch.tensor(weights, dtype=torch.double), atol=1e-10, rtol=0)
        assert float(attended.weights[n, length:].detach().abs().sum()) == 0


def test_equal_keys_give_the_mean_of_the_unpadded_values(look):
    attention, query, values, padding = look
    keys = torch.ones(B, T, A).double()
    attended = attention(query, keys, values, padding)
    torch.testing.assert_close(attended.context[0], values[0].mean(0))
    torch.testing.assert_close(attended.context[K], values[1, :3].mean(0))


def test_queries_must_be_shared_out_evenly(look):
    attention, query, values, padding = look
    with pytest.raises(ShapeError, match=r"^5 queries for 2 videos: expected the same number for each video\.$"):
        attention(query[:5], attention.keys(values), values, padding)


@pytest.mark.parametrize("shape", [(B, 1, T, A), (B, K, T, A), (B, 1, T, 2, A)])
def test_compiled_scores_equal_those_of_pytorch(look, shape, monkeypatch):
    attention, query, _, _ = look
    query, keys = query.requires_grad_(), torch.randn(shape).double().requires_grad_()

    def results():
        scores = attention.scores(query, keys)
        inputs = query, keys, attention.query.weight, attention.score.weight
        return [scores, *torch.autograd.grad((scores * torch.arange(scores.numel()).view_as(scores)).sum(), inputs)]

    found = results()
    monkeypatch.setattr(stap.models.attention, "trains_with_cpu_kernels", lambda tensor: False)
    for one, other in zip(found, results(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("shape", [(B, 2, T, A), (B, 1, T, A + 1)])
def test_keys_of_another_size_are_refused(look, shape):
    attention, query, _, _ = look
    with pytest.raises(ShapeError, match=rf"^keys \({', '.join(map(str, shape))}\): expected \(B, 3 or 1, \.\.\., 6\)\.$"):
        attention.scores(query, torch.zeros(shape).double())
