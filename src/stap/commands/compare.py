"""`stap compare`: `stap reproduce scenes` with one seed, under its earlier name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stap.commands.reproduce import run_table
from stap.commands.shared.options import DeviceOption, OverridesArgument


def compare(
    overrides: OverridesArgument = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write; a folder of `stap demo` is continued.")
    ] = Path("stap-comparison"),
    rows: Annotated[
        str | None, typer.Option(metavar="ROW,ROW", help="Only these rows: stat,lrcn ... A wrong name lists them.")
    ] = None,
    videos: Annotated[int | None, typer.Option(min=40, help="Generated videos; default: as many as `stap demo` makes.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Training epochs of each row; default: the recipe's.")] = None,
    full: Annotated[bool, typer.Option("--full", help="More videos and epochs, as `stap demo --full`.")] = False,
    device: DeviceOption = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 1,
) -> None:
    """Train STAT, its ablations, L-STAP and LRCN on generated videos and write one table: `stap reproduce scenes`.

    The same command continues after an interruption; finished rows are kept.
    """
    from stap.experiments.reproduce.request import Request
    from stap.experiments.reproduce.scene_rows import scene_size
    from stap.experiments.reproduce.tables import rows_named

    settings = (*(overrides or ()), *([] if epochs is None else [f"training.epochs={epochs}"]))
    request = Request(
        "scenes", out, rows_named("scenes", rows), overrides=settings, seeds=(seed,), scenes=scene_size(full, videos)
    )
    run_table(request, device)
