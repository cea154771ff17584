"""Progress lines, and seconds that survive an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stap.experiments import stages
from stap.experiments.stages import Stages, progress_lines


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock shows, one after the other."""
    times: list[float] = []
    monkeypatch.setattr(stages.time, "perf_counter", lambda: times.pop(0))
    return times


def test_seconds_of_several_runs_add_up(tmp_path: Path, clock: list[float]) -> None:
    clock += [0.0, 2.5, 10.0, 11.0, 20.0, 20.4]
    file, lines = tmp_path / "stages.json", []
    with pytest.raises(KeyboardInterrupt), Stages(file, lines.append).stage("training", "Training"):
        raise KeyboardInterrupt
    again = Stages(file, lines.append)
    with again.stage("training", "Training"):
        pass
    with again.stage("report", "Writing report.html"):
        pass
    assert again.seconds == json.loads(file.read_text()) == pytest.approx({"training": 3.5, "report": 0.4})
    assert lines == ["Training ...", "Training ...", "  1 s", "Writing report.html ...", "  0 s"]


def test_a_file_that_cannot_be_read_costs_only_the_times(tmp_path: Path) -> None:
    file = tmp_path / "stages.json"
    file.write_text("{")
    assert Stages(file, print).seconds == {}


def test_a_line_at_every_quarter() -> None:
    lines: list[str] = []
    report = progress_lines(lines.append, "videos")
    for done in range(1, 11):
        report(done, 10, "video")
    assert lines == ["  3 of 10 videos", "  5 of 10 videos", "  8 of 10 videos", "  10 of 10 videos"]
