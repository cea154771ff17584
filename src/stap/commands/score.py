"""`stap score`: captions of any system against references."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stap.commands.options import UnusedDeviceOption, UnusedSeedOption


def score(
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS", help="JSON: video id -> caption, or a list of objects.")
    ],
    references: Annotated[
        Path, typer.Argument(metavar="REFERENCES", help="JSON: video id -> captions, or a corpus' captions.")
    ],
    device: UnusedDeviceOption = "auto",
    seed: UnusedSeedOption = None,
) -> None:
    """Score captions from any system with BLEU, METEOR, ROUGE-L and CIDEr."""
    raise NotImplementedError
