"""`stap demo`: the whole path on generated videos."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from stap.commands.shared.console import interruptible, say
from stap.commands.shared.options import DeviceOption
from stap.commands.shared.outputs import writable_folder


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")] = Path("stap-demo"),
    full: Annotated[
        bool, typer.Option("--full", help="More videos and a larger model: about half an hour on two cores.")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Train the baseline (LRCN) for the same epochs and print both.")
    ] = False,
    device: DeviceOption = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 1,
) -> None:
    """Run the whole path on generated videos.

    Writes the corpus, the models, features, captions, metrics.json and a report page to --out.
    """
    writable_folder(out)

    from stap.experiments.demo import FULL, QUICK, run_demo
    from stap.features.device import choose_device

    with interruptible("Run the same command again; finished stages are kept."):
        size = FULL if full else QUICK
        result = run_demo(out, size=size, compare=compare, device=choose_device(device), seed=seed, progress=say)
    print(f"\n{result}\n\nTry next:\n  {_program()} {result.try_next}")


def _program() -> str:
    """How to call stap from here: by its name, or by the path it was started with where that is not on PATH."""
    return "stap" if shutil.which("stap") else shlex.quote(sys.argv[0])
