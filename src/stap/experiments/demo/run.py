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

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from stap.captioning.captioner import Captioner
from stap.captioning.captions import caption_clips
from stap.captioning.model_folder import load_run
from stap.corpora.corpus import Clip, Corpus
from stap.experiments.demo.outcomes import Outcome, judge, text_table
from stap.experiments.demo.page import choose_shown, curves, recalled, write_page
from stap.experiments.demo.stages import Say, Stages
from stap.experiments.demo.steps import QUICK, DemoSize, prepare
from stap.features.streams import FeatureStreams
from stap.recipes.settings import Recipe
from stap.scoring.baselines import most_frequent_caption
from stap.training.loop import TrainingResult, fit
from stap.training.resume import state_file

__all__ = ["DemoResult", "run_demo"]

CLIPS_ON_PAGE, CLIPS_PRINTED = 12, 6


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
    stages = Stages(out / "stages.json", progress)
    systems = (LSTAP, *(BASELINES if compare else ()))
    prepared = prepare(out, size, stages, device, seed)
    recipe, corpus, store = prepared.recipe, prepared.corpus, prepared.store
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
        write_page(out / "report.html", captioner, shown, outcomes, curves(prepared.pretraining, trainings), made)
    return DemoResult(out / LSTAP.folder, out / "report.html", outcomes, tuple(shown[:CLIPS_PRINTED]), stages.seconds)


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
