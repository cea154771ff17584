"""The shift of grids in training."""

import re

import pytest
import torch

from stap.errors import ConfigError, ShapeError
from stap.models.batch import VideoBatch
from stap.models.build import build_model
from stap.models.grid_shift import GridShift, shifted
from stap.recipes.settings import ModelSettings, STATSettings

ROWS, COLUMNS = 3, 4
OVER_A_GRID = STATSettings(
    global_from="grid", motion_from="differences", local_from="grid", positions=None, mask_attention=True, project_global=True
)


def moved(grid, down, right):
    """(T, R, D) by plain indexing."""
    T, _, D = grid.shape
    picture = grid.view(T, ROWS, COLUMNS, D)
    out = torch.empty_like(picture)
    for i in range(ROWS):
        for j in range(COLUMNS):
            out[:, i, j] = picture[:, min(max(i - down, 0), ROWS - 1), min(max(j - right, 0), COLUMNS - 1)]
    return out.view(T, ROWS * COLUMNS, D)


def test_a_shift_equals_plain_indexing():
    torch.manual_seed(0)
    down, right = torch.tensor([0, 1, -2, 2, 5]), torch.tensor([0, -1, 2, 0, -7])
    grid = torch.randn(5, 2, ROWS * COLUMNS, 3)
    got = shifted(grid, (ROWS, COLUMNS), down, right)
    for b in range(5):
        assert torch.equal(got[b], moved(grid[b], int(down[b]), int(right[b])))


def test_in_training_every_video_moves_by_what_is_drawn_and_evaluation_by_nothing():
    torch.manual_seed(1)
    grid = torch.arange(60 * ROWS * COLUMNS * 2.0).view(60, 1, ROWS * COLUMNS, 2)
    shift = GridShift(1, (ROWS, COLUMNS))
    first, second = shift(grid), shift(grid)
    assert not torch.equal(first, second)
    seen = set()
    for b in range(60):
        [found] = [
            (down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if torch.equal(first[b], moved(grid[b], down, right))
        ]
        seen.add(found)
    assert len(seen) == 9
    assert shift.eval()(grid) is grid
    assert GridShift(0, None).train()(grid) is grid


@pytest.mark.parametrize("kind", ["lstap", "lrcn", "lstap-stat", "stat"])
def test_a_model_shifts_the_grid_in_training_only(kind, monkeypatch):
    def build(grid_shift):
        torch.manual_seed(2)
        sizes = {"hidden_size": 4, "attention_size": 3, "embedding_size": 3}
        settings = ModelSettings(kind=kind, location_bias=0.5, grid_shift=grid_shift, stat=OVER_A_GRID, **sizes)
        return build_model(settings, vocabulary_size=9, feature_sizes={"grid": 5}, grid_size=(ROWS, COLUMNS)).double()

    model, still = build(2), build(0)
    padding = torch.tensor([[False, False, False], [False, False, True]])
    grid = torch.randn(2, 3, ROWS * COLUMNS, 5, dtype=torch.double).masked_fill(padding[..., None, None], 0)
    videos = VideoBatch({"grid": grid}, {"grid": padding}, torch.arange(2))

    def states(model, videos):
        memory = model.encode(videos)
        return torch.cat([memory.start.h.flatten(), memory.start.c.flatten()])

    assert torch.equal(states(model.eval(), videos), states(still.eval(), videos))
    model.train()
    monkeypatch.setattr(torch, "randint", lambda *_, **__: torch.tensor([[1, 0], [-2, 1]]))  # down, right
    by_hand = torch.stack([moved(grid[0], 1, -2), moved(grid[1], 0, 1)])
    torch.testing.assert_close(
        states(model, videos), states(still, VideoBatch({"grid": by_hand}, {"grid": padding}, torch.arange(2)))
    )


def test_a_grid_whose_rows_are_not_known_is_refused():
    with pytest.raises(ValueError, match=r"^grid_shift 1 with grid_size \(12,\): expected \(rows, columns\)\.$"):
        GridShift(1, (12,))
    with pytest.raises(ShapeError, match=r"^grid \(1, 2, 5, 3\): expected 12 locations\.$"):
        GridShift(1, (ROWS, COLUMNS))(torch.zeros(1, 2, 5, 3))
    sentence = (
        "model.grid_shift needs the rows and columns of the grid, and the features tell only its number of locations, 12. "
        "Extract the grid with `stap extract`, or set model.grid_shift to 0."
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        build_model(ModelSettings(kind="lrcn", grid_shift=1), vocabulary_size=9, feature_size=5, grid_size=(12,))
