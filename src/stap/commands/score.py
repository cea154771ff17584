"""`stap score`: captions of any system against references."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stap.commands.options import UnusedDeviceOption, UnusedSeedOption
from stap.commands.outputs import result_file

if TYPE_CHECKING:
    from collections.abc import Mapping


def score(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS", help="JSON with one caption a video, as `stap caption` or other systems write it."
        ),
    ],
    references: Annotated[
        Path,
        typer.Argument(
            metavar="REFERENCES", help="MSR-VTT's videodatainfo.json, MSVD's AllVideoDescriptions.txt, or JSON: id -> captions."
        ),
    ],
    split: Annotated[str | None, typer.Option(help="Of the references only this: train, validation or test.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Also write JSON with the scores of each video.")
    ] = None,
    device: UnusedDeviceOption = "auto",
    seed: UnusedSeedOption = None,
) -> None:
    """Score the captions of any system.

    BLEU, METEOR, ROUGE-L and CIDEr, as the COCO caption scorer computes them, printed times 100 as in papers.
    """
    from stap.scoring.metrics import Scorer
    from stap.scoring.predictions import read_predictions
    from stap.scoring.references import read_references

    captions = read_predictions(predictions)
    with Scorer(read_references(references, split=split, like=captions)) as scorer:
        scores = scorer.score(captions)
    if out is not None:
        with result_file(out) as file:
            print(json.dumps(dataclasses.asdict(scores), indent=2), file=file)
    print_scores(scores.corpus)


def print_scores(scores: Mapping[str, float]) -> None:
    """A line a score, times 100."""
    for name, value in scores.items():
        print(f"{name:8} {100 * value:6.2f}")
