"""`stap score`: captions of any system against references, alone or compared with another system's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stap.commands.shared.caption_sources import CaptionSource, read_source
from stap.commands.shared.console import say
from stap.commands.shared.option_groups import with_option_groups
from stap.commands.shared.options import UnusedDeviceOption
from stap.commands.shared.outputs import result_file
from stap.commands.shared.scores_shown import (
    Drawing,
    note_wordless,
    plain,
    print_comparison,
    print_differences,
    print_facts,
    print_scores,
    print_variety,
)
from stap.errors import ScoringError
from stap.files import json_text

if TYPE_CHECKING:
    from stap.scoring.cider import DocumentFrequencies
    from stap.scoring.metrics import Scorer, Scores
    from stap.scoring.resampling import Comparison

__all__ = ["score"]

REFERENCES, COMPARISONS, DOCUMENTS, INTERVALS = "References", "Comparisons", "Document frequencies", "Confidence intervals"


@dataclasses.dataclass(frozen=True)
class ReferenceOptions:
    """The location and the split of the references."""

    split: Annotated[
        str | None,
        typer.Option(help="Use only this split of the references: train, validation or test.", rich_help_panel=REFERENCES),
    ] = None
    captions: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of the caption files, for references such as msvd:test.", rich_help_panel=REFERENCES
        ),
    ] = None


@dataclasses.dataclass(frozen=True)
class ComparisonOptions:
    """Comparisons: a second system, people, the training captions."""

    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Predictions of a second system: differences and p-values.", rich_help_panel=COMPARISONS
        ),
    ] = None
    diagnose: Annotated[
        bool,
        typer.Option(
            "--diagnose", help="Also print lengths, distinct words and repetition of the captions.", rich_help_panel=COMPARISONS
        ),
    ] = False
    training: Annotated[
        str | None,
        typer.Option(
            metavar="REFERENCES",
            help="Training captions, to count novel captions; with --diagnose.",
            rich_help_panel=COMPARISONS,
        ),
    ] = None
    humans: Annotated[
        bool,
        typer.Option(
            "--humans", help="Also score one reference of each video against the others.", rich_help_panel=COMPARISONS
        ),
    ] = False


@dataclasses.dataclass(frozen=True)
class FrequencyOptions:
    """Document frequencies of another corpus."""

    frequencies: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Add CIDEr-fixed-df: CIDEr with the document frequencies of these captions (msvd:train, a file) or of a saved file.",
            rich_help_panel=DOCUMENTS,
        ),
    ] = None
    save_frequencies: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Save the document frequencies of --frequencies in this file.", rich_help_panel=DOCUMENTS
        ),
    ] = None


@dataclasses.dataclass(frozen=True)
class IntervalOptions:
    """How confidence intervals are computed."""

    draws: Annotated[
        int, typer.Option(min=0, help="Bootstrap resamples for confidence intervals; 0: none.", rich_help_panel=INTERVALS)
    ] = 2_000
    level: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Confidence level of the intervals.", rich_help_panel=INTERVALS)
    ] = 0.95
    seed: Annotated[
        int,
        typer.Option(
            min=0, help="Random seed of the resamples and of the references drawn by --humans.", rich_help_panel=INTERVALS
        ),
    ] = 0


@with_option_groups
def score(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS",
            help="One caption per video: JSON as `stap caption` or other systems write it, .jsonl, .tsv or .txt.",
        ),
    ],
    references: Annotated[
        str,
        typer.Argument(
            metavar="REFERENCES",
            help="MSR-VTT's videodatainfo.json, MSVD's AllVideoDescriptions.txt, JSON: id -> captions; or a split such as msvd:test.",
        ),
    ],
    where: ReferenceOptions,
    comparison: ComparisonOptions,
    frequencies: FrequencyOptions,
    interval: IntervalOptions,
    metrics: Annotated[str, typer.Option(metavar="NAMES", help="Some of bleu,meteor,rouge,cider.")] = "bleu,meteor,rouge,cider",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Also write JSON with the scores of each video.")
    ] = None,
    device: UnusedDeviceOption = "auto",
) -> None:
    """Score the captions of any system.

    BLEU, METEOR, ROUGE-L and CIDEr, as the COCO caption scorer computes them, printed times 100 as in papers, with bootstrap
    confidence intervals.
    """
    from stap.scoring.metrics import Scorer

    source, files = _read(predictions, comparison.against, references, where.captions, where.split)
    names = _metric_names(metrics)
    fixed = _frequencies(frequencies.frequencies, where.captions, frequencies.save_frequencies)
    training_captions = None if comparison.training is None else read_source(comparison.training, where.captions).references
    drawing = Drawing(interval.draws, interval.level, interval.seed)
    with result_file(out) as file, Scorer(source.references, names, frequencies=fixed, remember=True) as scorer:
        results = _score(scorer, files, source, drawing, humans=comparison.humans)
        if comparison.diagnose or training_captions is not None:
            results |= _variety(scorer, files, training_captions)
        if out is not None:
            print(json_text(results), file=file)


def _read(
    predictions: Path, against: Path | None, references: str, captions: Path | None, split: str | None
) -> tuple[CaptionSource, dict[Path, dict[str, str]]]:
    """The references, and the captions of one file or two."""
    from stap.scoring.predictions import predicted_names, read_predictions

    paths = [predictions] if against is None else [predictions, against]
    if against is not None and against.resolve() == predictions.resolve():
        raise ScoringError(f"{against}: is compared with itself. Name the predictions of another system.")
    source = read_source(references, captions, split=split, like=predicted_names(predictions))
    return source, {path: read_predictions(path, order=list(source.references)) for path in paths}


def _metric_names(given: str) -> list[str]:
    from stap.scoring.metrics import METRICS

    names = [name.strip().lower() for name in given.split(",") if name.strip()]
    if "spice" in names:
        raise ScoringError(f"--metrics {given}: stap does not compute SPICE. Name some of {', '.join(METRICS)}.")
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        what = f"unknown metric {', '.join(unknown)}" if unknown else "no metric is given"
        raise ScoringError(f"--metrics {given}: {what}. Name some of {', '.join(METRICS)}, with commas between them.")
    return names


def _frequencies(given: str | None, captions: Path | None, save: Path | None) -> DocumentFrequencies | None:
    if given is None:
        if save is not None:
            raise ScoringError("--save-frequencies needs --frequencies SOURCE, which says where to count. Give both.")
        return None
    from stap.scoring.cider import (
        FIXED,
        count_documents,
        is_frequencies_file,
        read_document_frequencies,
        write_document_frequencies,
    )

    found = (
        read_document_frequencies(given)
        if is_frequencies_file(given)
        else count_documents(read_source(given, captions).references, given)
    )
    say(f"{FIXED}: document frequencies of {found.corpus}, {found.videos} videos.")
    if save is not None:
        write_document_frequencies(save, found)
    return found


def _score(
    scorer: Scorer, files: Mapping[Path, Mapping[str, str]], source: CaptionSource, drawing: Drawing, *, humans: bool
) -> dict[str, Any]:
    """Score and print; returns what --out writes."""
    for path, predictions in files.items():
        _check(scorer, path, predictions)
    all_scores = {path: scorer.score(predictions) for path, predictions in files.items()}
    for path, predictions in files.items():
        note_wordless(scorer.words(predictions), str(path))
    path, scores = next(iter(all_scores.items()))
    ranges = drawing.intervals(scores)
    if ranges is not None:
        say(
            f"Confidence intervals: {100 * drawing.level:g} %, {drawing.draws} bootstrap resamples of {len(scores.per_video)} videos, seed {drawing.seed}."
        )
    print_scores(scores.corpus, ranges)
    results = scores.to_json() | plain("intervals", ranges)
    if source.clips:
        results |= _facts(source, files[path])
    if humans:
        results |= _humans(scorer, drawing)
    for other, second in list(all_scores.items())[1:]:
        results |= _compared(drawing, (path, scores), (other, second), list(files.values()), source.references)
    return results


def _check(scorer: Scorer, path: Path, predictions: Mapping[str, str]) -> None:
    try:
        scorer.check(predictions)
    except ScoringError as error:
        raise ScoringError(f"{path}: {error}") from error


def _facts(source: CaptionSource, predictions: Mapping[str, str]) -> dict[str, Any]:
    if not any(clip.facts for clip in source.clips):
        return {}
    from stap.experiments.facts import recall_facts

    facts = recall_facts(source.clips, predictions)
    print_facts(facts)
    return {"facts": {kind: {"recalled": recalled, "total": total} for kind, (recalled, total) in facts.items()}}


def _humans(scorer: Scorer, drawing: Drawing) -> dict[str, Any]:
    from stap.scoring.diagnosis import score_humans

    scores = score_humans(scorer, drawing.seed)
    left_out = len(scorer.ids) - len(scores.per_video)
    without = f"; {left_out} with a single reference left out" if left_out else ""
    print(f"\nhumans: one reference of each of {len(scores.per_video)} videos against the others{without}")
    ranges = drawing.intervals(scores)
    print_scores(scores.corpus, ranges)
    return {"humans": {"corpus": scores.corpus, "videos": len(scores.per_video)} | plain("intervals", ranges)}


def _compared(
    drawing: Drawing,
    first: tuple[Path, Scores],
    second: tuple[Path, Scores],
    captions: Sequence[Mapping[str, str]],
    references: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    from stap.scoring.diagnosis import largest_differences
    from stap.scoring.resampling import compare

    print(f"\n{second[0]}")
    print_scores(second[1].corpus, drawing.intervals(second[1]))
    found: dict[str, Comparison] = {}
    if drawing.draws and len(references) > 1:
        found = compare(first[1], second[1], level=drawing.level, draws=drawing.draws, seed=drawing.seed)
        print(f"\n{first[0]} minus {second[0]}")
        print_comparison(found, len(references))
    metric = "CIDEr" if "CIDEr" in first[1].corpus else next(reversed(first[1].corpus))
    print(f"\nwhere they differ most, by {metric}: {first[0]} first, {second[0]} second")
    differences = largest_differences(first[1], second[1], metric)
    print_differences(differences, metric, (captions[0], captions[1]), references)
    return {
        "against": {"file": str(second[0]), "scores": second[1].to_json()}
        | plain("comparison", found)
        | {"largest_differences": [dataclasses.asdict(one) for one in differences]}
    }


def _variety(
    scorer: Scorer, files: Mapping[Path, Mapping[str, str]], training: Mapping[str, Sequence[str]] | None
) -> dict[str, Any]:
    from stap.scoring.diagnosis import variety

    flat = None if training is None else [caption for group in training.values() for caption in group]
    known = None if flat is None else scorer.tokenizer.tokenize(flat, keep=True)
    found = {str(path): variety(scorer.words(predictions).values(), known) for path, predictions in files.items()}
    for path, one in found.items():
        print(f"\n{path}")
        print_variety(one)
    return {"variety": {path: dataclasses.asdict(one) for path, one in found.items()}}
