"""`stap reproduce`: the papers' tables, our rows beside the published numbers."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from stap.commands.shared.console import interruptible, say
from stap.commands.shared.options import DeviceOption, OverridesArgument
from stap.commands.shared.outputs import writable_folder
from stap.errors import ConfigError

FEWEST_TOLD = 50  # videos, of which progress is shown


class Tables(StrEnum):
    """The corpora whose tables are reproduced."""

    msvd = "msvd"
    msrvtt = "msrvtt"


def reproduce(
    name: Annotated[Tables, typer.Argument(metavar="NAME", help="msvd or msrvtt.")],
    overrides: OverridesArgument = None,
    root: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the corpus in its published layout.")] = None,
    videos: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the video files, if elsewhere.")] = None,
    captions: Annotated[
        list[Path] | None, typer.Option("--captions", metavar="FILE", help="A caption file; may be given several times.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder to write. Default: reproduce-NAME.")
    ] = None,
    rows: Annotated[
        str, typer.Option(metavar="ROW,ROW", help="papers, modern, all, or rows: lrcn,stat* ... A wrong name lists them.")
    ] = "papers",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each row; the table has their mean and deviation.")] = 1,
    weights: Annotated[
        list[str] | None,
        typer.Option("--weights", metavar="NETWORK=FILE", help="Weights of a network; may be given several times."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only print what would run, what is missing and where to get it.")
    ] = False,
    data: Annotated[int | None, typer.Option(metavar="N", min=3, help="Only N of the videos, for a trial run.")] = None,
    other_counts: Annotated[
        bool, typer.Option("--other-counts", help="The corpus may have other counts than are published.")
    ] = False,
    device: DeviceOption = "auto",
    seed: Annotated[int, typer.Option(min=0, help="The first seed; the others follow it.")] = 1,
) -> None:
    """Train and score the papers' rows on the corpus, and write a table with the published numbers beside ours.

    Checks the corpus, extracts the features that rows share, trains every row with every seed, and scores the test captions. The same
    line continues after an interruption. Ask with --plan first: it says what is missing and where to get it. The exit status is 1 if a
    row is not finished.
    """
    from stap.experiments.reproduce.request import Request
    from stap.experiments.reproduce.tables import rows_named

    place: dict[str, Any] = {"root": root, "videos": videos, "captions": tuple(captions or ())}
    request = Request(
        corpus=name.value,
        out=out or Path(f"reproduce-{name.value}"),
        rows=rows_named(rows),
        place={key: value for key, value in place.items() if value},
        weights=dict(_weights(text) for text in weights or []),
        overrides=tuple(overrides or ()),
        seeds=tuple(range(seed, seed + seeds)),
        limit=data,
        other_counts=other_counts,
    )
    request.recipes()  # wrong settings: before the work

    if plan:
        from stap.experiments.reproduce.plan import make_plan

        print(make_plan(request))
        return
    from stap.features.device import choose_device

    where = choose_device(device)
    writable_folder(request.out)
    from stap.experiments.reproduce.run import reproduce as run

    with interruptible("What is finished stays; run the same line again to continue."):
        found = run(request, device=where, say=say, on_progress=_tenths())
    print(f"{found}\n\nTimes 100. Table: {request.out / 'table.md'}, as a page: {request.out / 'table.html'}")
    if not found.is_complete:
        raise typer.Exit(1)


def _tenths() -> Callable[[str, int, int], None]:
    """A line on stderr at every tenth of the way of each stage."""
    last = ("", 0)

    def report(what: str, done: int, total: int) -> None:
        nonlocal last
        tenth = 10 * done // total if total else 10
        if total >= FEWEST_TOLD and (what, tenth) != last:
            say(f"  {what}: {done:,} of {total:,} videos")
        last = (what, tenth)

    return report


def _weights(text: str) -> tuple[str, Path]:
    network, equals, file = text.partition("=")
    if not (network and equals and file):
        raise ConfigError(f"--weights {text}: expected NETWORK=FILE, for example --weights i3d=weights/model.ckpt.")
    return network, Path(file)
