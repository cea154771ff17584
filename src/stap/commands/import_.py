"""`stap import`: a published checkpoint -> a model folder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stap.commands.shared.options import RunOption, UnusedDeviceOption, UnusedSeedOption
from stap.commands.shared.outputs import writable_folder


class Kind(StrEnum):
    """What can be imported."""

    STAT_NPZ = "stat-npz"


def import_(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="stat-npz: the checkpoint that the authors of STAT released.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The checkpoint, model_best_so_far.npz.")],
    words: Annotated[
        Path, typer.Option(metavar="FILE", help="Vocabulary, word to number: the authors' worddict.pkl, or the same as .json.")
    ],
    out: RunOption,
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Feature store of `stap import-features` with the authors' frames, motion and regions."
        ),
    ] = None,
    device: UnusedDeviceOption = "auto",
    seed: UnusedSeedOption = None,
) -> None:
    """Convert a published checkpoint into a model folder.

    Nothing in the files is executed. Every tensor's name and shape is checked.
    """
    writable_folder(out)

    from stap.captioning.import_stat import import_stat_npz

    run = import_stat_npz(file, words, out, features=features)
    count = sum(parameter.numel() for parameter in run.model.parameters())
    print(f"{out}: {count:,} parameters, {len(run.vocabulary):,} words")
    if features is None:
        print("To evaluate it, import its features (stap import-features) and run this command again with --features DIR.")
