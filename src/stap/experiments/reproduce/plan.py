"""The plan of a reproduction: its work, missing files and where to get them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import torch

from stap.corpora.corpus import SPLITS, Corpus
from stap.corpora.published import CLIPS_AND_CAPTIONS
from stap.errors import CorpusError, StapError
from stap.experiments.reproduce.corpus import existing_stores, find_clips, limited
from stap.experiments.reproduce.networks import FeatureSource, build, feature_sources
from stap.experiments.reproduce.request import Request
from stap.experiments.reproduce.rows import CorpusName, Row
from stap.experiments.reproduce.runs import OUTCOME_FILE
from stap.recipes.settings import Recipe
from stap.reports.text_table import text_table

__all__ = ["CorpusPlan", "NetworkPlan", "Plan", "RowPlan", "make_plan"]

NAMES: Mapping[CorpusName, str] = {"msvd": "MSVD", "msrvtt": "MSR-VTT", "scenes": "Generated scenes"}
SOURCES: Mapping[CorpusName, str] = {
    "msvd": "MSVD is the Microsoft Research Video Description Corpus (Chen & Dolan 2011): YouTubeClips/ with 1,970 .avi files, "
    "AllVideoDescriptions.txt (or the table MSR Video Description Corpus.csv) and youtube_mapping.txt",
    "msrvtt": "MSR-VTT is Microsoft Research's Video to Text (Xu et al. 2016): TrainValVideo/ and TestVideo/ with 10,000 .mp4 files, "
    "train_val_videodatainfo.json and test_videodatainfo.json",
}
NEVER_FETCHED = ("i3d", "c3d")


@dataclass(frozen=True)
class CorpusPlan:
    """clips: to be used, of in_all in the caption files (as published where these cannot be read).   missing: sentences."""

    clips: int
    in_all: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class NetworkPlan:
    """Features that some rows share.   weights: where they are.   missing: what to do first; None if nothing."""

    source: FeatureSource
    rows: tuple[str, ...]
    weights: str
    missing: str | None = None


@dataclass(frozen=True)
class RowPlan:
    """A row, its recipe, and how many of its seeds are finished."""

    row: Row
    recipe: str
    finished: int
    seeds: int


@dataclass(frozen=True)
class Plan:
    """What `--plan` prints."""

    request: Request
    corpus: CorpusPlan
    networks: tuple[NetworkPlan, ...]
    rows: tuple[RowPlan, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """What to get first, in sentences."""
        return (*self.corpus.missing, *(plan.missing for plan in self.networks if plan.missing is not None))

    def __str__(self) -> str:
        networks = [("features", "network", "weights", "rows")]
        networks += [(one.source.section, one.source.network, one.weights, _abridged(one.rows)) for one in self.networks]
        rows = [("row", "recipe", "seeds", "finished")]
        rows += [(one.row.name, one.recipe, str(one.seeds), str(one.finished)) for one in self.rows]
        missing = ("Missing:", *(f"  - {sentence}" for sentence in self.missing)) if self.missing else ("Nothing is missing.",)
        tables = (text_table(networks, "left"), "", text_table(rows, "left"))
        return "\n".join([self._about_corpus(), "", *tables, "", *missing])

    def _about_corpus(self) -> str:
        clips = f"{self.corpus.clips:,} of {self.corpus.in_all:,} clips"
        return f"{NAMES[self.request.corpus]}: {clips} would be used, in {self.request.out}"


def make_plan(request: Request) -> Plan:
    """Look for the corpus and the weights; nothing is written, fetched or trained.

    Raises ConfigError for settings that fit no row.
    """
    recipes = request.recipes()
    shared: dict[str, tuple[FeatureSource, list[str]]] = {}
    for key, recipe in recipes.items():
        for source in feature_sources(recipe):
            shared.setdefault(source.key, (source, []))[1].append(key)
    if request.corpus == "scenes":
        trained = f"trained in {request.out / 'pretraining'}"
        networks = tuple(NetworkPlan(source, tuple(rows), trained) for source, rows in shared.values())
    else:
        networks = tuple(NetworkPlan(source, tuple(rows), *_weights(source)) for source, rows in shared.values())
    rows = tuple(_row(request, row, recipes[row.key]) for row in request.rows)
    return Plan(request, _corpus(request, list(recipes.values())), networks, rows)


def _corpus(request: Request, recipes: Sequence[Recipe]) -> CorpusPlan:
    if request.corpus == "scenes":
        return CorpusPlan(request.scenes.videos, request.scenes.videos)
    source = SOURCES[request.corpus]
    try:
        annotations, _, missing = find_clips(recipes[0], existing_stores(recipes))
    except CorpusError as error:
        counts = CLIPS_AND_CAPTIONS[NAMES[request.corpus]]
        clips = sum(counts[split][0] for split in SPLITS)
        return CorpusPlan(request.limit or clips, clips, (f"captions: {error} {source}.",))
    in_all = len(annotations.clips)
    sentence = f"videos: {len(missing):,} of {in_all:,} are missing in {missing[0].path.parent}. {source}." if missing else None
    whole = Corpus(annotations.name, annotations.clips)  # missing videos count: they are to be got first
    used = whole if request.limit is None else limited(whole, request.limit)
    return CorpusPlan(len(used.clips), in_all, () if sentence is None else (sentence,))


def _weights(source: FeatureSource) -> tuple[str, str | None]:
    """Where a network's weights are, and what to do first, if anything. Files are read, so that a damaged one is found."""
    if source.settings.weights == "pretrained" and source.network not in NEVER_FETCHED:
        name, file = _published(source)
        return (f"{name}: fetched when it runs" if file is None else f"{name}: in the cache"), None
    try:
        build(source, "cpu")
    except StapError as error:
        return "cannot be used", f"{source.section}, {source.network}: {error}"
    return source.settings.weights, None


def _published(source: FeatureSource) -> tuple[str, Path | None]:
    """The published weights of a network that is fetched by name, and the file in the cache, if it is there."""
    import huggingface_hub
    import timm
    from torchvision.models import get_model_weights

    from stap.features.pretrained import CACHED_FILES

    if source.section == "features" and source.network != "googlenet":
        settings = timm.get_pretrained_cfg(source.network)
        repository = settings.hf_hub_id if settings is not None else None
        if not repository:
            return f"timm has none of {source.network}", None
        found = (huggingface_hub.try_to_load_from_cache(repository, file) for file in CACHED_FILES)
        return f"{repository} on the Hugging Face Hub", next((Path(file) for file in found if isinstance(file, str)), None)
    weights: Any = get_model_weights(source.network)
    url = urlparse((weights.COCO_V1 if source.section == "regions" else weights.DEFAULT).url)
    name = PurePosixPath(url.path).name
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    return f"{name} of {url.hostname}", cached if cached.is_file() else None


def _row(request: Request, row: Row, recipe: Recipe) -> RowPlan:
    finished = sum((request.run_folder(row, seed) / OUTCOME_FILE).is_file() for seed in request.seeds)
    return RowPlan(row, recipe.name, finished, len(request.seeds))


def _abridged(rows: Sequence[str]) -> str:
    return ", ".join(rows[:3]) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")
