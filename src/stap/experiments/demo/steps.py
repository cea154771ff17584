"""What comes before a model in the demo: the generated videos, the image encoder and the features."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stap.captioning.model_folder import read_recipe
from stap.corpora.corpus import Corpus
from stap.errors import FeatureError
from stap.experiments.demo.stages import Say, Stages, quarters
from stap.features.extract import extract
from stap.features.grid import GridExtractor
from stap.features.store import FeatureStore
from stap.features.streams import FeatureStreams, open_streams
from stap.recipes.files import load_recipe
from stap.recipes.settings import Recipe
from stap.scenes import write_scenes
from stap.training.pretraining.pretrain import BACKBONE_FILE, PretrainingResult, PretrainingSummary, pretrain
from stap.training.resume import state_file

__all__ = ["FULL", "QUICK", "DemoSize", "Prepared", "demo_recipe", "prepare"]


@dataclass(frozen=True)
class DemoSize:
    """How much the demo does. recipe: a built-in one.   overrides: settings that replace the recipe's."""

    recipe: str
    videos: int
    overrides: tuple[str, ...] = ()


QUICK = DemoSize("demo/quick", videos=4800)
FULL = DemoSize("demo/full", videos=14_000)


def demo_recipe(out: Path, size: DemoSize, seed: int) -> Recipe:
    """The recipe of that size with its videos and features in the folder `out`. Raises ConfigError."""
    recipe = load_recipe(size.recipe, [*size.overrides, f"seed={seed}"])
    corpus = recipe.corpus.model_copy(update={"root": out / "corpus"})
    features = recipe.features.model_copy(update={"store": out / "features"})
    return recipe.model_copy(update={"corpus": corpus, "features": features})


@dataclass(frozen=True)
class Prepared:
    """What every model is trained on. The recipe has the image encoder's weights."""

    recipe: Recipe
    corpus: Corpus
    store: FeatureStreams
    pretraining: PretrainingResult


def prepare(out: Path, size: DemoSize, stages: Stages, device: torch.device, seed: int) -> Prepared:
    """The first three stages in the folder `out`, each finished before, continued or begun. Errors as of `run_demo`."""
    recipe, progress = demo_recipe(out, size, seed), stages.say
    with stages.stage("scenes", f"Writing {size.videos} generated videos to {out / 'corpus'}"):
        workers, report = os.cpu_count() or 1, quarters(progress, "videos")
        corpus = write_scenes(out / "corpus", videos=size.videos, seed=seed, workers=workers, on_progress=report)
    with stages.stage("pretraining", "Training the image encoder by matching frames with sentences"):
        pretraining = _pretrain(recipe, out / "pretraining", device, progress)
    recipe = recipe.model_copy(update={"features": recipe.features.model_copy(update={"weights": str(pretraining.weights)})})
    with stages.stage("features", f"Extracting the features of {recipe.features.frames} frames of each video"):
        return Prepared(recipe, corpus, _extract(recipe, corpus, device, progress), pretraining)


def _pretrain(recipe: Recipe, folder: Path, device: torch.device, progress: Say) -> PretrainingResult:
    """Train the encoder; one that is finished is found, without decoding its videos again."""
    weights = folder / BACKBONE_FILE  # written last
    if weights.is_file() and read_recipe(folder).without_places() == recipe.without_places():
        history = _read(folder / "metrics.json")["history"]
        return PretrainingResult(weights, tuple(PretrainingSummary(**record) for record in history), ())
    return pretrain(
        recipe, folder, device=device, resume=state_file(folder).exists(), on_epoch=lambda epoch: progress(f"  {epoch}")
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """For PyTorch: decoding keeps the other cores busy, and a network this small loses more by waiting for them than it gains."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _extract(recipe: Recipe, corpus: Corpus, device: torch.device, progress: Say) -> FeatureStreams:
    extractor = GridExtractor(recipe.features, device)
    store = FeatureStore(recipe.features.store, extractor.fingerprint)
    with _one_thread():
        report = extract(
            [(clip.id, clip.path) for clip in corpus.clips], extractor, store, on_progress=quarters(progress, "videos")
        )
    if report.failed:
        _, reason = report.failed[0]
        raise FeatureError(
            f"{len(report.failed)} of the generated videos cannot be read; the first: {reason} "
            "Delete the damaged files and run the same again, which writes them anew."
        )
    return open_streams(recipe.features, [extractor])
