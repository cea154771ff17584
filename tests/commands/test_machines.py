"""Parts of the work: each video in one of them, whatever else is there."""

import unicodedata

import pytest

from raising import error_of
from stap.commands.shared.machines import MachineOptions, Shard
from stap.errors import ConfigError


@pytest.mark.parametrize("count", [1, 2, 7])
def test_each_name_is_in_one_part_and_parts_are_about_equal(count: int) -> None:
    shards = [Shard.named(f"{number}/{count}") for number in range(1, count + 1)]
    held = [[shard.holds(f"folder/video{number}.mp4") for shard in shards] for number in range(700)]
    assert all(sum(one) == 1 for one in held)
    sizes = [sum(column) for column in zip(*held, strict=True)]
    assert min(sizes) > 0.7 * 700 / count


def test_the_part_of_a_name_is_the_same_everywhere() -> None:
    """SHA-256 of the name in UTF-8, composed, its first 8 bytes as a number, modulo the number of parts."""
    names = ("a.mp4", "b.mp4", "c.mp4", "d/é.mp4")
    assert [Shard(number, 4).holds(name) for number, name in zip((1, 1, 2, 3), names, strict=True)] == [True] * 4
    assert Shard(3, 4).holds(unicodedata.normalize("NFD", "d/é.mp4"))
    assert sum(Shard(number, 2).holds("not\udcff UTF-8.mp4") for number in (1, 2)) == 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "1/4/2", "-1/4", "a/b", "", "1 / 4", "٣/٤", "Slurm"])
def test_what_is_no_part(text: str) -> None:
    assert error_of(ConfigError, Shard.named, text) == (
        f"--shard {text}: expected I/N, the I-th of N parts, such as 1/8 ... 8/8, or slurm."
    )


def array(task: int, count: int, **more: int) -> dict[str, str]:
    given = {"ID": task, "COUNT": count, **more}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in given.items()}


@pytest.mark.parametrize("tasks", [range(8), range(1, 9), range(4, 12), range(0, 16, 2), range(3, 27, 3)])
@pytest.mark.parametrize("is_whole", [True, False])
def test_the_tasks_of_a_slurm_array_do_each_part_once(tasks: range, is_whole: bool) -> None:
    more = {"MIN": tasks[0], "MAX": tasks[-1], "STEP": tasks.step} if is_whole else {"STEP": tasks.step}
    shards = [Shard.named("slurm", array(task, len(tasks), **more)) for task in tasks]
    assert {shard.count for shard in shards} == {8}
    assert sorted(shard.number for shard in shards) == list(range(1, 9))
    if is_whole:
        assert shards[0].number == 1


def test_slurm_is_asked_only_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in array(1, 4).items():
        monkeypatch.setenv(name, value)
    assert MachineOptions().part() is None
    assert MachineOptions("2/3").part() == Shard(2, 3)
    assert MachineOptions("slurm").part() == Shard(2, 4)


def test_arrays_that_would_leave_parts_out() -> None:
    assert error_of(ConfigError, Shard.named, "slurm", {}) == (
        "--shard slurm: SLURM_ARRAY_TASK_ID is '', expected a number. Start an array, such as `sbatch --array=1-8`, or name the part: "
        "--shard I/N."
    )
    again = "Expected at least two and none left out, such as `sbatch --array=1-8`. To run some parts again, name each: --shard I/N."
    assert error_of(ConfigError, Shard.named, "slurm", array(3, 3, MIN=1, MAX=7, STEP=1)) == (
        f"--shard slurm: the array has 3 tasks, from 1 to 7. {again}"
    )
    assert error_of(ConfigError, Shard.named, "slurm", array(5, 1, MIN=5, MAX=5)) == (
        f"--shard slurm: the array has 1 tasks, from 5 to 5. {again}"
    )
