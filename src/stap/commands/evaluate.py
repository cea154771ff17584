"""`stap evaluate`: captions and scores of a model on a split of its corpus."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stap.commands.shared.console import warn
from stap.commands.shared.options import DeviceOption
from stap.commands.shared.outputs import result_file, writable_folder
from stap.commands.shared.scores_shown import Drawing, note_wordless, plain, print_facts, print_scores, print_variety
from stap.files import json_text

if TYPE_CHECKING:
    from stap.experiments.evaluate import Evaluation
    from stap.scoring.resampling import Interval

DATA, RESULTS = "Data", "Results"


def evaluate(
    model: Annotated[Path, typer.Option("--model", "-m", metavar="RUN", help="A folder that `stap train` wrote.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Also write JSON with captions, references and scores.", rich_help_panel=RESULTS
        ),
    ] = None,
    beam: Annotated[int | None, typer.Option(min=1, help="Beam width; 1 is greedy. Default: the model's recipe.")] = None,
    corpus: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the corpus, if not the recipe's.", rich_help_panel=DATA)
    ] = None,
    store: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Feature store, if not the recipe's.", rich_help_panel=DATA)
    ] = None,
    draws: Annotated[
        int, typer.Option(min=0, help="Bootstrap resamples for confidence intervals; 0: none.", rich_help_panel=RESULTS)
    ] = 0,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write an HTML report with scores, clips, attention and curves.", rich_help_panel=RESULTS
        ),
    ] = None,
    diagnose: Annotated[
        bool,
        typer.Option(
            "--diagnose", help="Also print lengths, distinct words and repetition of the captions.", rich_help_panel=RESULTS
        ),
    ] = False,
    device: DeviceOption = "auto",
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed of the resamples; nothing else is random.", rich_help_panel=RESULTS)
    ] = 0,
) -> None:
    """Caption a split of a model's corpus and score the captions.

    The features come from the store that `stap extract` filled. Scores are printed times 100, as in papers.
    """
    if report is not None:
        writable_folder(report.parent)  # said before the work, not after it
    with result_file(out) as file:
        from stap.experiments.evaluate import evaluate as evaluate_model
        from stap.features.device import choose_device

        found = evaluate_model(model, split, corpus=corpus, store=store, beam_width=beam, device=choose_device(device))
        ranges = Drawing(draws, seed=seed).intervals(found.scores)
        if out is not None:
            print(json_text(found.to_json() | plain("intervals", ranges)), file=file)
    if report is not None:
        from stap.reports.evaluation_page import EvaluatedSplit, write_evaluation_page

        evaluated = EvaluatedSplit(found.run, split, found.scores, corpus, store, beam, choose_device(device))
        for remark in write_evaluation_page(report, evaluated, intervals=ranges):
            warn(remark)
    _print(found, ranges, diagnose)


def _print(found: Evaluation, ranges: Mapping[str, Interval] | None, diagnose: bool) -> None:
    note_wordless(found.words, str(found.run.folder))
    print(f"{found.run.folder}: {len(found.captions)} clips of split {found.split}")
    print_scores(found.scores.corpus, ranges)
    if found.facts:
        print_facts(found.facts)
    if diagnose:
        print_variety(found.variety())
