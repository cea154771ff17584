"""A reproduction from end to end: corpus, features, training, scores, table.

    OUT/check.json                     what was found in the corpus of a paper
    OUT/corpus, OUT/pretraining        generated scenes and their image encoder; a folder of `stap demo` has them
    OUT/features                       the feature store that the rows share
    OUT/rows/<row>/seed-<n>            a model folder, with recipe.yaml, captions.json, report.html and outcome.json
    OUT/table.md, .html, .json         written again after each row

Run again, it continues: features that are stored, epochs that are trained and rows that are scored are found.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

import torch

from stap.corpora.corpus import SPLITS
from stap.errors import StapError
from stap.experiments.reproduce.data import TableData, paper_data, scene_data
from stap.experiments.reproduce.request import Request
from stap.experiments.reproduce.results import Reproduction, RowResult, published_rows, write_tables
from stap.experiments.reproduce.rows import Row
from stap.experiments.reproduce.runs import Outcome, RowData, finished, run_seed
from stap.features.device import describe_device
from stap.files import folder_lock
from stap.recipes.settings import Recipe

__all__ = ["reproduce"]

Say = Callable[[str], None]
NOT_BEGUN = "Not begun."


def reproduce(request: Request, *, device: torch.device | str = "cpu", say: Say = print) -> Reproduction:
    """Train and score all rows and seeds, or those that an interrupted run left; a row that fails is reported and the others go on.

    Seeds torch's global generators. Raises CorpusError if the corpus cannot be used, ConfigError for settings that fit no row,
    FeatureError or CheckpointError if `out` cannot be written or holds other scenes, StapError if another process writes there.
    """
    with folder_lock(request.out):
        return _reproduce(request, torch.device(device), say)


def _reproduce(request: Request, device: torch.device, say: Say) -> Reproduction:
    prepare = scene_data if request.corpus == "scenes" else paper_data
    data = prepare(request, device, say)
    rows = _Rows(request, data, device, say)
    results = {row.key: RowResult(row, data.recipes[row.key].name, errors=(NOT_BEGUN,)) for row in request.rows}
    for row in request.rows:
        say(f"Row {row.key}")
        results[row.key] = rows.run(row)
        found = rows.table(tuple(results.values()))
        write_tables(request.out, found)
    return found


@dataclass(frozen=True)
class _Rows:
    request: Request
    data: TableData
    device: torch.device
    say: Say

    def run(self, row: Row) -> RowResult:
        """The row's seeds, each finished or with a sentence that says why not."""
        name = self.data.recipes[row.key].name
        try:
            recipe, data = self.data.of_row(row.key)
        except StapError as error:
            self.say(f"  not run: {error}")
            return RowResult(row, name, errors=(str(error),))
        outcomes: dict[str, Outcome] = {}
        errors = []
        for seed in self.request.seeds:
            folder = self.request.run_folder(row, seed)
            try:
                outcome = self._seed(row, recipe.model_copy(update={"seed": seed}), data)
            except (StapError, torch.OutOfMemoryError) as error:
                errors.append(f"Seed {seed}: {_sentence(error, self.device)}")
                self.say(f"  {errors[-1]}")
            else:
                outcomes[folder.relative_to(self.request.out).as_posix()] = outcome
        return RowResult(row, name, tuple(outcomes.values()), tuple(outcomes), tuple(errors))

    def _seed(self, row: Row, recipe: Recipe, data: RowData) -> Outcome:
        folder = self.request.run_folder(row, recipe.seed)
        if outcome := finished(folder, recipe, data):
            self.say(f"  seed {recipe.seed}: finished before")
            return outcome
        self.say(f"  seed {recipe.seed}: {folder}")
        published = published_rows(row, self.request.corpus)
        return run_seed(folder, recipe, data, published=published, device=self.device, say=self.say)

    def table(self, results: tuple[RowResult, ...]) -> Reproduction:
        """The table as far as it has come."""
        return Reproduction(self.request.corpus, results, tuple(self._remarks(results)), self._how_made())

    def _remarks(self, results: Iterable[RowResult]) -> Iterator[str]:
        yield from self.data.remarks(self.request.limit)
        if self.request.overrides:
            yield f"Settings that differ from the recipes: {', '.join(self.request.overrides)}."
        if unfinished := [result.row.key for result in results if not result.outcomes or result.errors]:
            yield f"Not finished: {', '.join(unfinished)}."

    def _how_made(self) -> dict[str, str]:
        corpus = self.data.checked.corpus
        counts = ", ".join(f"{len(corpus.split(split)):,} {split}" for split in SPLITS)
        streams = {
            f"Features, {stream}": f"{one.source.network}, {store.folder.name}"
            for one in self.data.extracted.values()
            for stream, store in one.stores.items()
        }
        return {
            **self.data.about,
            "Clips": f"{counts}; scores are of the test clips",
            "Seeds": ", ".join(map(str, self.request.seeds)),
            **streams,
            "Scores": "the COCO caption scorer's (pycocoevalcap)",
            "Machine": describe_device(self.device),
            "Versions": f"stap {version('stap')}, PyTorch {torch.__version__}, Python {platform.python_version()}",
        }


def _sentence(error: Exception, device: torch.device) -> str:
    return str(error) if isinstance(error, StapError) else f"The memory of {device} is full. Try a smaller training.batch_size."
