"""Sums of the same vectors: the gradient that is made at the end is the sum of all calls' gradients."""

import pytest
import torch

from stap.models.stat.weighted_sums import WeightedSums

B, K, P, D = 2, 3, 4, 5


@pytest.fixture
def given():
    torch.manual_seed(0)
    values = torch.randn(B, P, D, dtype=torch.double, requires_grad=True)
    return values, [torch.rand(B, k, P, dtype=torch.double, requires_grad=True) for k in (K, 1, K)]


def through(weighted, values, weights):
    """Sums that depend on each other, as those of a recurrence do."""
    sums = weighted(values)
    total, last = 0.0, None
    for n, weight in enumerate(weights):
        last = sums(weight if last is None else weight * (1 + last.mean()))
        total = total + (last.sin() * (n + 1)).sum()
    return total


def plain(values):
    return lambda weights: torch.einsum("bkp,bpd->bkd", weights, values)


def test_values_and_gradients_equal_plain_products(given):
    values, weights = given
    inputs = [values, *weights]
    total, expected = through(WeightedSums, values, weights), through(plain, values, weights)
    torch.testing.assert_close(total, expected, atol=1e-12, rtol=0)
    for found, right in zip(torch.autograd.grad(total, inputs), torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(found, right, atol=1e-12, rtol=0)


def test_gradcheck(given):
    values, weights = given
    assert torch.autograd.gradcheck(lambda v, *w: through(WeightedSums, v, w), [values, *weights])


def test_a_second_backward_through_the_same_calls_counts_them_once(given):
    values, weights = given
    total = through(WeightedSums, values, weights)
    [first] = torch.autograd.grad(total, [values], retain_graph=True)
    [second] = torch.autograd.grad(total, [values])
    torch.testing.assert_close(first, second, atol=0, rtol=0)


def test_calls_that_the_loss_does_not_need_do_not_count(given):
    values, weights = given
    sums = WeightedSums(values)
    sums(weights[1])
    [found] = torch.autograd.grad(sums(weights[0]).sum(), [values])
    [expected] = torch.autograd.grad(plain(values)(weights[0]).sum(), [values])
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_a_backward_to_the_weights_only_leaves_nothing_behind(given):
    values, weights = given
    total = through(WeightedSums, values, weights)
    torch.autograd.grad(total, weights, retain_graph=True)
    [found] = torch.autograd.grad(total, [values])
    [expected] = torch.autograd.grad(through(plain, values, weights), [values])
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_other_calls_do_not_count_what_a_backward_to_the_weights_left(given):
    values, weights = given
    sums = WeightedSums(values)
    torch.autograd.grad(sums(weights[0]).sum(), weights[:1])
    [found] = torch.autograd.grad(sums(weights[1]).sum() + sums(weights[2]).sum(), [values])
    [expected] = torch.autograd.grad(plain(values)(weights[1]).sum() + plain(values)(weights[2]).sum(), [values])
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_values_without_a_gradient(given):
    values, weights = given
    sums = WeightedSums(values.detach())
    sums(weights[0]).sum().backward()
    assert weights[0].grad is not None
    with torch.no_grad():
        assert not WeightedSums(values)(weights[0]).requires_grad
