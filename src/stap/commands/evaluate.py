"""`stap evaluate`: captions and scores of a model on a split of its corpus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stap.commands.shared.console import warn
from stap.commands.shared.option_groups import with_option_groups
from stap.commands.shared.options import DeviceOption
from stap.commands.shared.outputs import result_file, writable_folder
from stap.commands.shared.scores_shown import (
    Drawing,
    note_wordless,
    plain,
    print_facts,
    print_retrieval,
    print_scores,
    print_variety,
)
from stap.files import json_text

if TYPE_CHECKING:
    from stap.experiments.evaluate import Evaluation
    from stap.scoring.resampling import Interval

DATA, RESULTS = "Data", "Results"


@dataclass(frozen=True)
class DataOptions:
    """Where captions and features are."""

    corpus: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the corpus, if not the recipe's.", rich_help_panel=DATA)
    ] = None
    store: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Feature store, if not the recipe's.", rich_help_panel=DATA)
    ] = None


@dataclass(frozen=True)
class ResultOptions:
    """What is written and printed."""

    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Also write JSON with captions, references and scores.", rich_help_panel=RESULTS
        ),
    ] = None
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write an HTML report with scores, clips, attention and curves.", rich_help_panel=RESULTS
        ),
    ] = None
    draws: Annotated[
        int, typer.Option(min=0, help="Bootstrap resamples for confidence intervals; 0: none.", rich_help_panel=RESULTS)
    ] = 0
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed of the resamples; nothing else is random.", rich_help_panel=RESULTS)
    ] = 0
    diagnose: Annotated[
        bool,
        typer.Option(
            "--diagnose", help="Also print lengths, distinct words and repetition of the captions.", rich_help_panel=RESULTS
        ),
    ] = False


@with_option_groups
def evaluate(
    model: Annotated[Path, typer.Option("--model", "-m", metavar="RUN", help="A folder that `stap train` wrote.")],
    data: DataOptions,
    results: ResultOptions,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    beam: Annotated[int | None, typer.Option(min=1, help="Beam width; 1 is greedy. Default: the model's recipe.")] = None,
    device: DeviceOption = "auto",
) -> None:
    """Caption a split of a model's corpus and score the captions.

    The features come from the store that `stap extract` filled. Scores are printed times 100, as in papers.
    """
    if results.report is not None:
        writable_folder(results.report.parent)  # said before the work, not after it
    with result_file(results.out) as file:
        from stap.experiments.evaluate import evaluate as evaluate_model
        from stap.features.device import choose_device

        chosen = choose_device(device)
        found = evaluate_model(model, split, corpus=data.corpus, store=data.store, beam_width=beam, device=chosen)
        ranges = Drawing(results.draws, seed=results.seed).intervals(found.scores)
        if results.out is not None:
            print(json_text(found.to_json() | plain("intervals", ranges)), file=file)
    if results.report is not None:
        from stap.reports.evaluation_page import EvaluatedSplit, write_evaluation_page

        evaluated = EvaluatedSplit(found.run, split, found.scores, data.corpus, data.store, beam, chosen)
        for remark in write_evaluation_page(results.report, evaluated, intervals=ranges):
            warn(remark)
    _print(found, ranges, results.diagnose)


def _print(found: Evaluation, ranges: Mapping[str, Interval] | None, diagnose: bool) -> None:
    note_wordless(found.words, str(found.run.folder))
    print(f"{found.run.folder}: {len(found.captions)} clips of split {found.split}")
    print_scores(found.scores.corpus, ranges)
    if found.retrieval:
        print_retrieval(found.retrieval)
    if found.facts:
        print_facts(found.facts)
    if diagnose:
        print_variety(found.variety())
