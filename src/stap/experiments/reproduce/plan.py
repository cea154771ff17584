"""What a reproduction would do: what it needs, what is missing and where that is, how long it takes and how large it becomes."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import torch

from stap.corpora.corpus import SPLITS, Clip, Corpus
from stap.corpora.published import CLIPS_AND_CAPTIONS
from stap.errors import CorpusError, StapError
from stap.experiments.reproduce.corpus import limited, look
from stap.experiments.reproduce.estimates import (
    FeatureCost,
    TrainingCost,
    cost_of_features,
    cost_of_training,
    seconds_of_videos,
)
from stap.experiments.reproduce.networks import Need, build, needs_of
from stap.experiments.reproduce.request import Request, motion_start
from stap.experiments.reproduce.runs import OUTCOME_FILE
from stap.experiments.reproduce.tables import CorpusName, Row
from stap.features.device import describe_device
from stap.recipes.settings import Recipe

__all__ = ["CorpusPlan", "NetworkPlan", "Plan", "RowPlan", "make_plan"]

Say = Callable[[str], None]
NAMES: Mapping[CorpusName, str] = {"msvd": "MSVD", "msrvtt": "MSR-VTT"}
SOURCES: Mapping[CorpusName, str] = {
    "msvd": "MSVD is the Microsoft Research Video Description Corpus (Chen & Dolan 2011): YouTubeClips/ with 1,970 .avi files, "
    "AllVideoDescriptions.txt (or the table MSR Video Description Corpus.csv) and youtube_mapping.txt",
    "msrvtt": "MSR-VTT is Microsoft Research's Video to Text (Xu et al. 2016): TrainValVideo/ and TestVideo/ with 10,000 .mp4 files, "
    "train_val_videodatainfo.json and test_videodatainfo.json",
}
ASSUMED_SECONDS: Mapping[CorpusName, float] = {"msvd": 10.0, "msrvtt": 15.0}
ASSUMED_WORDS: Mapping[CorpusName, int] = {"msvd": 10_000, "msrvtt": 23_000}


@dataclass(frozen=True)
class CorpusPlan:
    """The corpus.   clips, training_captions: that are wanted, by the caption files or, where these cannot be read, as published.

    seconds: the mean length of a video.   missing: what to get first, in sentences.
    """

    clips: int
    in_all: int
    training_captions: int
    example: Path | None
    seconds: float
    seconds_are_assumed: bool
    missing: tuple[str, ...]


@dataclass(frozen=True)
class NetworkPlan:
    """Features that some rows share.   weights: where they are.   missing: what to do first; None if nothing."""

    need: Need
    rows: tuple[str, ...]
    weights: str
    missing: str | None
    cost: FeatureCost | None


@dataclass(frozen=True)
class RowPlan:
    """A row. updates: of one seed, at most.   carried: bytes of weights files in each model folder.   error: why it cannot run."""

    row: Row
    recipe: str
    features: tuple[str, ...]
    finished: int
    seeds: int
    updates: int
    carried: float
    cost: TrainingCost | None
    error: str | None

    @property
    def seconds(self) -> float | None:
        """Of the seeds that are not finished."""
        return None if self.cost is None else self.cost.seconds * self.updates * (self.seeds - self.finished)

    @property
    def bytes(self) -> float | None:
        """Of all seeds."""
        return None if self.cost is None else (self.cost.bytes + self.carried) * self.seeds


@dataclass(frozen=True)
class Plan:
    """All of it; as text it is what `--plan` prints."""

    request: Request
    device: str
    corpus: CorpusPlan
    networks: tuple[NetworkPlan, ...]
    rows: tuple[RowPlan, ...]
    free_bytes: int

    @property
    def missing(self) -> tuple[str, ...]:
        """What must be got first, in sentences."""
        networks = (plan.missing for plan in self.networks if plan.missing is not None)
        rows = (f"{plan.row.key}: {plan.error}" for plan in self.rows if plan.error is not None)
        return (*self.corpus.missing, *networks, *rows)

    @property
    def seconds(self) -> float:
        """Of what could be estimated."""
        features = sum(plan.cost.seconds for plan in self.networks if plan.cost) * self.corpus.clips
        return features + sum(plan.seconds or 0.0 for plan in self.rows)

    @property
    def bytes(self) -> float:
        """Likewise."""
        features = sum(plan.cost.bytes for plan in self.networks if plan.cost) * self.corpus.clips
        return features + sum(plan.bytes or 0.0 for plan in self.rows)

    def __str__(self) -> str:
        return "\n".join([*self._about_corpus(), "", *self._about_networks(), "", *self._about_rows(), "", *self._sums()])

    def _about_corpus(self) -> Iterator[str]:
        corpus = self.corpus
        yield f"{NAMES[self.request.corpus]}: {corpus.clips:,} of {corpus.in_all:,} clips would be used, in {self.request.out}"
        how = "assumed" if corpus.seconds_are_assumed else "of a few files"
        yield f"a video: {corpus.seconds:.1f} s ({how}); training captions: {corpus.training_captions:,}"

    def _about_networks(self) -> Iterator[str]:
        lines = [("features", "network", "time", "disk", "weights", "for")]
        for plan in self.networks:
            cost, clips = plan.cost, self.corpus.clips
            numbers = (_time(cost.seconds * clips), _size(cost.bytes * clips)) if cost else ("?", "?")
            streams = ", ".join(cost.streams) if cost else plan.need.section
            lines.append((streams, plan.need.network, *numbers, plan.weights, _abridged(plan.rows)))
        yield from _aligned(lines)

    def _about_rows(self) -> Iterator[str]:
        lines = [("row", "recipe", "seeds", "finished", "updates, at most", "training, at most", "disk")]
        for plan in self.rows:
            numbers = (
                _time(plan.seconds) if plan.seconds is not None else "?",
                _size(plan.bytes) if plan.bytes is not None else "?",
            )
            lines.append((plan.row.name, plan.recipe, str(plan.seeds), str(plan.finished), f"{plan.updates:,}", *numbers))
        yield from _aligned(lines)

    def _sums(self) -> Iterator[str]:
        yield (
            f"In all, at most: {_time(self.seconds)} and {_size(self.bytes)}; {_size(self.free_bytes)} are free there. Measured by a short "
            f"run on {self.device} with random numbers; validation, test captions and pauses of the disk are not counted, and training "
            "mostly stops early."
        )
        if self.bytes > self.free_bytes:
            yield "That is more than is free: choose another --out or features.store."
        yield from (
            ("", "Missing:", *(f"  - {sentence}" for sentence in self.missing)) if self.missing else ("", "Nothing is missing.")
        )


def make_plan(request: Request, *, device: torch.device | str = "cpu", say: Say = print) -> Plan:
    """Look and measure; nothing is written, fetched or trained. Raises ConfigError for settings that fit no row."""
    device, recipes = torch.device(device), request.recipes()
    corpus = _corpus(request, next(iter(recipes.values())))
    networks = []
    for need, rows in _shared(recipes).values():
        say(f"measuring {need.section}, {need.network} ...")
        networks.append(_network(need, rows, corpus, device))
    costs = {plan.need.key: plan for plan in networks}
    plans = []
    for row in request.rows:
        say(f"measuring {row.key} ...")
        plans.append(_row(request, row, recipes[row.key], corpus, costs, device))
    return Plan(request, describe_device(device), corpus, tuple(networks), tuple(plans), _free(request.out))


def _corpus(request: Request, recipe: Recipe) -> CorpusPlan:
    source, assumed = SOURCES[request.corpus], ASSUMED_SECONDS[request.corpus]
    try:
        annotations, here, missing = look(recipe)
    except CorpusError as error:
        counts = CLIPS_AND_CAPTIONS[NAMES[request.corpus]]
        clips = sum(counts[split][0] for split in SPLITS)
        sentence = f"captions: {error} {source}."
        return CorpusPlan(request.limit or clips, clips, counts["train"][1], None, assumed, True, (sentence,))
    sentences = []
    if missing:
        folder = missing[0].path.parent
        sentences.append(f"videos: {len(missing):,} of {len(annotations.clips):,} are not in {folder}. {source}.")
    whole = Corpus(annotations.name, annotations.clips)  # what is missing is to be there when it runs
    used = (whole if request.limit is None else limited(whole, request.limit)).clips
    paths = [clip.path for clip in here]
    seconds = seconds_of_videos(paths)
    return CorpusPlan(
        clips=len(used),
        in_all=len(annotations.clips),
        training_captions=_training_captions(used),
        example=paths[0] if paths else None,
        seconds=seconds or assumed,
        seconds_are_assumed=seconds is None,
        missing=tuple(sentences),
    )


def _training_captions(clips: Iterable[Clip]) -> int:
    return sum(len(clip.captions) for clip in clips if clip.split == "train")


def _shared(recipes: Mapping[str, Recipe]) -> dict[str, tuple[Need, list[str]]]:
    """Each way of making features, and the keys of the rows that share it."""
    shared: dict[str, tuple[Need, list[str]]] = {}
    for key, recipe in recipes.items():
        for need in needs_of(recipe):
            shared.setdefault(need.key, (need, []))[1].append(key)
    return shared


def _network(need: Need, rows: Sequence[str], corpus: CorpusPlan, device: torch.device) -> NetworkPlan:
    """With its weights where they are here, with random ones otherwise: that costs as much."""
    where, missing, given = _weights(need)
    try:
        extractor = build(need, device, weights=given)
    except StapError as error:
        where, missing = "cannot be used", f"{need.section}, {need.network}: {error}"
        try:
            extractor = build(need, device, weights="random")
        except StapError:  # it is not the weights
            return NetworkPlan(need, tuple(rows), where, missing, None)
    try:
        cost = cost_of_features(extractor, corpus.seconds, corpus.example)
    except StapError as error:
        return NetworkPlan(need, tuple(rows), where, f"{need.section}, {need.network}: {error}", None)
    return NetworkPlan(need, tuple(rows), where, missing, cost)


def _weights(need: Need) -> tuple[str, str | None, str | None]:
    """Where a network's weights are, in words; what to do, if anything; and what to build it with to measure it."""
    if need.settings.weights != "pretrained":
        return need.settings.weights, None, None
    if need.network in ("i3d", "c3d"):
        return "cannot be fetched", None, None  # building it says where they are
    name, file = _published(need)
    if file is None:
        return f"{name}: fetched when it runs", None, "random"
    return f"{name}: here", None, None


def _published(need: Need) -> tuple[str, Path | None]:
    """The published weights of a network that is fetched by name, and the file in the cache, if it is there."""
    import huggingface_hub
    import timm
    from torchvision.models import get_model_weights

    from stap.features.pretrained import CACHED_FILES

    if need.section == "features" and need.network != "googlenet":
        settings = timm.get_pretrained_cfg(need.network)
        repository = settings.hf_hub_id if settings is not None else None
        if not repository:
            return f"timm has none of {need.network}", None
        found = (huggingface_hub.try_to_load_from_cache(repository, file) for file in CACHED_FILES)
        return f"{repository} on the Hugging Face Hub", next((Path(file) for file in found if isinstance(file, str)), None)
    weights: Any = get_model_weights(need.network)
    url = urlparse((weights.COCO_V1 if need.section == "regions" else weights.DEFAULT).url)
    name = PurePosixPath(url.path).name
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    return f"{name} of {url.hostname}", cached if cached.is_file() else None


def _row(
    request: Request, row: Row, recipe: Recipe, corpus: CorpusPlan, networks: Mapping[str, NetworkPlan], device: torch.device
) -> RowPlan:
    needs = [networks[need.key] for need in needs_of(recipe)]
    fingerprints = {stream: plan.cost.fingerprint for plan in needs if plan.cost for stream in plan.cost.streams}
    recipe = motion_start(recipe, {stream: made["feature_size"] for stream, made in fingerprints.items()})
    cost, error = None, None
    if all(plan.cost for plan in needs) and not recipe.features.imported:
        try:
            vocabulary = min(recipe.text.vocabulary_size or ASSUMED_WORDS[request.corpus], ASSUMED_WORDS[request.corpus])
            cost = cost_of_training(recipe, fingerprints, vocabulary, device)
        except (StapError, ValueError) as problem:
            error = str(problem)
    finished = sum((request.run_folder(row, seed) / OUTCOME_FILE).is_file() for seed in request.seeds)
    features = tuple(f"{stream} of {plan.need.network}" for plan in needs if plan.cost for stream in plan.cost.streams)
    carried = sum(_file_bytes(plan.need.settings.weights) for plan in needs)
    return RowPlan(row, recipe.name, features, finished, len(request.seeds), _updates(recipe, corpus), carried, cost, error)


def _updates(recipe: Recipe, corpus: CorpusPlan) -> int:
    training = recipe.training
    each_epoch = training.epoch_updates or math.ceil(
        corpus.training_captions / (training.batch_size * training.captions_per_video)
    )
    return training.epochs * each_epoch


def _file_bytes(weights: str) -> float:
    path = Path(weights)
    return float(path.stat().st_size) if path.is_file() else 0.0


def _free(folder: Path) -> int:
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(there).free


def _time(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _abridged(rows: Sequence[str]) -> str:
    return ", ".join(rows[:3]) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")


def _aligned(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
