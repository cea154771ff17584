"""The demo from end to end: scenes, pretraining, features, training, captions, scores and a page.

    OUT/corpus        the videos, in MSR-VTT's layout
    OUT/pretraining   the image encoder
    OUT/features      the feature store
    OUT/model         the trained L-STAP, complete in itself
    OUT/lrcn          the baseline, if it was asked for
    OUT/report.html   the page
    OUT/stages.json   seconds of each stage

Each stage continues what an interrupted run left, and finds what is finished.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stap.captioner import Captioner
from stap.config import Recipe, load_recipe
from stap.corpora.corpus import Clip, Corpus
from stap.corpora.scenes import write_scenes
from stap.demo.outcomes import Outcome, judge, text_table
from stap.demo.page import choose_shown, curves, recalled, write_page
from stap.demo.stages import Say, Stages, quarters
from stap.errors import FeatureError
from stap.features.extract import extract
from stap.features.grid import GridExtractor
from stap.features.store import FeatureStore
from stap.features.streams import FeatureStreams, open_streams
from stap.scoring.baselines import most_frequent_caption
from stap.training.evaluate import caption_clips
from stap.training.loop import TrainingResult, fit
from stap.training.pretraining import BACKBONE_FILE, PretrainingResult, PretrainingSummary, pretrain
from stap.training.resume import state_file
from stap.training.run_folder import load_run

__all__ = ["FULL", "QUICK", "DemoResult", "DemoSize", "run_demo"]

CLIPS_ON_PAGE, CLIPS_PRINTED = 12, 6


@dataclass(frozen=True)
class DemoSize:
    """How much the demo does. recipe: a built-in one.   overrides: settings that replace the recipe's."""

    recipe: str
    videos: int
    overrides: tuple[str, ...] = ()


QUICK = DemoSize("demo/quick", videos=3200)
FULL = DemoSize("demo/full", videos=6000)


@dataclass(frozen=True)
class System:
    """A model of the comparison: its folder in OUT, and the settings in which it differs from the recipe."""

    name: str
    folder: str
    model: Mapping[str, str]


LSTAP = System("L-STAP", "model", {})
BASELINES = (System("LRCN", "lrcn", {"kind": "lrcn"}),)


@dataclass(frozen=True)
class DemoResult:
    """What came of it.   outcomes: L-STAP first, the most frequent caption last.   shown: some of the test clips."""

    model: Path
    report: Path
    outcomes: tuple[Outcome, ...]
    shown: tuple[Clip, ...]
    seconds: Mapping[str, float]

    @property
    def try_next(self) -> str:
        """Arguments of `stap` that caption a test video."""
        return f"caption {shlex.quote(str(self.shown[0].path))} --model {shlex.quote(str(self.model))}"

    def __str__(self) -> str:
        clips = "\n\n".join(self._described(clip) for clip in self.shown)
        stages = ", ".join(f"{name} {seconds:.0f}" for name, seconds in self.seconds.items())
        total = sum(self.seconds.values())
        return (
            f"{clips}\n\n{text_table(self.outcomes)}\n\n"
            f"Seconds: {stages}; {total:.0f} in all.\nModel:   {self.model}\nReport:  {self.report}"
        )

    def _described(self, clip: Clip) -> str:
        lines = [f"{clip.id}: facts {recalled(clip, self.outcomes[0].captions[clip.id])}"]
        lines += [f"  {outcome.name + ':':10} {outcome.captions[clip.id]}" for outcome in self.outcomes[:-1]]
        return "\n".join(
            [*lines, *(f"  {'reference:' if i == 0 else '':10} {line}" for i, line in enumerate(clip.captions[:3]))]
        )


def run_demo(
    out: Path,
    *,
    size: DemoSize = QUICK,
    compare: bool = False,
    device: torch.device | str = "cpu",
    seed: int = 1,
    progress: Say = print,
) -> DemoResult:
    """Run the whole path in the folder `out`, or finish what an interrupted run left there.

    compare: also train the baseline, with the same recipe but for the kind of the model.   progress: told what is being done.
    Seeds torch's global generators. Raises CorpusError, ConfigError or CheckpointError if `out` holds another demo.
    """
    device = torch.device(device)
    recipe, stages = _recipe(out, size, seed), Stages(out / "stages.json", progress)
    systems = (LSTAP, *(BASELINES if compare else ()))
    with stages.stage("scenes", f"Writing {size.videos} generated videos to {out / 'corpus'}"):
        workers, report = os.cpu_count() or 1, quarters(progress, "videos")
        corpus = write_scenes(out / "corpus", videos=size.videos, seed=seed, workers=workers, on_progress=report)
    with stages.stage("pretraining", "Training the image encoder by matching frames with sentences"):
        pretraining = _pretrain(recipe, out / "pretraining", device, progress)
    recipe = recipe.model_copy(update={"features": recipe.features.model_copy(update={"weights": str(pretraining.weights)})})
    with stages.stage("features", f"Extracting the features of {recipe.features.frames} frames of each video"):
        store = _extract(recipe, corpus, device, progress)
    trainings = {}
    for system in systems:
        with stages.stage(f"training {system.name}", f"Training {system.name} for {recipe.training.epochs} epochs"):
            trainings[system.name] = _train(system, recipe, corpus, store, out, device, progress)
    clips = corpus.split("test")
    with stages.stage("scoring", f"Captioning and scoring {len(clips)} test videos of combinations that training never showed"):
        captions = {system.name: _captions(out / system.folder, clips, store, device) for system in systems}
        common = most_frequent_caption(caption for clip in corpus.split("train") for caption in clip.captions)
        outcomes = judge(captions | {"most frequent caption": dict.fromkeys(captions[LSTAP.name], common)}, clips)
    shown = choose_shown(clips, outcomes[0].captions, CLIPS_ON_PAGE)
    with stages.stage("report", f"Writing {out / 'report.html'}"):
        captioner = Captioner(load_run(out / LSTAP.folder, device), device)
        made = _how_made(recipe, corpus, captioner, seed) | _times(stages.seconds)
        write_page(out / "report.html", captioner, shown, outcomes, curves(pretraining, trainings), made)
    return DemoResult(out / LSTAP.folder, out / "report.html", outcomes, tuple(shown[:CLIPS_PRINTED]), stages.seconds)


def _recipe(out: Path, size: DemoSize, seed: int) -> Recipe:
    recipe = load_recipe(size.recipe, [*size.overrides, f"seed={seed}"])
    corpus = recipe.corpus.model_copy(update={"root": out / "corpus"})
    features = recipe.features.model_copy(update={"store": out / "features"})
    return recipe.model_copy(update={"corpus": corpus, "features": features})


def _pretrain(recipe: Recipe, folder: Path, device: torch.device, progress: Say) -> PretrainingResult:
    """Train the encoder; one that is finished is found, without decoding its videos again."""
    weights = folder / BACKBONE_FILE  # written last
    if weights.is_file() and _read(folder / "config.json").get("recipe") == recipe.model_dump(mode="json"):
        history = _read(folder / "metrics.json")["history"]
        return PretrainingResult(weights, tuple(PretrainingSummary(**record) for record in history), ())
    return pretrain(
        recipe, folder, device=device, resume=state_file(folder).exists(), on_epoch=lambda epoch: progress(f"  {epoch}")
    )


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _extract(recipe: Recipe, corpus: Corpus, device: torch.device, progress: Say) -> FeatureStreams:
    extractor = GridExtractor(recipe.features, device)
    store = FeatureStore(recipe.features.store, extractor.fingerprint)
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


def _train(
    system: System, recipe: Recipe, corpus: Corpus, store: FeatureStreams, out: Path, device: torch.device, progress: Say
) -> TrainingResult:
    folder = out / system.folder
    return fit(
        recipe.model_copy(update={"model": recipe.model.model_copy(update=dict(system.model))}),
        corpus,
        store,
        folder,
        weights={"features": Path(recipe.features.weights)},
        device=device,
        resume=state_file(folder).exists(),
        on_epoch=lambda epoch: progress(f"  {epoch}"),
    )


def _captions(folder: Path, clips: tuple[Clip, ...], store: FeatureStreams, device: torch.device) -> dict[str, str]:
    run = load_run(folder, device)
    found = caption_clips(run.model, run.vocabulary, store, clips, run.recipe.decoding, device)
    return {video_id: caption.caption for video_id, caption in found.items()}


def _how_made(recipe: Recipe, corpus: Corpus, captioner: Captioner, seed: int) -> dict[str, str]:
    features, training, (rows, columns) = recipe.features, recipe.training, captioner.extractor.grid_size
    splits = ", ".join(f"{len(corpus.split(name))} {name}" for name in ("train", "validation", "test"))
    return {
        "Recipe": f"{recipe.name} (`stap recipes {recipe.name}` prints it), seed {seed}",
        "Scenes": f"{len(corpus.clips)} generated videos: {splits}",
        "Image encoder": f"{features.backbone}, {recipe.pretraining.epochs} epochs of frame-sentence matching",
        "Features": f"{features.frames} frames of {features.image_size} pixels, {rows}x{columns} places of {captioner.extractor.feature_size}",
        "Model": f"{LSTAP.name}, {recipe.model.pooling} pooling, H = {recipe.model.hidden_size}, {training.epochs} epochs",
        "Decoding": f"beam of {recipe.decoding.beam_width}",
        "Machine": f"{captioner.device}, {os.cpu_count()} processor cores, PyTorch {torch.__version__}",
    }


def _times(seconds: Mapping[str, float]) -> dict[str, str]:
    return {f"Time for {name}": f"{took:.0f} s" for name, took in seconds.items()}
