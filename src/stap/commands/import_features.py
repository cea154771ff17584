"""`stap import-features`: features that others made -> a feature store."""

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
            help="Files, and folders searched for them: HDF5 (a dataset a video), .npy and .npz (a file a video), pickles of a dictionary.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="STORE", help="Folder of the feature store.")],
    stream: Annotated[
        str, typer.Option(metavar="NAME", help="grid (T, R, D), frames (T, D), motion (D,) or (T, D), or regions (T, N, D).")
    ],
    mapping: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Lines of an id there and the id here: the ids of the source are replaced by it."),
    ] = None,
    stored_as: Annotated[StoredAs, typer.Option(help="Type on disk.")] = StoredAs.float32,
    device: UnusedDeviceOption = "auto",
    seed: UnusedSeedOption = None,
) -> None:
    """Import features that others made.

    The folder that it names is for a recipe: features.imported.NAME. Nothing that a file holds is run. An array that cannot be
    used does not stop the others; it is listed at the end, and the exit status is 1. Run the same line again to finish.
    """
    from stap.features.imported import import_features as import_into_store

    with interruptible("What is imported stays; run the same line again to continue."), progress("import") as report:
        kind: Literal["float16", "float32"] = "float16" if stored_as is StoredAs.float16 else "float32"
        result = import_into_store(sources, out, stream, mapping=mapping, stored_as=kind, on_progress=report)
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
