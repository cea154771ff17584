"""The table of --profile, from a trace. The commands themselves are in tests/test_cli.py."""

from __future__ import annotations

from stap.commands.shared.profile import table_of


def event(name: str, start: float, length: float, thread: int = 1, kind: str = "user_annotation") -> dict[str, object]:
    """Times in milliseconds."""
    return {"ph": "X", "cat": kind, "name": name, "tid": thread, "ts": 1000 * start, "dur": 1000 * length}


def test_each_moment_belongs_to_the_innermost_part() -> None:
    trace = [
        {"ph": "M", "name": "process_name"},
        event("aten::mm", 0, 50, kind="cpu_op"),
        event("decoder and losses", 100, 400),
        event("encoder", 150, 300),
        event("backward", 500, 250),
        event("ProfilerStep#3", 0, 1000),
        event("encoder", 500, 100, thread=2),
        event("an unknown range", 0, 900),
    ]
    assert table_of(trace).splitlines() == [
        "encoder             0.400 s   40 %",
        "decoder and losses  0.100 s   10 %",
        "backward            0.250 s   25 %",
        "other               0.250 s   25 %",
        "all                 1.000 s  100 %",
    ]


def test_a_trace_of_nothing_has_a_table() -> None:
    assert table_of([]).splitlines() == ["other  0.000 s  0 %", "all    0.000 s  0 %"]
