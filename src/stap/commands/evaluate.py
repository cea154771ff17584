"""`stap evaluate`: captions and scores of a model on a split of its corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stap.commands.options import DeviceOption, ModelOption, UnusedSeedOption


def evaluate(
    model: ModelOption,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="JSON file for captions and scores.")] = None,
    beam: Annotated[int | None, typer.Option(min=1, help="Beam width; 1 is greedy. Default: the model's recipe.")] = None,
    device: DeviceOption = "auto",
    seed: UnusedSeedOption = None,
) -> None:
    """Caption a split of the model's corpus and score the captions."""
    raise NotImplementedError
