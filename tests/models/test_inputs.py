"""The input stage: place and time embeddings, differences and shift, before every model that reads a grid."""

import math
import re

import pytest
import torch

from raising import error_of
from stap.errors import ConfigError, ShapeError
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.build import build_model
from stap.models.inputs import InputStage, shifted, smooth_courses, smooth_maps, with_differences
from stap.recipes.settings import InputSettings, ModelSettings, STATSettings
from stap.recipes.streams import StreamSpec
from stap.text.special_ids import EOS

B, T, ROWS, COLUMNS, D = 2, 3, 3, 4, 5
R = ROWS * COLUMNS
KINDS = ("lstap", "lrcn", "lstap-stat", "stat")
OVER_A_GRID = STATSettings(
    global_from="grid", motion_from="differences", local_from="grid", positions=None, mask_attention=True, project_global=True
)


def stage(**settings):
    torch.manual_seed(2)
    return InputStage(InputSettings(**settings), D, (ROWS, COLUMNS), T + 1).double()


def build(kind, **inputs):
    torch.manual_seed(2)
    sizes = {"hidden_size": 4, "attention_size": 3, "embedding_size": 3, "dropout": 0.0}
    settings = ModelSettings(kind=kind, inputs=InputSettings(**inputs), stat=OVER_A_GRID, **sizes)
    return build_model(settings, {"grid": StreamSpec("grid", D, grid=(ROWS, COLUMNS), frames=T)}, vocabulary_size=9).double()


@pytest.fixture
def padding():
    return torch.tensor([[False, False, False], [False, False, True]])


@pytest.fixture
def grid(padding):
    torch.manual_seed(3)
    return torch.randn(B, T, R, D, dtype=torch.double).masked_fill(padding[..., None, None], 0)


def batch(grid, padding):
    return VideoBatch({"grid": grid}, {"grid": padding}, torch.arange(len(grid)))


def start(model, grid, padding):
    memory = model.encode(batch(grid, padding))
    return torch.cat([memory.start.h, memory.start.c], dim=1)


def test_by_default_the_grid_is_passed_on_and_nothing_is_learned(grid, padding):
    plain = stage().train()
    assert plain(grid, padding) is grid
    assert not plain.state_dict()
    assert plain.size == D


def test_each_place_and_each_frame_has_a_vector_added(grid, padding):
    both = stage(place_embedding=0.5, time_embedding=0.7)
    read = both(grid, padding)
    for b in range(B):
        for t in range(T):
            for j in range(R):
                expected = grid[b, t, j] + both.place_embedding[j] + both.time_embedding[t]
                torch.testing.assert_close(read[b, t, j], torch.zeros(D).double() if padding[b, t] else expected)
    read.sum().backward()
    assert both.time_embedding.grad.sum(1).tolist() == [
        2.0 * R * D,
        2.0 * R * D,
        1.0 * R * D,
        0.0,
    ]  # no video has the last frame


def test_with_differences_their_half_is_marked_too(grid, padding):
    marked, plain = stage(place_embedding=0.5, differences=True), stage(differences=True)
    assert marked.size == 2 * D
    expected = plain(grid, padding) + marked.place_embedding
    torch.testing.assert_close(marked(grid, padding), expected.masked_fill(padding[..., None, None], 0))


def test_embeddings_begin_with_the_deviation_asked_for():
    both = stage(place_embedding=1.5, time_embedding=0.5, differences=True)
    assert both.place_embedding.shape == (R, 2 * D)
    assert both.time_embedding.shape == (T + 1, 2 * D)
    torch.testing.assert_close(both.place_embedding.std(dim=0, correction=0), torch.full((2 * D,), 1.5).double())
    torch.testing.assert_close(both.time_embedding.std(dim=0, correction=0), torch.full((2 * D,), 0.5).double())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inputs", [{"place_embedding": 0.5, "time_embedding": 0.7}, {"differences": True}])
def test_every_model_over_a_grid_reads_what_the_stage_gives(kind, inputs, grid, padding):
    if kind == "stat" and "differences" in inputs:
        pytest.skip("STAT has differences of its own")
    model = build(kind, **inputs)
    prepared = model.inputs(grid, padding)
    without = build(kind) if "differences" not in inputs else None
    if without is not None:
        without.load_state_dict({name: value for name, value in model.state_dict().items() if not name.startswith("inputs.")})
        torch.testing.assert_close(start(model, grid, padding), start(without, prepared, padding))
        assert not torch.allclose(start(model, grid, padding), start(without, grid, padding))
    else:
        torch.testing.assert_close(model.encode(batch(grid, padding)).embedding, model.encoder(prepared, padding).h)
    captions = CaptionBatch(torch.tensor([[4, 5, EOS], [6, 7, EOS]]))
    model.loss(batch(grid, padding), captions).total.backward()
    assert all(bool(parameter.grad.abs().sum() > 0) for parameter in model.inputs.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind, grid, padding):
    model = build(kind, place_embedding=0.5, time_embedding=0.7, differences=kind != "stat").eval()
    alone = start(model, grid[1:, :2], padding[1:, :2])
    torch.testing.assert_close(start(model, grid, padding)[1:], alone)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_shifts_the_grid_in_training_only(kind, grid, padding, monkeypatch):
    model, still = build(kind, place_embedding=0.5, shift=2), build(kind, place_embedding=0.5)
    assert torch.equal(start(model.eval(), grid, padding), start(still.eval(), grid, padding))
    model.train()
    monkeypatch.setattr(torch, "randint", lambda *_, **__: torch.tensor([[1, 0], [-2, 1]]))  # down, right
    by_hand = torch.stack([moved(grid[0], 1, -2), moved(grid[1], 0, 1)])
    torch.testing.assert_close(start(model, grid, padding), start(still, by_hand, padding))


def moved(grid, down, right):
    """(T, R, D) by plain indexing."""
    frames, _, size = grid.shape
    picture = grid.view(frames, ROWS, COLUMNS, size)
    out = torch.empty_like(picture)
    for i in range(ROWS):
        for j in range(COLUMNS):
            out[:, i, j] = picture[:, min(max(i - down, 0), ROWS - 1), min(max(j - right, 0), COLUMNS - 1)]
    return out.view(frames, R, size)


def test_a_shift_equals_plain_indexing():
    torch.manual_seed(0)
    down, right = torch.tensor([0, 1, -2, 2, 5]), torch.tensor([0, -1, 2, 0, -7])
    grid = torch.randn(5, 2, R, 3)
    got = shifted(grid, (ROWS, COLUMNS), down, right)
    for b in range(5):
        assert torch.equal(got[b], moved(grid[b], int(down[b]), int(right[b])))


def test_in_training_every_video_moves_by_what_is_drawn_and_evaluation_by_nothing():
    torch.manual_seed(1)
    grid, padding = torch.arange(60 * R * D * 1.0).view(60, 1, R, D), torch.zeros(60, 1, dtype=torch.bool)
    shift = stage(shift=1)
    first, second = shift(grid, padding), shift(grid, padding)
    assert not torch.equal(first, second)
    seen = set()
    for b in range(60):
        [found] = [
            (down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if torch.equal(first[b], moved(grid[b], down, right))
        ]
        seen.add(found)
    assert len(seen) == 9
    assert shift.eval()(grid, padding) is grid


def test_each_place_with_its_change():
    grid, padding = torch.randn(2, 4, 3, 5), torch.tensor([[False] * 4, [False, False, True, True]])
    read = with_differences(grid, padding)
    assert read.shape == (2, 4, 3, 10)
    for b in range(2):
        for t in range(4):
            for j in range(3):
                change = grid[b, t, j] - grid[b, t - 1, j] if t and not padding[b, t] else torch.zeros(5)
                assert read[b, t, j].tolist() == [*grid[b, t, j].tolist(), *change.tolist()]


def test_in_a_single_frame_nothing_has_changed():
    assert with_differences(torch.ones(1, 1, 2, 3), torch.zeros(1, 1, dtype=torch.bool))[..., 3:].tolist() == [
        [[[0.0] * 3] * 2]
    ]


def test_the_maps_are_standardised_plane_waves():
    rows, columns, count = 3, 4, 5
    torch.manual_seed(0)
    angles, numbers = torch.rand(count, dtype=torch.double).tolist(), torch.rand(count, dtype=torch.double).tolist()
    torch.manual_seed(0)
    maps = smooth_maps((rows, columns), count, 2.0)
    assert maps.shape == (rows * columns, count)
    for n in range(count):
        a, k = 2 * math.pi * angles[n], 1.5 * numbers[n]
        wave = []
        for i in range(rows):
            for j in range(columns):
                y, x = -1 + 2 * i / (rows - 1), -1 + 2 * j / (columns - 1)
                wave.append(math.sin(k * (math.cos(a) * y + math.sin(a) * x)))
        mean = sum(wave) / len(wave)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in wave) / len(wave))
        assert maps[:, n].tolist() == pytest.approx([2 * (value - mean) / deviation for value in wave], abs=1e-5)


def test_neighbours_begin_alike_and_the_far_ends_apart():
    torch.manual_seed(0)
    maps = smooth_maps((6, 6), 400, 1.0).view(6, 6, 400)
    beside = (maps[:, 1:] * maps[:, :-1]).mean().item()
    opposite = (maps[0, 0] * maps[5, 5]).mean().item()
    assert beside > 0.8
    assert opposite < -0.5


@pytest.mark.parametrize("grid_size", [(1, 1), (1, 5), (5, 1)])
def test_a_narrow_grid_gives_numbers(grid_size):
    torch.manual_seed(0)
    maps = smooth_maps(grid_size, 200, 0.5)
    assert maps.isfinite().all()
    expected = 0.0 if grid_size == (1, 1) else 0.5
    torch.testing.assert_close(maps.std(dim=0, correction=0), torch.full((200,), expected))


def test_the_courses_are_standardised_waves():
    frames, count = 5, 4
    torch.manual_seed(0)
    frequencies, phases = torch.rand(count, dtype=torch.double).tolist(), torch.rand(count, dtype=torch.double).tolist()
    torch.manual_seed(0)
    courses = smooth_courses(frames, count, 2.0)
    assert courses.shape == (frames, count)
    for n in range(count):
        wave = [math.sin(6 * frequencies[n] * (-1 + 2 * t / 4) + 2 * math.pi * phases[n]) for t in range(frames)]
        mean = sum(wave) / frames
        deviation = math.sqrt(sum((value - mean) ** 2 for value in wave) / frames)
        assert courses[:, n].tolist() == pytest.approx([2 * (value - mean) / deviation for value in wave], abs=1e-5)
    assert smooth_courses(1, 3, 2.0).tolist() == [[0.0] * 3]


@pytest.mark.parametrize("name", ["place_embedding", "shift"])
def test_a_grid_whose_rows_are_unknown_is_refused(name):
    for grid_size, known in (((6,), "have only the number of its places, 6"), (None, "have no grid size")):
        sentence = (
            f"model.inputs.{name} needs the rows and columns of the grid, but the features {known}. "
            f"Extract the grid with `stap extract`, or set model.inputs.{name} to 0."
        )
        with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
            build_model(
                ModelSettings(inputs=InputSettings(**{name: 1})),
                {"grid": StreamSpec("grid", 5, grid=grid_size)},
                vocabulary_size=9,
            )


def test_the_number_of_frames_must_be_stated():
    assert error_of(
        ConfigError,
        build_model,
        ModelSettings(inputs=InputSettings(time_embedding=0.5)),
        {"grid": StreamSpec("grid", 5)},
        vocabulary_size=9,
    ) == (
        "model.inputs.time_embedding needs the number of frames, which the features do not state. "
        "Extract the grid with `stap extract`, or set model.inputs.time_embedding to 0."
    )


def test_a_grid_of_another_size_is_named(padding):
    with pytest.raises(ShapeError, match=r"^grid \(2, 3, 5, 5\): expected 12 locations\.$"):
        stage(place_embedding=1.0)(torch.zeros(B, T, 5, D), padding)
    with pytest.raises(ShapeError, match=r"^grid \(2, 3, 5, 5\): expected 12 locations\.$"):
        stage(shift=1)(torch.zeros(B, T, 5, D), padding)
    with pytest.raises(ShapeError, match=r"^grid \(2, 5, 12, 5\): expected at most 4 frames\.$"):
        stage(time_embedding=1.0)(torch.zeros(B, 5, R, D), torch.zeros(B, 5, dtype=torch.bool))
