"""The training data of a table's rows: the papers' corpora, checked and extracted, or generated scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from stap.corpora.corpus import SPLITS
from stap.corpora.problems import listed
from stap.errors import FeatureError
from stap.experiments.reproduce.corpus import CheckedCorpus, existing_stores, prepare_corpus
from stap.experiments.reproduce.networks import Extracted, extract_all, feature_sources
from stap.experiments.reproduce.request import Request, motion_start
from stap.experiments.reproduce.runs import RowData
from stap.experiments.reproduce.scenes import prepare_scenes
from stap.experiments.stages import Stages, progress_lines
from stap.features.imported import open_imported
from stap.features.streams import FeatureStreams
from stap.recipes.settings import Recipe

__all__ = ["TableData", "paper_data", "scene_data"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class TableData:
    """What all rows share.

    recipes: by the rows' keys, with the features as they are.   extracted: by feature source.   about: for people.
    """

    recipes: Mapping[str, Recipe]
    checked: CheckedCorpus
    extracted: Mapping[str, Extracted]
    about: Mapping[str, str] = field(default_factory=dict)

    def of_row(self, key: str) -> tuple[Recipe, RowData]:
        """A row's recipe and what it is trained on. Raises FeatureError or CorpusError if there are no features for it."""
        recipe = self.recipes[key]
        found = [self.extracted[source.key] for source in feature_sources(recipe)]
        if wrong := [one for one in found if one.error is not None]:
            raise FeatureError(f"no features of {wrong[0].source.network}. {wrong[0].error}")
        stores = {stream: store for one in found for stream, store in one.stores.items()}
        stores |= {name: open_imported(path, name) for name, path in recipe.features.imported.items()}
        streams = FeatureStreams(stores)
        weights = {one.source.section: one.weights_file for one in found if one.weights_file is not None}
        sizes = {name: spec.feature_size for name, spec in streams.specs.items()}
        return motion_start(recipe, sizes), RowData(
            self.checked.corpus.only(streams, "all features of this row"), streams, weights
        )

    def remarks(self, limit: int | None) -> Iterator[str]:
        """What a reader must know before comparing with the published numbers.   limit: of the videos, for a trial."""
        corpus, in_all = self.checked.corpus, sum(self.checked.in_all.values())
        if limit is not None:
            yield f"A trial on {len(corpus.clips):,} of {in_all:,} clips (--data {limit}): the scores say nothing about the systems."
        elif len(corpus.clips) < in_all:
            yield f"{in_all - len(corpus.clips):,} of {in_all:,} clips have neither a video nor features and are left out: the scores do not compare with published ones."
        for one in self.extracted.values():
            if one.failed:
                yield f"{one.source.network} made no features of {len(one.failed):,} clips, which are left out of its rows: {listed(list(one.failed))}."


def paper_data(request: Request, device: torch.device, say: Say) -> TableData:
    """The corpus of a paper, checked, and the features of all rows. Raises CorpusError if the captions cannot be used."""
    recipes = request.recipes()
    first = next(iter(recipes.values()))
    say("Checking the corpus ...")
    checked = prepare_corpus(
        first,
        request.out,
        stores=existing_stores(recipes.values()),
        limit=request.limit,
        other_counts=request.other_counts,
        say=say,
        on_progress=progress_lines(say, "videos checked", parts=10),
    )
    clips = checked.corpus.clips
    say(f"Extracting the features of {len(clips):,} clips ...")
    sources = [source for recipe in recipes.values() for source in feature_sources(recipe)]
    extracted = extract_all(sources, clips, first.features.store, device, say)
    return TableData(recipes, checked, extracted)


def scene_data(request: Request, device: torch.device, say: Say) -> TableData:
    """Generated scenes with an image encoder trained on them and its features.

    Raises CorpusError, ConfigError or CheckpointError if the folder holds other scenes.
    """
    recipes, size = request.recipes(), request.scenes
    stages = Stages(request.out / "stages.json", say)
    prepared = prepare_scenes(request.shared_recipe(), request.out, size.videos, stages, device)
    feature_size = prepared.store.specs["grid"].feature_size
    fitted = {key: _with_features_of(recipe, prepared.recipe, feature_size) for key, recipe in recipes.items()}
    [source] = feature_sources(prepared.recipe)
    extracted = Extracted(source, prepared.store.stores, Path(prepared.recipe.features.weights))
    counts: dict[str, int] = {split: len(prepared.corpus.split(split)) for split in SPLITS}
    about = {
        "Scenes": f"{len(prepared.corpus.clips):,} generated videos of seed {request.seeds[0]}; test videos show combinations that training "
        "never showed",
        "Recipe": f"{size.recipe}; every row differs from it in its model alone",
    }
    return TableData(fitted, CheckedCorpus(prepared.corpus, counts, ()), {source.key: extracted}, about)


def _with_features_of(recipe: Recipe, prepared: Recipe, feature_size: int) -> Recipe:
    """A row's recipe with the features as they are; STAT's global vectors are projected if their size is not H."""
    model = recipe.model
    if model.kind == "stat" and feature_size != model.hidden_size:
        model = model.model_copy(update={"stat": model.stat.model_copy(update={"project_global": True})})
    return recipe.model_copy(update={"features": prepared.features, "model": model})
