"""The shared stages before models on generated scenes: the videos, the image encoder and the features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from stap.captioning.model_folder import read_recipe
from stap.corpora.corpus import Corpus
from stap.errors import FeatureError
from stap.experiments.reproduce.runs import RowData
from stap.experiments.stages import Say, Stages, progress_lines
from stap.features.extract import extract
from stap.features.grid import GridExtractor, PreparedVideo
from stap.features.store import FeatureStore
from stap.features.streams import FeatureStreams, open_streams
from stap.files import read_json
from stap.recipes.settings import Recipe
from stap.scenes import write_scenes
from stap.training.pretraining.pretrain import BACKBONE_FILE, PretrainingResult, PretrainingSummary, pretrain
from stap.training.resume import state_file
from stap.video.threads import available_cores

__all__ = ["PreparedScenes", "prepare_scenes"]


@dataclass(frozen=True)
class PreparedScenes:
    """What every model on scenes is trained on. The recipe names the image encoder's weights."""

    recipe: Recipe
    corpus: Corpus
    store: FeatureStreams
    pretraining: PretrainingResult

    @property
    def row_data(self) -> RowData:
        """What each model is trained on."""
        return RowData(self.corpus, self.store, {"features": Path(self.recipe.features.weights)})


def prepare_scenes(recipe: Recipe, out: Path, videos: int, stages: Stages, device: torch.device) -> PreparedScenes:
    """Videos, image encoder and features in the folder `out`, each finished before, continued or begun.

    recipe: as `scene_recipe` makes it. Raises CorpusError, ConfigError or CheckpointError if `out` holds other scenes.
    """
    say = stages.say
    with stages.stage("scenes", f"Writing {videos} generated videos to {out / 'corpus'}"):
        workers, report = available_cores(), progress_lines(say, "videos")
        corpus = write_scenes(out / "corpus", videos=videos, seed=recipe.seed, workers=workers, on_progress=report)
    with stages.stage("pretraining", "Training the image encoder by matching frames with sentences"):
        pretraining = _pretrain(recipe, out / "pretraining", device, say)
    recipe = recipe.model_copy(update={"features": recipe.features.model_copy(update={"weights": str(pretraining.weights)})})
    with stages.stage("features", f"Extracting the features of {recipe.features.frames} frames of each video"):
        store = _extract(recipe, corpus, device, say, pretraining.videos)
    return PreparedScenes(recipe, corpus, store, replace(pretraining, videos={}))  # they take much memory


def _pretrain(recipe: Recipe, folder: Path, device: torch.device, say: Say) -> PretrainingResult:
    """Train the encoder; a finished one is found, without decoding its videos again."""
    weights = folder / BACKBONE_FILE  # written last
    if weights.is_file() and read_recipe(folder).without_places() == recipe.without_places():
        history = read_json(folder / "metrics.json")["history"]
        return PretrainingResult(weights, tuple(PretrainingSummary(**record) for record in history), ())
    return pretrain(recipe, folder, device=device, resume=state_file(folder).exists(), on_epoch=lambda epoch: say(f"  {epoch}"))


def _extract(
    recipe: Recipe, corpus: Corpus, device: torch.device, say: Say, decoded: Mapping[Path, PreparedVideo]
) -> FeatureStreams:
    extractor = GridExtractor(recipe.features, device)
    if recipe.pretraining.frames_per_video == recipe.features.frames:
        extractor.already_read = decoded
    store = FeatureStore(recipe.features.store, extractor.spec.fingerprint)
    items = [(clip.id, clip.path) for clip in corpus.clips]
    extractor.limits = recipe.corpus.limits.for_files(len(items))
    report = extract(items, extractor, store, on_progress=progress_lines(say, "videos"))
    if report.failed:
        _, reason = report.failed[0]
        raise FeatureError(
            f"{len(report.failed)} of the generated videos cannot be read; the first: {reason} "
            "Delete the damaged files and run the same command again, which writes them again."
        )
    return open_streams(recipe.features, [extractor])
