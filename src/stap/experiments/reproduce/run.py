"""The reproduction from end to end: check, features, training, scores, table.

    OUT/check.json                     what was found in the corpus
    OUT/features                       the feature store that the rows share
    OUT/rows/<row>/seed-<n>            a model folder, with recipe.yaml, captions.json, report.html and outcome.json
    OUT/table.md, .html, .json         written again after each row

Run again, it continues: features that are stored, epochs that are trained and rows that are scored are found.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from stap.corpora.corpus import SPLITS, Corpus
from stap.corpora.problems import listed
from stap.errors import FeatureError, StapError
from stap.experiments.reproduce.corpus import CheckedCorpus, existing_stores, prepare_corpus
from stap.experiments.reproduce.networks import Extracted, extract_all, feature_sources
from stap.experiments.reproduce.request import Request, motion_start
from stap.experiments.reproduce.results import Reproduction, RowResult, published_rows, write_tables
from stap.experiments.reproduce.runs import Outcome, finished, run_seed
from stap.experiments.reproduce.tables import Row
from stap.features.device import describe_device
from stap.features.imported import open_imported
from stap.features.streams import FeatureStreams
from stap.recipes.settings import Recipe

__all__ = ["reproduce"]

Say = Callable[[str], None]
Progress = Callable[[str, int, int], None]  # what is being done, done, in all
NOT_BEGUN = "Not begun."


def reproduce(
    request: Request, *, device: torch.device | str = "cpu", say: Say = print, on_progress: Progress | None = None
) -> Reproduction:
    """Do all that is asked for, or what an interrupted run left; a row that fails is reported and the others go on.

    Seeds torch's global generators. Raises CorpusError if the captions cannot be used, ConfigError for settings that fit no row,
    FeatureError or CheckpointError if `out` cannot be written.
    """
    device, recipes = torch.device(device), request.recipes()
    first = next(iter(recipes.values()))
    say("Checking the corpus ...")
    checked = prepare_corpus(
        first,
        request.out,
        stores=existing_stores(recipes.values()),
        limit=request.limit,
        other_counts=request.other_counts,
        say=say,
        on_progress=_of("check", on_progress),
    )
    clips = checked.corpus.clips
    say(f"Extracting the features of {len(clips):,} clips ...")
    sources = [source for recipe in recipes.values() for source in feature_sources(recipe)]
    extracted = extract_all(sources, clips, first.features.store, device, say=say, on_progress=_of("extract", on_progress))
    work = _Work(request, checked, extracted, device, say)
    results = {row.key: RowResult(row, recipes[row.key].name, errors=(NOT_BEGUN,)) for row in request.rows}
    for row in request.rows:
        say(f"Row {row.key}")
        results[row.key] = work.row(row, recipes[row.key])
        found = Reproduction(
            request.corpus, checked.corpus.name, tuple(results.values()), tuple(work.remarks(results.values())), work.made()
        )
        write_tables(request.out, found)
    return found


@dataclass(frozen=True)
class _Work:
    """What all rows share."""

    request: Request
    checked: CheckedCorpus
    extracted: Mapping[str, Extracted]
    device: torch.device
    say: Say

    def row(self, row: Row, recipe: Recipe) -> RowResult:
        """Its seeds, each finished or with a sentence that says why not."""
        try:
            store, weights = self._features(recipe)
            corpus = self._with_features(store)
        except StapError as error:
            self.say(f"  not run: {error}")
            return RowResult(row, recipe.name, errors=(str(error),))
        recipe = motion_start(recipe, {stream: made["feature_size"] for stream, made in store.fingerprint.items()})
        outcomes: dict[str, Outcome] = {}
        errors = []
        for seed in self.request.seeds:
            folder = self.request.run_folder(row, seed)
            try:
                outcome = self._seed(row, recipe.model_copy(update={"seed": seed}), corpus, store, weights, folder)
            except (StapError, torch.OutOfMemoryError) as error:
                errors.append(f"Seed {seed}: {_sentence(error, self.device)}")
                self.say(f"  {errors[-1]}")
            else:
                outcomes[folder.relative_to(self.request.out).as_posix()] = outcome
        return RowResult(row, recipe.name, tuple(outcomes.values()), tuple(outcomes), tuple(errors))

    def _seed(
        self, row: Row, recipe: Recipe, corpus: Corpus, store: FeatureStreams, weights: Mapping[str, Path], folder: Path
    ) -> Outcome:
        if outcome := finished(folder, recipe, corpus, store):
            self.say(f"  seed {recipe.seed}: finished before")
            return outcome
        self.say(f"  seed {recipe.seed}: {folder}")
        published = published_rows(row, self.request.corpus)
        return run_seed(folder, recipe, corpus, store, weights=weights, published=published, device=self.device, say=self.say)

    def _features(self, recipe: Recipe) -> tuple[FeatureStreams, dict[str, Path]]:
        """The streams of a row, and the weights files that its model folders carry. Raises FeatureError if one is not there."""
        found = [self.extracted[source.key] for source in feature_sources(recipe)]
        if wrong := [one for one in found if one.error is not None]:
            raise FeatureError(f"no features of {wrong[0].source.network}. {wrong[0].error}")
        imported = recipe.features.imported.items()
        stores = {stream: store for one in found for stream, store in one.stores.items()}
        weights = {one.source.section: one.weights_file for one in found if one.weights_file is not None}
        return FeatureStreams(stores | {name: open_imported(path, name) for name, path in imported}), weights

    def _with_features(self, store: FeatureStreams) -> Corpus:
        """The clips that have every stream."""
        return self.checked.corpus.only(store, "all features of this row")

    def remarks(self, results: Iterable[RowResult]) -> Iterator[str]:
        """What a reader must know before comparing with the published numbers."""
        request, corpus = self.request, self.checked.corpus
        in_all = sum(self.checked.in_all.values())
        if request.limit is not None:
            yield f"A trial on {len(corpus.clips):,} of {in_all:,} clips (--data {request.limit}): the scores say nothing about the systems."
        elif len(corpus.clips) < in_all:
            yield f"{in_all - len(corpus.clips):,} of {in_all:,} clips have neither a video nor features and are left out: the scores do not compare with published ones."
        if request.overrides:
            yield f"Settings that differ from the recipes: {', '.join(request.overrides)}."
        for one in self.extracted.values():
            if one.failed:
                yield f"{one.source.network} made no features of {len(one.failed):,} clips, which are left out of its rows: {listed(list(one.failed))}."
        if unfinished := [result.row.key for result in results if not result.outcomes or result.errors]:
            yield f"Not finished: {', '.join(unfinished)}."

    def made(self) -> dict[str, str]:
        """How it was made, for people."""
        corpus = self.checked.corpus
        counts = ", ".join(f"{len(corpus.split(split)):,} {split}" for split in SPLITS)
        streams = {
            f"Features, {stream}": f"{one.source.network}, {store.folder.name}"
            for one in self.extracted.values()
            for stream, store in one.stores.items()
        }
        return {
            "Clips": f"{counts}; scores are of the test clips",
            "Seeds": ", ".join(map(str, self.request.seeds)),
            **streams,
            "Scores": "the COCO caption scorer's (pycocoevalcap)",
            "Machine": describe_device(self.device),
            "Versions": f"stap {version('stap')}, PyTorch {torch.__version__}, Python {platform.python_version()}",
        }


def _of(what: str, on_progress: Progress | None) -> Callable[[int, int, str], None] | None:
    return None if on_progress is None else lambda done, total, _: on_progress(what, done, total)


def _sentence(error: Exception, device: torch.device) -> str:
    return str(error) if isinstance(error, StapError) else f"The memory of {device} is full. Try a smaller training.batch_size."
