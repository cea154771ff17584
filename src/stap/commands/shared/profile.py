"""`--profile`: a trace of what a command does, and a table of where the time went.

The parts are ranges of `torch.profiler.record_function` in the rooms below. What threads do meanwhile (reading, decoding) shows as the time
that the command waits for them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from stap.commands.shared.console import say

if TYPE_CHECKING:
    from torch.profiler import profile

__all__ = [
    "FIRST_UPDATE",
    "LAST_UPDATE",
    "CaptionProfileOption",
    "TrainProfileOption",
    "profiled",
    "profiled_updates",
    "table_of",
]

Result = TypeVar("Result")

FIRST_UPDATE, LAST_UPDATE = 11, 30
CAPTION_TRACE = Path("stap-profile.json")
"""In the current folder."""

PARTS = (
    "loading the model",
    "waiting for features",
    "waiting for decoded videos",
    "networks of the features",
    "features to float32",
    "encoder",
    "decoder and losses",
    "captions",
    "backward",
    "optimizer",
    "validation",
)
"""Names of ranges; within each other, the inner one has the time."""

TrainProfileOption = Annotated[
    bool,
    typer.Option(
        "--profile",
        help=f"Also print where the time of updates {FIRST_UPDATE} to {LAST_UPDATE} went, and write their trace, profile.json, into --out.",
    ),
]
CaptionProfileOption = Annotated[
    bool,
    typer.Option(
        "--profile",
        help=f"Also print where the time went, and write a trace, {CAPTION_TRACE}, into the current folder. For a few files: it grows with each.",
    ),
]


@contextmanager
def profiled(is_wanted: bool) -> Iterator[None]:
    """Profile all of the block, if wanted, and say where the time went."""
    if not is_wanted:
        yield
        return
    with _profiler(CAPTION_TRACE, "the whole command"):
        yield


def profiled_updates(train: Callable[..., Result], recipe: Any, out: Path, **options: Any) -> Result:
    """`train(recipe, out, **options)`; the first process profiles updates FIRST_UPDATE to LAST_UPDATE, or those up to the end."""
    from torch.profiler import schedule

    from stap.training.processes import is_first_process
    from stap.training.step import after_update

    if not is_first_process():
        return train(recipe, out, **options)
    window = schedule(wait=FIRST_UPDATE - 2, warmup=1, active=LAST_UPDATE - FIRST_UPDATE + 1, repeat=1)
    with _profiler(out / "profile.json", f"updates {FIRST_UPDATE} to {LAST_UPDATE}, or to the last one,", window) as profiler:
        after_update.append(profiler.step)
        try:
            return train(recipe, out, **options)
        finally:
            after_update.remove(profiler.step)


@contextmanager
def _profiler(trace: Path, title: str, schedule: Any = None) -> Iterator[profile]:
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's library writes about its own work to stderr
    import torch
    from torch.profiler import ProfilerActivity, profile

    done = []

    def report(profiler: profile) -> None:
        done.append(trace)
        profiler.export_chrome_trace(str(trace))
        say(f"Where the time of {title} went:")
        for line in table_of(json.loads(trace.read_bytes())["traceEvents"]).splitlines():
            say(line)
        say(f"Trace, for ui.perfetto.dev or chrome://tracing: {trace}")

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with profile(activities=activities, schedule=schedule, on_trace_ready=report) as profiler:
        yield profiler
    if not done:
        say(f"Nothing was profiled: there were fewer than {FIRST_UPDATE} updates.")


def table_of(events: Sequence[Mapping[str, Any]]) -> str:
    """Seconds and share of each part, in the order of PARTS, and what is in none of them.

    events: of a trace, as JSON: those of parts have a name, a thread (tid), and a beginning (ts) and duration (dur) in microseconds.
    """
    from stap.reports.text_table import text_table

    timed = [event for event in events if event.get("ph") == "X" and event.get("cat") in ("cpu_op", "user_annotation")]
    ranges = [event for event in timed if event["name"] in PARTS]
    seconds = dict.fromkeys(PARTS, 0.0)
    enclosing: list[Mapping[str, Any]] = []
    for event in sorted(ranges, key=lambda event: (event["tid"], event["ts"], -event["dur"])):
        while enclosing and (enclosing[-1]["tid"] != event["tid"] or _end(enclosing[-1]) <= event["ts"]):
            enclosing.pop()
        seconds[event["name"]] += event["dur"] / 1e6
        if enclosing:
            seconds[enclosing[-1]["name"]] -= event["dur"] / 1e6
        enclosing.append(event)
    whole = (max(map(_end, timed), default=0) - min((event["ts"] for event in timed), default=0)) / 1e6
    rows = [(name, spent) for name, spent in seconds.items() if spent > 0]
    rows += [("other", whole - sum(seconds.values())), ("all", whole)]
    return text_table([(name, f"{spent:.3f} s", f"{100 * spent / (whole or 1):.0f} %") for name, spent in rows])


def _end(event: Mapping[str, Any]) -> float:
    return float(event["ts"] + event["dur"])
