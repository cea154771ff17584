"""`stap scenes`: write the generated corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stap.commands.console import interruptible, progress, say
from stap.commands.options import UnusedDeviceOption
from stap.commands.outputs import writable_folder


def scenes(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write, in MSR-VTT's own layout.")],
    videos: Annotated[int, typer.Option(min=1, help="Number of videos.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and settings give the same corpus.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Videos written at the same time.")] = 2,
    device: UnusedDeviceOption = "auto",
) -> None:
    """Write a corpus of generated videos with captions and facts."""
    from stap.corpora.scenes import SceneDials, write_scenes

    with interruptible("Run the same line again."), progress("scenes") as report:
        corpus = write_scenes(
            writable_folder(out), videos=videos, seed=seed, dials=SceneDials(), workers=workers, on_progress=report
        )
    counts = ", ".join(f"{len(corpus.split(name))} {name}" for name in ("train", "validation", "test"))
    say(f"{len(corpus.clips)} videos in {out} ({counts}).")
