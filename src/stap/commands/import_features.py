"""`stap import-features`: precomputed features -> a feature store."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from stap.commands.shared.console import complain, interruptible, progress, say
from stap.commands.shared.options import UnusedDeviceOption, UnusedSeedOption


class StoredAs(StrEnum):
    """Type on disk."""

    float16 = "float16"
    float32 = "float32"


def import_features(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE",
            help="HDF5 (one dataset per video), .npy and .npz (one file per video), pickled dictionaries, or folders of them.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="STORE", help="Folder of the feature store.")],
    stream: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="grid (T, R, D), or (T, D): one location; frames (T, D), motion (D,) or (T, D), or regions (T, N, D).",
        ),
    ],
    mapping: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with an id of the source and the corpus's id on each line."),
    ] = None,
    stored_as: Annotated[StoredAs, typer.Option(help="Number format on disk.")] = StoredAs.float32,
    average: Annotated[
        int, typer.Option(min=1, metavar="N", help="Frames to average into one, for speed: 50 frames become 10 with 5.")
    ] = 1,
    device: UnusedDeviceOption = "auto",
    seed: UnusedSeedOption = None,
) -> None:
    """Import precomputed features into a feature store.

    Prints the setting for a recipe, features.imported.NAME=FOLDER. Nothing in the files is executed. Unusable arrays are listed at
    the end, and the exit status is then 1. The same command continues an interrupted run.
    """
    from stap.features.imported import import_features as import_into_store

    with interruptible("What is imported stays; run the same command again to continue."), progress("import") as report:
        kind: Literal["float16", "float32"] = "float16" if stored_as is StoredAs.float16 else "float32"
        result = import_into_store(sources, out, stream, mapping=mapping, stored_as=kind, average=average, on_progress=report)
    shape = ", ".join(map(str, result.store.fingerprint["shape"]))
    say(
        f"{result.store.folder}: {result.written} imported, {result.already_there} already there, {len(result.failed)} failed; "
        f"{stream} ({shape})."
    )
    for video_id, reason in result.failed:
        complain(f"{video_id}: {reason}")
    print(f"features.imported.{stream}={result.store.folder}")
    if result.failed:
        raise typer.Exit(1)
