import pytest
import torch

from stap.errors import ShapeError
from stap.models.build import build_model
from stap.models.lrcn import LRCN
from stap.models.lstap import LSTAP, RecurrenceWeights, pooled_recurrence
from stap.recipes.settings import ModelSettings
from stap.recipes.streams import StreamSpec

B, T, R, D, H, A = 2, 4, 3, 5, 4, 3


def make(pooling, **options):
    torch.manual_seed(3)
    module = LSTAP(D, H, pooling=pooling, attention_size=A, **options).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))  # biases and start states away from 0
    return module


@pytest.fixture
def grid():
    torch.manual_seed(4)
    return torch.randn(B, T, R, D, dtype=torch.double)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_equals_the_papers_equations(pooling, grid, reference):
    module = make(pooling)
    pooled = module(grid)
    start = torch.tanh(module.learned_start).tolist()
    for b in range(B):
        states, c, weights = reference.lstap(
            grid[b].tolist(),
            start[:H],
            start[H:],
            module.input_weight.tolist(),
            module.input_bias.tolist(),
            module.recurrent_weight.tolist(),
            None if pooling == "mean" else module.score_weight.tolist(),
        )
        torch.testing.assert_close(pooled.states[b], torch.tensor(states, dtype=torch.double), atol=1e-10, rtol=0)
        torch.testing.assert_close(pooled.h[b], torch.tensor(states[-1], dtype=torch.double), atol=1e-10, rtol=0)
        torch.testing.assert_close(pooled.c[b], torch.tensor(c, dtype=torch.double), atol=1e-10, rtol=0)
        if pooling == "attention":
            torch.testing.assert_close(pooled.weights[b], torch.tensor(weights, dtype=torch.double), atol=1e-10, rtol=0)
        else:
            assert pooled.weights is None


def test_start_state_from_motion(grid, reference):
    module = make("mean", motion_size=6)
    motion = torch.randn(B, 6, dtype=torch.double)
    pooled = module(grid, motion=motion)
    linear = module.start_from_motion
    for b in range(B):
        start = torch.tanh(
            torch.tensor(reference.times(linear.weight.tolist(), motion[b].tolist()), dtype=torch.double) + linear.bias
        ).tolist()
        states, c, _ = reference.lstap(
            grid[b].tolist(),
            start[:H],
            start[H:],
            module.input_weight.tolist(),
            module.input_bias.tolist(),
            module.recurrent_weight.tolist(),
        )
        torch.testing.assert_close(pooled.states[b], torch.tensor(states, dtype=torch.double), atol=1e-10, rtol=0)
        torch.testing.assert_close(pooled.c[b], torch.tensor(c, dtype=torch.double), atol=1e-10, rtol=0)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
@pytest.mark.slow
def test_gradients(pooling, grid):
    module = make(pooling)
    padding = torch.tensor([[False] * T, [False] * (T - 1) + [True]])
    h, c = torch.randn(2, B, H, dtype=torch.double)
    weights = [module.input_weight, module.input_bias, module.recurrent_weight, module.score_weight]
    inputs = [None if t is None else t.detach().clone().requires_grad_() for t in (grid, h, c, *weights)]

    def states(grid, h, c, *weights):
        return pooled_recurrence(grid, RecurrenceWeights(*weights), h, c, padding)[:2]

    assert torch.autograd.gradcheck(states, inputs)


def test_a_second_backward_through_the_same_graph_gives_the_same_gradients(grid):
    module = make("attention")
    loss = module(grid).states.square().sum()
    first = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    second = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_padding_changes_nothing_and_a_batch_equals_its_items(pooling, grid):
    module = make(pooling)
    padding = torch.tensor([[False] * T, [False, False, True, True]])
    garbage = grid.clone()
    garbage[1, 2:] = 1e3
    together = module(garbage, padding)
    for b, length in ((0, T), (1, 2)):
        alone = module(grid[b : b + 1, :length])
        torch.testing.assert_close(together.states[b, :length], alone.states[0], atol=1e-12, rtol=0)
        torch.testing.assert_close(together.h[b], alone.h[0], atol=1e-12, rtol=0)
        torch.testing.assert_close(together.c[b], alone.c[0], atol=1e-12, rtol=0)


def test_weights_sum_to_one_and_follow_the_locations(grid):
    module = make("attention")
    order = torch.tensor([2, 0, 1])
    plain, shuffled = module(grid), module(grid[:, :, order])
    assert bool((plain.weights > 0).all())
    torch.testing.assert_close(plain.weights.sum(-1), torch.ones(B, T, dtype=torch.double))
    torch.testing.assert_close(plain.weights[:, :, order], shuffled.weights, atol=1e-12, rtol=0)
    torch.testing.assert_close(plain.states, shuffled.states, atol=1e-12, rtol=0)


def test_attention_over_equal_locations_is_mean_pooling(grid):
    attention = make("attention")
    mean = make("mean")
    with torch.no_grad():
        mean.input_weight.copy_(attention.input_weight[: 4 * H])
        mean.input_bias.copy_(attention.input_bias[: 4 * H])
        mean.recurrent_weight.copy_(attention.recurrent_weight[: 4 * H])
        mean.learned_start.copy_(attention.learned_start)
    same = grid[:, :, :1].expand(B, T, R, D)
    torch.testing.assert_close(attention(same).states, mean(same).states, atol=1e-12, rtol=0)


def test_lrcn_is_an_lstm_over_averaged_frames(grid):
    torch.manual_seed(5)
    module = LRCN(D, H).double()
    lstm = torch.nn.LSTM(D, H, batch_first=True).double()
    order = torch.cat(
        [torch.arange(0, 2 * H), torch.arange(3 * H, 4 * H), torch.arange(2 * H, 3 * H)]
    )  # i, f, o, n -> i, f, n, o
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(module.lstm.input_weight[order])
        lstm.weight_hh_l0.copy_(module.lstm.recurrent_weight[order])
        lstm.bias_ih_l0.copy_(module.lstm.input_bias[order])
        lstm.bias_hh_l0.zero_()
    pooled = module(grid)
    states, (_, c) = lstm(grid.mean(2))
    torch.testing.assert_close(pooled.states, states, atol=1e-10, rtol=0)
    torch.testing.assert_close(pooled.c, c[0], atol=1e-10, rtol=0)
    assert pooled.weights is None


def test_bfloat16_autocast_stays_near_float32(grid):
    module = make("attention").float()
    exact = module(grid.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = module(grid.float())
        rounded.states.sum().backward()
    assert (exact.states - rounded.states).abs().max().item() < 0.05
    assert all(bool(parameter.grad.isfinite().all()) for parameter in module.parameters())


def test_wrong_shapes_are_named(grid):
    with pytest.raises(ShapeError, match=r"^grid \(2, 4, 5\): expected \(B, T, R, 5\)\.$"):
        make("mean")(grid[:, :, 0])
    with pytest.raises(ValueError, match=r"^the motion stream is missing: expected \(B, 6\)\.$"):
        make("mean", motion_size=6)(grid)
    with pytest.raises(ShapeError, match=r"^motion \(2, 7\): expected \(2, 6\)\.$"):
        make("mean", motion_size=6)(grid, motion=torch.zeros(2, 7).double())
    with pytest.raises(ValueError, match=r"^pooling 'max': expected 'mean' or 'attention'\.$"):
        LSTAP(D, H, pooling="max")


@pytest.mark.parametrize("kind", ["lstap", "lrcn", "lstap-stat"])
def test_memory_frames_begin_the_encoder_s_gates_and_nothing_else(kind):
    def build(**options):
        torch.manual_seed(7)
        settings = ModelSettings(kind=kind, hidden_size=200, attention_size=4, embedding_size=4, forget_bias=1.5, **options)
        return build_model(settings, {"grid": StreamSpec("grid", 4)}, vocabulary_size=9)

    model, before = build(memory_frames=12), build()
    lstm = model.encoder.lstm if kind == "lrcn" else model.encoder
    plain = before.encoder.lstm if kind == "lrcn" else before.encoder
    entering, forget, rest = lstm.input_bias[:200], lstm.input_bias[200:400], lstm.input_bias[400:]
    assert torch.equal(entering, -forget)
    assert (rest == 0).all()
    assert (plain.input_bias[200:400] == 1.5).all()
    times = forget.exp()  # uniform from 1 to 11
    assert 1 <= times.min() < 1.5
    assert 10.5 < times.max() <= 11
    assert times.mean().item() == pytest.approx(6, abs=0.7)  # the mean of 200 has a standard deviation of 0.2
    assert (model.sentence_encoder.lstm.input_bias[200:400] == 1.5).all()
    assert (model.decoder.word_gates.bias[200:400] == 1.5).all()


def test_too_few_memory_frames_are_refused():
    with pytest.raises(ValueError, match=r"^memory_frames 2: expected at least 3\.$"):
        LSTAP(D, H, memory_frames=2)
