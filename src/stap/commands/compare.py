"""`stap compare`: STAT, its ablations, L-STAP and LRCN on generated videos, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stap.commands.shared.console import interruptible, say
from stap.commands.shared.options import DeviceOption, OverridesArgument
from stap.commands.shared.outputs import writable_folder


def compare(
    overrides: OverridesArgument = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write; a folder of `stap demo` is continued.")
    ] = Path("stap-comparison"),
    rows: Annotated[
        str | None, typer.Option(metavar="ROW,ROW", help="Only these rows: stat,lrcn ... A wrong name lists them.")
    ] = None,
    videos: Annotated[int | None, typer.Option(min=40, help="Generated videos; default: as many as `stap demo` makes.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of each row's training; default: the recipe's.")] = None,
    full: Annotated[bool, typer.Option("--full", help="More videos and epochs, as `stap demo --full`.")] = False,
    device: DeviceOption = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of every random choice.")] = 1,
) -> None:
    """Train the systems the same way on generated videos and write one table of what their captions get right.

    The same line continues after an interruption; rows that are finished are kept.
    """
    writable_folder(out)

    from dataclasses import replace

    from stap.experiments.demo import FULL, QUICK
    from stap.experiments.demo.compare import ROWS, rows_named
    from stap.experiments.demo.compare import compare as compare_systems
    from stap.features.device import choose_device

    size = FULL if full else QUICK
    with interruptible("Run the same line again; finished rows are kept."):
        comparison = compare_systems(
            out,
            size=replace(size, videos=videos or size.videos),
            rows=ROWS if rows is None else rows_named(rows),
            overrides=[*(overrides or []), *([] if epochs is None else [f"training.epochs={epochs}"])],
            device=choose_device(device),
            seed=seed,
            progress=say,
        )
    print(f"{comparison}\n\nTimes 100. Table: {out / 'comparison.md'}, everything: {out / 'comparison.json'}")
