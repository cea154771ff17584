"""The demo from end to end: scenes, pretraining, features, training, captions, scores and a page.

    OUT/corpus        the videos, in MSR-VTT's layout
    OUT/pretraining   the image encoder
    OUT/features      the feature store
    OUT/model         the trained L-STAP, complete in itself
    OUT/lrcn          the baseline, if it was asked for
    OUT/metrics.json  facts recalled and scores of each system, and the seconds of each stage
    OUT/report.html   the page
    OUT/stages.json   seconds of each stage

Each stage continues what an interrupted run left, and finds what is finished.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from stap.captioning.captioner import Captioner
from stap.captioning.model_folder import load_run
from stap.corpora.corpus import SPLITS, Clip
from stap.experiments.demo.scores import SystemScores, score_constant, scores_as_text, scores_table
from stap.experiments.facts import count_facts
from stap.experiments.reproduce.request import scene_recipe
from stap.experiments.reproduce.runs import RowData, evaluate_row, train_row
from stap.experiments.reproduce.scene_rows import QUICK, SceneSize
from stap.experiments.reproduce.scenes import PreparedScenes, prepare_scenes
from stap.experiments.stages import Say, Stages
from stap.files import folder_lock, write_json
from stap.reports.scenes_page import choose_shown, curves, recalled, write_scenes_page
from stap.scoring.baselines import most_frequent_caption
from stap.scoring.metrics import Scorer
from stap.training.loop import TrainingResult
from stap.video.threads import available_cores

__all__ = ["DemoResult", "run_demo"]

CLIPS_ON_PAGE, CLIPS_PRINTED = 12, 6
METRICS_FILE = "metrics.json"


@dataclass(frozen=True)
class System:
    """A trained system: its folder in OUT, and the model settings in which it differs from the recipe."""

    name: str
    folder: str
    model: Mapping[str, str]


LSTAP = System("L-STAP", "model", {})
LRCN = System("LRCN", "lrcn", {"kind": "lrcn"})


@dataclass(frozen=True)
class DemoResult:
    """The folders and scores of a demo.   systems: L-STAP first, the most frequent caption last.   shown: some of the test clips."""

    out: Path
    systems: tuple[SystemScores, ...]
    shown: tuple[Clip, ...]
    seconds: Mapping[str, float]

    @property
    def model(self) -> Path:
        """L-STAP's model folder."""
        return self.out / LSTAP.folder

    @property
    def try_next(self) -> str:
        """Arguments of `stap` that caption a test video."""
        return f"caption {shlex.quote(str(self.shown[0].path))} --model {shlex.quote(str(self.model))}"

    def __str__(self) -> str:
        clips = "\n\n".join(self._described(clip) for clip in self.shown)
        stages = ", ".join(f"{name} {seconds:.0f}" for name, seconds in self.seconds.items())
        return (
            f"{clips}\n\n{scores_as_text(self.systems)}\n\nSeconds: {stages}; {sum(self.seconds.values()):.0f} in all.\n"
            f"Model:   {self.model}\nMetrics: {self.out / METRICS_FILE}\nReport:  {self.out / 'report.html'}"
        )

    def _described(self, clip: Clip) -> str:
        lines = [f"{clip.id}: facts {recalled(clip, self.systems[0].captions[clip.id])}"]
        lines += [f"  {system.name + ':':10} {system.captions[clip.id]}" for system in self.systems[:-1]]
        return "\n".join(
            [*lines, *(f"  {'reference:' if i == 0 else '':10} {line}" for i, line in enumerate(clip.captions[:3]))]
        )


def run_demo(
    out: Path,
    *,
    size: SceneSize = QUICK,
    compare: bool = False,
    device: torch.device | str = "cpu",
    seed: int = 1,
    progress: Say = print,
) -> DemoResult:
    """Run the whole path in the folder `out`, or finish what an interrupted run left there.

    compare: also train the baseline, with the same recipe but for the kind of the model.   progress: called with each line.
    Seeds torch's global generators. Raises CorpusError, ConfigError or CheckpointError if `out` holds another demo, StapError if another
    process writes there.
    """
    with folder_lock(out):
        return _run_demo(out, size, compare, torch.device(device), seed, progress)


def _run_demo(out: Path, size: SceneSize, compare: bool, device: torch.device, seed: int, progress: Say) -> DemoResult:
    stages = Stages(out / "stages.json", progress)
    prepared = prepare_scenes(scene_recipe(out, size, seed), out, size.videos, stages, device)
    trained = (LSTAP, LRCN) if compare else (LSTAP,)
    trainings = {system.name: _train(system, prepared, out, stages, device) for system in trained}
    clips = prepared.corpus.split("test")
    with stages.stage("scoring", f"Captioning and scoring {len(clips)} test videos of combinations that training never showed"):
        common = most_frequent_caption(caption for clip in prepared.corpus.split("train") for caption in clip.captions)
        with Scorer({clip.id: clip.captions for clip in clips}) as scorer:  # one METEOR, which begins to load here
            ours = [_score(system, prepared.row_data, out, device, scorer) for system in trained]
            systems = (*ours, score_constant("most frequent caption", common, clips, scorer))
    shown = choose_shown(clips, systems[0].captions, CLIPS_ON_PAGE)
    with stages.stage("report", f"Writing {out / 'report.html'}"):
        captioner = Captioner(load_run(out / LSTAP.folder, device), device)
        made = _how_made(prepared, captioner) | {f"Time for {name}": f"{took:.0f} s" for name, took in stages.seconds.items()}
        lines = curves(prepared.pretraining, trainings)
        captions = {one.name: one.captions for one in systems}
        write_scenes_page(out / "report.html", captioner, shown, scores_table(systems), captions, lines, made)
    _write_metrics(out / METRICS_FILE, prepared, systems, stages.seconds)
    return DemoResult(out, systems, tuple(shown[:CLIPS_PRINTED]), stages.seconds)


def _train(system: System, prepared: PreparedScenes, out: Path, stages: Stages, device: torch.device) -> TrainingResult:
    model = prepared.recipe.model.model_copy(update=dict(system.model))
    recipe = prepared.recipe.model_copy(update={"model": model})
    with stages.stage(f"training {system.name}", f"Training {system.name} for {recipe.training.epochs} epochs"):
        return train_row(
            out / system.folder, recipe, prepared.row_data, device=device, say=lambda line: stages.say(f"  {line}")
        )


def _score(system: System, data: RowData, out: Path, device: torch.device, scorer: Scorer) -> SystemScores:
    evaluation = evaluate_row(out / system.folder, data, device, sharing=scorer)
    captions = {video_id: found.caption for video_id, found in evaluation.captions.items()}
    facts = count_facts(data.corpus.split("test"), captions)
    return SystemScores(system.name, captions, facts, evaluation.scores.corpus)


def _write_metrics(
    path: Path, prepared: PreparedScenes, systems: tuple[SystemScores, ...], seconds: Mapping[str, float]
) -> None:
    content = {
        "recipe": prepared.recipe.name,
        "seed": prepared.recipe.seed,
        "clips": {split: len(prepared.corpus.split(split)) for split in SPLITS},
        "systems": [system.to_json() for system in systems],
        "seconds": dict(seconds),
    }
    write_json(path, content)


def _how_made(prepared: PreparedScenes, captioner: Captioner) -> dict[str, str]:
    recipe, corpus, (rows, columns) = prepared.recipe, prepared.corpus, captioner.extractor.grid_size
    features, training = recipe.features, recipe.training
    splits = ", ".join(f"{len(corpus.split(name))} {name}" for name in SPLITS)
    return {
        "Recipe": f"{recipe.name} (`stap recipes {recipe.name}` prints it), seed {recipe.seed}",
        "Scenes": f"{len(corpus.clips)} generated videos: {splits}",
        "Image encoder": f"{features.backbone}, {recipe.pretraining.epochs} epochs of frame-sentence matching",
        "Features": f"{features.frames} frames of {features.image_size} pixels, {rows}x{columns} places of {captioner.extractor.feature_size}",
        "Model": f"{LSTAP.name}, {recipe.model.pooling} pooling, H = {recipe.model.hidden_size}, {training.epochs} epochs",
        "Decoding": f"beam of {recipe.decoding.beam_width}",
        "Machine": f"{captioner.device}, {available_cores()} processor cores, PyTorch {torch.__version__}",
    }
