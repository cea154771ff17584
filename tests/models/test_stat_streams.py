"""Which positions are chosen, and what becomes motion where there is no motion network."""

import numpy as np
import pytest
import torch

from stap.models.batch import VideoBatch
from stap.models.stat.streams import STATStreams, select_positions
from stap.recipes.settings import STATSettings


def first_of_chunks(length: int, count: int) -> list[int]:
    """The rule as NumPy states it: parts as equal as possible, the longer ones first, of each the first."""
    return [int(part[0]) for part in np.array_split(np.arange(length), count)] if length >= count else list(range(length))


@pytest.mark.parametrize("count", [1, 7, 28, None])
def test_positions_are_the_first_of_equal_chunks(count):
    lengths = [30, 28, 10, 1, 57, 84, 29]
    T = max(lengths)
    padding = torch.arange(T) >= torch.tensor(lengths)[:, None]
    values = (torch.arange(T).float() + 1).expand(len(lengths), T).masked_fill(padding, 0)[..., None]
    chosen = select_positions("frames", values, padding, count)
    for b, length in enumerate(lengths):
        expected = first_of_chunks(length, count) if count else list(range(length))
        F = count or T
        assert chosen.values[b, :, 0].tolist() == [place + 1 for place in expected] + [0] * (F - len(expected))
        assert chosen.positions.indices[b, : len(expected)].tolist() == expected
        assert chosen.positions.is_padding[b].tolist() == [False] * len(expected) + [True] * (F - len(expected))


def test_the_rule_s_own_example():
    values = torch.arange(30.0)[None, :, None]
    chosen = select_positions("frames", values, torch.zeros(1, 30, dtype=torch.bool), 28)
    assert chosen.positions.indices[0].tolist() == [0, 2, *range(4, 30)]


def test_a_short_batch_is_filled_up_with_zeros():
    chosen = select_positions("frames", torch.ones(2, 3, 2, 4), torch.tensor([[False] * 3, [False, True, True]]), 5)
    assert chosen.values.shape == (2, 5, 2, 4)
    assert chosen.positions.is_padding.tolist() == [[False] * 3 + [True] * 2, [False] + [True] * 4]
    assert (chosen.values[:, 3:] == 0).all()


@pytest.mark.parametrize("count", [2, 4, 6])
def test_other_videos_of_the_batch_change_nothing(count):
    torch.manual_seed(0)
    values = torch.randn(2, 9, 3)
    values[0, 4:] = 0
    padding = torch.arange(9) >= torch.tensor([4, 9])[:, None]
    together = select_positions("frames", values, padding, count)
    alone = select_positions("frames", values[:1, :4], padding[:1, :4], count)
    assert torch.equal(together.values[:1], alone.values)
    assert torch.equal(together.positions.is_padding[:1], alone.positions.is_padding)


def batch(grid, lengths):
    padding = torch.arange(grid.shape[1]) >= torch.tensor(lengths)[:, None]
    return VideoBatch({"grid": grid.masked_fill(padding[..., None, None], 0)}, {"grid": padding}, torch.arange(len(grid)))


def streams(**options):
    settings = {"global_from": "grid", "local_from": "grid", "motion_from": "differences", "positions": 4} | options
    return STATStreams(STATSettings(**settings), {"grid": 3}, locations=2)


def test_differences_are_between_consecutive_frames_cell_by_cell():
    torch.manual_seed(1)
    grid = torch.randn(3, 5, 2, 3)
    lengths = [5, 3, 1]
    motion = streams().read(batch(grid, lengths))["motion"]
    assert streams().sizes == {"global": 3, "motion": 6, "local": 3}
    for b, length in enumerate(lengths):
        changes = [(grid[b, t + 1] - grid[b, t]).flatten().tolist() for t in range(length - 1)] or [[0.0] * 6]
        assert motion.values[b].tolist() == pytest.approx(np.array([*changes, *[[0.0] * 6] * (4 - len(changes))]))
        assert (~motion.positions.is_padding[b]).sum().item() == len(changes)


def test_a_batch_of_single_frames_has_one_position_without_change():
    motion = streams().read(batch(torch.randn(2, 1, 2, 3), [1, 1]))["motion"]
    assert (motion.values == 0).all()
    assert motion.positions.is_padding.tolist() == [[False, True, True, True]] * 2


def test_what_is_switched_off_is_not_read():
    grid = torch.randn(2, 4, 2, 3)
    read = streams(motion_from=None, local_from=None).read(batch(grid, [4, 4]))
    assert list(read) == ["global"]
    torch.testing.assert_close(read["global"].values, grid.mean(dim=2))
    assert streams(motion_from=None, local_from=None).sizes == {"global": 3}
