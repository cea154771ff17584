"""STAT, its ablations, L-STAP and LRCN trained the same way on the same generated videos, in one table.

    OUT/corpus, OUT/pretraining, OUT/features    as in the demo, whose folder may be given: what it finished is used
    OUT/rows/<row>                               a model folder, and outcome.json with its captions of the test videos
    OUT/comparison.json, OUT/comparison.md       the table, written again after each row

All rows see the features of one grid. STAT's global vectors are the means of its cells, its motion the differences between
consecutive frames, its places the cells.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from stap.captioning.captions import caption_clips
from stap.captioning.model_folder import load_run
from stap.corpora.corpus import Clip, Corpus
from stap.errors import ConfigError
from stap.experiments.demo.spread import attention_spread
from stap.experiments.demo.stages import Say, Stages
from stap.experiments.demo.steps import QUICK, DemoSize, demo_recipe, prepare
from stap.experiments.evaluate import recall_facts
from stap.features.streams import FeatureStreams
from stap.files import write_atomically, write_json
from stap.recipes.settings import Recipe
from stap.scoring.metrics import Scorer
from stap.training.loop import fit
from stap.training.resume import state_file

__all__ = ["COLUMNS", "ROWS", "SPREAD", "Comparison", "Row", "RowOutcome", "compare", "rows_named"]

SHARED_SECTIONS = ("corpus", "text", "features", "pretraining")  # what the rows have in common; the rest is each row's own

# As published the penalty weighs 22.6 a caption, and looking at one place for every word costs more than any caption gains by it.
_PENALTY = ("model.attention_penalty=0.70602", "model.penalty_captions=1")
_STAT = (
    "model.kind=stat",
    *_PENALTY,
    "model.stat.global_from=grid",
    "model.stat.motion_from=differences",
    "model.stat.local_from=grid",
    "model.stat.positions=null",  # all frames
    "model.stat.mask_attention=true",
    "model.inputs.time_embedding=0",  # it has no recurrence over frames,
    "model.inputs.differences=false",  # and reads the differences as its motion
)


@dataclass(frozen=True)
class Row:
    """A system: its folder, its name in the table, and the settings in which it differs from the recipe."""

    key: str
    name: str
    settings: tuple[str, ...]


ROWS = (
    Row(
        "stat-temporal-only",
        "temporal attention only",
        (*_STAT, "model.stat.motion_from=null", "model.stat.local_from=null"),
    ),
    Row("stat-without-local", "STAT without local", (*_STAT, "model.stat.local_from=null")),
    Row("stat-averaged", "STAT, places averaged", (*_STAT, "model.stat.local_pooling=mean")),
    Row("stat", "STAT", _STAT),
    Row("lrcn", "LRCN", ("model.kind=lrcn",)),
    Row("lstap-mean", "L-STAP, mean", ("model.pooling=mean",)),
    Row("lstap-attention", "L-STAP, attention", ("model.pooling=attention",)),
    Row("lstap-stat", "L-STAP with STAT's attention", ("model.kind=lstap-stat", *_PENALTY)),
)

Facts = Mapping[str, Any]
GROUPS: Mapping[str, Callable[[Facts], bool]] = {
    "small": lambda facts: facts["small"],
    "large": lambda facts: not facts["small"],
    "brief": lambda facts: facts["brief"],
    "long": lambda facts: not facts["brief"],
}
COLUMNS = ("facts", "colour", "shape", "event", "order", *GROUPS, "CIDEr")
SPREAD = ("frames", "places")


@dataclass(frozen=True)
class RowOutcome:
    """What became of a row.

    values: by COLUMNS, fractions; facts in all, by kind, and those of scenes with a small object, without one, with a brief event,
    without one; None where the test videos have none.
    spread: by SPREAD, over how many frames and places the attention is spread, see `attention_spread`.
    """

    key: str
    name: str
    values: Mapping[str, float | None]
    spread: Mapping[str, float | None]
    captions: Mapping[str, str]
    epochs: int
    best_epoch: int
    parameters: int
    training_seconds: float


@dataclass(frozen=True)
class Comparison:
    """The table.   made: how, for people."""

    outcomes: tuple[RowOutcome, ...]
    made: Mapping[str, str]

    def __str__(self) -> str:
        width = max(len(outcome.name) for outcome in self.outcomes)
        lines = [f"{'':{width}}  " + "  ".join(f"{column:>6}" for column in (*COLUMNS, *SPREAD))]
        for outcome in self.outcomes:
            lines.append(f"{outcome.name:{width}}  " + "  ".join(f"{cell:>6}" for cell in _cells(outcome)))
        return "\n".join(lines)

    def to_markdown(self) -> str:
        """The table and how it was made."""
        head = ("system", *COLUMNS, *SPREAD, "parameters", "epochs", "seconds")
        lines = [_markdown_line(head), _markdown_line(["---", *["---:"] * (len(head) - 1)])]
        for one in self.outcomes:
            epochs = f"{one.best_epoch} of {one.epochs}"
            lines.append(_markdown_line([one.name, *_cells(one), f"{one.parameters:,}", epochs, f"{one.training_seconds:.0f}"]))
        how = "\n".join(f"- {name}: {value}" for name, value in self.made.items())
        return f"# Comparison on generated scenes\n\n{EXPLANATION}\n\n" + "\n".join(lines) + f"\n\n{how}\n"

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return {"made": dict(self.made), "rows": [asdict(outcome) for outcome in self.outcomes]}


EXPLANATION = (
    "Facts and CIDEr times 100; higher is better. Facts: the share of a scene's facts that the caption states, in all, by kind (order: "
    "of two events), and in scenes with a small object, without one, with a brief event, without one. Frames and places: over how many "
    "the attention is spread (its perplexity, exp of the entropy: 1 if all of it is on one, their number if it is even), of a word's "
    "attention over time and of a frame's places. Epochs: the one whose weights were "
    "kept, of those trained; seconds: of training."
)


def compare(
    out: Path,
    *,
    size: DemoSize = QUICK,
    rows: Sequence[Row] = ROWS,
    overrides: Sequence[str] = (),
    device: torch.device | str = "cpu",
    seed: int = 1,
    progress: Say = print,
) -> Comparison:
    """Train each row and score its captions of the test videos; rows that are finished are found, others continued.

    overrides: `section.key=value` settings of every row; those of SHARED_SECTIONS also shape the videos' features.
    Seeds torch's global generators. Raises CorpusError, ConfigError or CheckpointError if `out` holds something else.
    """
    device = torch.device(device)
    shared = tuple(override for override in overrides if override.split(".")[0] in SHARED_SECTIONS)
    size = replace(size, overrides=(*size.overrides, *shared))
    recipes = {
        row.key: demo_recipe(out, _row_size(size, row, overrides), seed) for row in rows
    }  # wrong settings: before the work
    stages = Stages(out / "stages.json", progress)
    prepared = prepare(out, size, stages, device, seed)
    recipe, corpus, store = prepared.recipe, prepared.corpus, prepared.store
    weights, feature_size = Path(recipe.features.weights), store.fingerprint["grid"]["feature_size"]
    outcomes: list[RowOutcome] = []
    for row in rows:
        settings = _fitted(recipes[row.key], recipe, feature_size)
        with stages.stage(f"row {row.name}", f"Training and scoring {row.name}"):
            outcomes.append(_outcome(row, settings, corpus, store, out / "rows" / row.key, weights, device, progress))
        comparison = Comparison(tuple(outcomes), _how_made(recipe, settings, corpus, overrides, seed, device))
        _write(out, comparison)
    return comparison


def rows_named(names: str) -> tuple[Row, ...]:
    """The rows of 'stat,lrcn', in the order of ROWS. Raises ConfigError that lists them if one is not known."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {row.key: row for row in ROWS}
    if not wanted or (unknown := [name for name in wanted if name not in known]):
        shown = ", ".join(unknown) if wanted else repr(names)
        raise ConfigError(f"{shown}: no such row. Choose among {', '.join(known)}, with commas between them.")
    return tuple(row for row in ROWS if row.key in wanted)


def _row_size(size: DemoSize, row: Row, overrides: Sequence[str]) -> DemoSize:
    return replace(size, overrides=(*size.overrides, *row.settings, *overrides))


def _fitted(recipe: Recipe, prepared: Recipe, feature_size: int) -> Recipe:
    """A row's recipe with the features as they are; STAT's global vectors are projected if their size is not H."""
    model = recipe.model
    if model.kind == "stat" and feature_size != model.hidden_size:
        model = model.model_copy(update={"stat": model.stat.model_copy(update={"project_global": True})})
    return recipe.model_copy(update={"features": prepared.features, "model": model})


def _outcome(
    row: Row,
    recipe: Recipe,
    corpus: Corpus,
    store: FeatureStreams,
    folder: Path,
    weights: Path,
    device: torch.device,
    progress: Say,
) -> RowOutcome:
    """Train the row, or find it trained, and score it, or find it scored."""
    result = fit(
        recipe,
        corpus,
        store,
        folder,
        weights={"features": weights},
        device=device,
        resume=state_file(folder).exists(),
        on_epoch=lambda epoch: progress(f"  {epoch}"),
    )
    file = folder / "outcome.json"
    if file.is_file():  # the recipe is the same, or `fit` would have refused
        return RowOutcome(**json.loads(file.read_text(encoding="utf-8")))
    run, clips = load_run(folder, device), corpus.split("test")
    found = caption_clips(run.model, run.vocabulary, store, clips, run.recipe.decoding, device)
    captions = {video_id: caption.caption for video_id, caption in found.items()}
    outcome = RowOutcome(
        row.key,
        row.name,
        _values(clips, captions),
        attention_spread(run.model, store, clips, found, device),
        captions,
        epochs=len(result.history),
        best_epoch=result.best.epoch,
        parameters=sum(parameter.numel() for parameter in run.model.parameters()),
        training_seconds=sum(summary.seconds for summary in result.history),
    )
    write_json(file, asdict(outcome))
    return outcome


def _values(clips: Sequence[Clip], captions: Mapping[str, str]) -> dict[str, float | None]:
    by_kind = recall_facts(clips, captions)
    values = {"facts": _share(by_kind)} | {kind: _share({kind: counts}) for kind, counts in by_kind.items()}
    for name, belongs in GROUPS.items():
        values[name] = _share(recall_facts([clip for clip in clips if belongs(clip.facts or {})], captions))
    with Scorer({clip.id: clip.captions for clip in clips}, ("cider",)) as scorer:
        return values | {"CIDEr": scorer.score(captions).corpus["CIDEr"]}


def _share(counts: Mapping[str, tuple[int, int]]) -> float | None:
    total = sum(present for _, present in counts.values())
    return sum(recalled for recalled, _ in counts.values()) / total if total else None


def _how_made(
    recipe: Recipe, row: Recipe, corpus: Corpus, overrides: Sequence[str], seed: int, device: torch.device
) -> dict[str, str]:
    splits = ", ".join(f"{len(corpus.split(name))} {name}" for name in ("train", "validation", "test"))
    training = row.training
    return {
        "Recipe": f"{recipe.name}, seed {seed}; every row differs from it in its model alone",
        "Settings of every row": ", ".join(overrides) or "the recipe's",
        "Scenes": f"{len(corpus.clips)} generated videos: {splits}; test videos show combinations that training never showed",
        "Training": f"at most {training.epochs} epochs, weights kept by validation {training.best_by}",
        "Decoding": f"beam of {row.decoding.beam_width}",
        "Machine": f"{device}, PyTorch {torch.__version__}",
    }


def _write(out: Path, comparison: Comparison) -> None:
    write_json(out / "comparison.json", comparison.to_json())
    write_atomically(out / "comparison.md", comparison.to_markdown().encode())


def _markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(outcome: RowOutcome) -> list[str]:
    """The values times 100, and the spread as it is."""
    shown = [*((outcome.values[name], 100) for name in COLUMNS), *((outcome.spread[name], 1) for name in SPREAD)]
    return ["-" if value is None else f"{value * factor:.1f}" for value, factor in shown]
