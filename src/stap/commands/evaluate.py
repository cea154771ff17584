"""`stap evaluate`: captions and scores of a model on a split of its corpus."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from stap.commands.options import DeviceOption, UnusedSeedOption
from stap.commands.outputs import result_file
from stap.commands.score import print_scores


def evaluate(
    model: Annotated[Path, typer.Option("--model", "-m", metavar="RUN", help="A folder that `stap train` wrote.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Also write JSON with captions, references and scores.")
    ] = None,
    beam: Annotated[int | None, typer.Option(min=1, help="Beam width; 1 is greedy. Default: the model's recipe.")] = None,
    corpus: Annotated[Path | None, typer.Option(metavar="DIR", help="The corpus, if it is not where the recipe says.")] = None,
    store: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The feature store, if it is not where the recipe says.")
    ] = None,
    device: DeviceOption = "auto",
    seed: UnusedSeedOption = None,
) -> None:
    """Caption a split of a model's corpus and score the captions.

    The features come from the store that `stap extract` filled. Scores are printed times 100, as in papers.
    """
    with result_file(out) as file:
        from stap.device import choose_device
        from stap.evaluation import evaluate as evaluate_model

        found = evaluate_model(model, split, corpus=corpus, store=store, beam_width=beam, device=choose_device(device))
        if out is not None:
            print(json.dumps(found.to_json(), indent=2, ensure_ascii=False), file=file)
    print(f"{model}: {len(found.captions)} clips of split {split}")
    print_scores(found.scores.corpus)
    if found.facts:
        print_facts(found.facts)


def print_facts(facts: Mapping[str, tuple[int, int]]) -> None:
    """A line a kind of fact, and one for all: how many of them the captions state."""
    recalled = sum(found for found, _ in facts.values())
    total = sum(present for _, present in facts.values())
    for kind, (found, present) in [*facts.items(), ("all", (recalled, total))]:
        print(f"facts, {kind:8} {100 * found / max(present, 1):6.2f}  ({found} of {present})")
