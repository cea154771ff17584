"""The table of `python -m benchmarks`, and that every run in it is understood by its script."""

from __future__ import annotations

import pytest
from benchmarks.__main__ import RUNS
from benchmarks.table import Row, against, markdown


def test_a_goal_is_reached_by_the_figure_that_is_printed() -> None:
    assert Row("a", "b", 1.104, goal=1.1).is_reached
    assert not Row("a", "b", 1.106, goal=1.1).is_reached
    assert Row("a", "b", 9.96, goal=10, at_least=True).is_reached is False
    assert Row("a", "b", 10.0, goal=10, at_least=True).is_reached
    assert Row("a", "b", 10.0).is_reached is None


def test_the_table_is_markdown() -> None:
    rows = [Row("a step", "alone", 1.234, goal=2.2, bound="memory", detail="9 ms"), Row("rate", "limit", 12.34, at_least=True)]
    assert markdown(rows).splitlines()[2:] == [
        "| a step | alone | 1.23 (9 ms) | at most 2.2 | yes | memory |",
        "| rate | limit | 12.3 |  |  |  |",
    ]


def test_a_ratio_is_the_median_of_rounds_after_one_to_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([9.0, 99.0, 1.0, 2.0, 1.0, 3.0, 2.0, 8.0])  # limit, call, limit, call ...
    monkeypatch.setattr("benchmarks.table.clocked", lambda call: next(seconds))
    assert against(list, list, repeats=3) == (3.0, 3.0)


@pytest.mark.parametrize("name", RUNS)
def test_every_script_takes_the_options_of_its_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = pytest.importorskip(f"benchmarks.{name}")
    for options in RUNS[name]:
        with pytest.raises(SystemExit) as left:
            module.rows(*options, "--help")
        assert left.value.code == 0
        assert "--help" in capsys.readouterr().out
