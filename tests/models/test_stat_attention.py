"""STAT's attention as a module for other people's decoders."""

import ast
import re
from pathlib import Path

import pytest
import torch

from raising import error_of
from stap import STATAttention
from stap.errors import ShapeError

B, K, F, M, R, Q, A = 2, 3, 4, 5, 3, 6, 7
SIZES = {"global_size": 4, "motion_size": 2, "local_size": 3}


@pytest.fixture
def given():
    torch.manual_seed(0)
    streams = {"global": torch.randn(B, F, 4), "motion": torch.randn(B, M, 2), "local": torch.randn(B, F, R, 3)}
    return {name: stream.double() for name, stream in streams.items()}, torch.randn(B * K, Q).double()


def make(**options):
    torch.manual_seed(1)
    attention = STATAttention(Q, attention_size=A, **({"fusion": "concat"} | SIZES | options)).double()
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return attention


def weigh(module, query, vectors):
    scores = [module.score(torch.tanh(module.key(vector) + module.query(query))).item() for vector in vectors]
    weights = torch.tensor(scores, dtype=torch.double).softmax(0)
    return weights, sum(weight * vector for weight, vector in zip(weights, vectors, strict=True))


def test_equals_the_two_stages_one_after_the_other(given):
    streams, query = given
    attention = make()
    seen = attention(query, attention.keys(streams))
    assert attention.context_size == 9
    for n in range(B * K):
        b = n // K
        spatial, pooled = zip(*[weigh(attention.spatial, query[n], list(frame)) for frame in streams["local"][b]], strict=True)
        expected = {
            "global": weigh(attention.temporal["global"], query[n], list(streams["global"][b])),
            "motion": weigh(attention.temporal["motion"], query[n], list(streams["motion"][b])),
            "local": weigh(attention.temporal["local"], query[n], list(pooled)),
        }
        torch.testing.assert_close(seen.weights["spatial"][n], torch.stack(spatial), atol=1e-10, rtol=0)
        for name, (weights, _) in expected.items():
            torch.testing.assert_close(seen.weights[name][n], weights, atol=1e-10, rtol=0)
        torch.testing.assert_close(
            seen.context[n], torch.cat([context for _, context in expected.values()]), atol=1e-10, rtol=0
        )


def test_both_stages_together_are_a_distribution_over_places(given):
    streams, query = given
    seen = make()(query, make().keys(streams))
    assert seen.places.shape == (B * K, F, R)
    torch.testing.assert_close(seen.places.sum(dim=(1, 2)), torch.ones(B * K).double())
    context = torch.einsum("bkfr,bfrd->bkd", seen.places.view(B, K, F, R), streams["local"]).view(B * K, -1)
    torch.testing.assert_close(seen.context[:, -3:], context)


def test_contexts_are_added_or_stand_side_by_side(given):
    _, query = given
    torch.manual_seed(2)
    streams = {name: torch.randn(shape).double() for name, shape in (("global", (B, F, 4)), ("motion", (B, M, 4)))}
    options = {"global_size": 4, "motion_size": 4, "local_size": None}
    beside, added = (attention(query, attention.keys(streams)).context for attention in (make(**options), make(**options, fusion="sum")))  # fmt: skip
    torch.testing.assert_close(added, beside[:, :4] + beside[:, 4:])


@pytest.mark.parametrize("local_pooling", ["attention", "mean"])
def test_padding_changes_nothing(given, local_pooling):
    streams, query = given
    attention = make(local_pooling=local_pooling)
    expected = attention(query, attention.keys(streams))
    longer = {name: torch.cat([stream, torch.randn_like(stream)], dim=1) for name, stream in streams.items()}
    longer["local"] = torch.cat([longer["local"], torch.randn(B, 2 * F, 1, 3).double()], dim=2)
    padding = {name: torch.ones(stream.shape[:2], dtype=torch.bool) for name, stream in longer.items()}
    padding["global"][:, :F] = padding["motion"][:, :M] = False
    padding["local"] = torch.ones(B, 2 * F, R + 1, dtype=torch.bool)
    padding["local"][:, :F, :R] = False
    seen = attention(query, attention.keys(longer, padding))
    torch.testing.assert_close(seen.context, expected.context, atol=1e-12, rtol=0)
    for name, weights in expected.weights.items():
        there = seen.weights[name][(slice(None), *map(slice, weights.shape[1:]))]
        torch.testing.assert_close(there, weights, atol=1e-12, rtol=0)
        torch.testing.assert_close(seen.weights[name].sum(), weights.sum(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("local_pooling", ["attention", "mean"])
def test_a_video_without_any_place_has_no_local_context_and_no_gradient_that_is_not_a_number(given, local_pooling):
    streams, query = given
    attention = make(local_pooling=local_pooling)
    missing = torch.zeros(B, F, R, dtype=torch.bool)
    missing[1] = True
    local = streams["local"].masked_fill(missing[..., None], 0).requires_grad_()
    seen = attention(query, attention.keys({**streams, "local": local}, {"local": missing}))
    assert (seen.context[K:, -3:] == 0).all()
    assert (seen.weights["local"][K:] == 0).all()
    seen.context.sum().backward()
    assert local.grad.isfinite().all()


def test_gradients(given):
    streams, query = given
    attention = make()
    names, values = zip(*attention.named_parameters(), strict=True)

    def context(query, *rest):
        state = dict(zip(names, rest[: len(names)], strict=True))
        seen = torch.func.functional_call(Both(attention), {f"attention.{name}": value for name, value in state.items()}, (query, dict(zip(streams, rest[len(names) :], strict=True))))  # fmt: skip
        return seen.context, *seen.weights.values()

    given = [query, *values, *streams.values()]
    assert torch.autograd.gradcheck(context, [value.detach().clone().requires_grad_() for value in given], fast_mode=True)


class Both(torch.nn.Module):
    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def forward(self, query, streams):
        return self.attention(query, self.attention.keys(streams))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"motion": None}, "the streams are global, local; expected global, local, motion."),
        ({"motion": (B, M, 3)}, "motion (2, 5, 3): expected (2, F, 2)."),
        ({"motion": (B, 2)}, "motion (2, 2): expected (2, F, 2)."),
        ({"motion": (3, M, 2)}, "motion (3, 5, 2): expected (2, F, 2)."),
        ({"local": (B, F, 3)}, "local (2, 4, 3): expected (2, F, R, 3)."),
    ],
)
def test_a_stream_that_does_not_fit_is_named(change, sentence, given):
    streams = dict(given[0])
    for name, shape in change.items():
        if shape is None:
            del streams[name]
        else:
            streams[name] = torch.zeros(shape).double()
    assert error_of(ShapeError, make().keys, streams) == sentence


def test_padding_of_another_shape_is_named(given):
    error = error_of(ShapeError, make().keys, given[0], {"local": torch.zeros(B, F, dtype=torch.bool)})
    assert error == "local: padding (2, 4) for a stream (2, 4, 3, 3); expected (2, 4, 3)."


def test_queries_must_be_shared_out_evenly(given):
    streams, query = given
    with pytest.raises(ShapeError, match=r"^5 queries for 2 videos: expected the same number for each video\.$"):
        make()(query[:5], make().keys(streams))


def test_sizes_that_cannot_be():
    error = error_of(ValueError, STATAttention, Q, attention_size=A)
    assert error == "no stream: expected at least one of global_size, motion_size and local_size."
    error = error_of(ValueError, STATAttention, Q, attention_size=A, global_size=4, motion_size=2)
    assert error == (
        "contexts of different sizes cannot be added: {'global': 4, 'motion': 2}. Project them, or take fusion='concat'."
    )


def test_the_manual_s_example_has_the_shapes_that_it_says():
    page = (Path(__file__).parents[2] / "docs" / "stat.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    names = {}
    exec(block, names)
    said = re.findall(r"^print\((.+)\)  # (\([^)]*\))", block, re.MULTILINE)
    assert len(said) == 5
    assert [tuple(eval(value, names)) for value, _ in said] == [ast.literal_eval(shape) for _, shape in said]
