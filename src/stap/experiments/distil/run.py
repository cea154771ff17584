"""A distillation from end to end. Each step continues what an interrupted run left, and finds what is finished.

OUT/said.jsonl             everything that the teacher said, a line a video, after one that says who was asked and how
OUT/corpus/teacher.jsonl   a folder corpus: what the filter kept, a line a caption with its provenance
OUT/corpus/human.jsonl     human captions of training and validation videos, each as often as it counts
OUT/recipe.yaml            for `stap train`, after captions were corrected
OUT/features               the feature store
OUT/model                  the student, complete in itself
OUT/unfiltered             the student of everything that the teacher said, unless left out
OUT/metrics.json, OUT/report.html, OUT/stages.json
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from stap.captioning.captions import caption_clips
from stap.captioning.model_folder import load_run
from stap.corpora.corpus import Clip, Corpus
from stap.corpora.loading import load_corpus
from stap.errors import FeatureError
from stap.experiments.distil.clips import Said, SourceClip, find_clips
from stap.experiments.distil.filter import Filtered, filter_captions
from stap.experiments.distil.request import Request
from stap.experiments.distil.results import (
    STUDENT,
    TEACHER,
    UNFILTERED,
    Results,
    measure_speed,
    score_systems,
    teacher_speed,
    write_page,
)
from stap.experiments.distil.said import Teacher, ask_teacher
from stap.experiments.reproduce.runs import RowData, train_row
from stap.experiments.stages import Say, Stages, progress_lines
from stap.features.extract import extract
from stap.features.extractor import build_extractors, weights_files
from stap.features.store import FeatureStore
from stap.features.streams import open_streams
from stap.files import folder_lock, read_json, write_atomically, write_json
from stap.recipes.files import recipe_to_yaml
from stap.recipes.settings import CorpusSettings, Recipe

__all__ = ["distil"]

FILTER_FILE = "filter.json"


def distil(request: Request, say: Say = print) -> Results:
    """Teach a student in the folder `request.out`, or finish what an interrupted run left there.

    Seeds torch's global generators. Raises StapError: CorpusError for videos and captions that do not go together, ConfigError where the
    folder holds another distillation, or the licence of the teacher's output is known to nobody.
    """
    with folder_lock(request.out):
        return _distil(request, say)


def _distil(request: Request, say: Say) -> Results:
    stages = Stages(request.out / "stages.json", say)
    clips = find_clips(request.videos, request.captions, request.source, request.recipe.seed)
    with stages.stage("teacher", f"Asking {request.teacher} about {len(clips)} videos"):
        teacher, said = ask_teacher(request, clips, say, progress_lines(say, "videos", parts=10))
    clips = tuple(clip for clip in clips if clip.id in said)
    filtered = filter_captions({clip.id: said[clip.id] for clip in clips if clip.split != "test"}, request.filter)
    recipe = _recipe(request, teacher)
    _write_corpus(request, teacher, clips, said, filtered)
    corpus = load_corpus(recipe.corpus)
    with stages.stage("features", f"Extracting features of {len(clips)} videos"):
        data = _with_features(request, recipe, corpus, {clip.id: clip.path for clip in clips}, say)
    folders = {STUDENT: request.out / "model"} | ({UNFILTERED: request.out / "unfiltered"} if request.ablation else {})
    everything = _unfiltered(data.corpus, said, filtered)
    for system, folder in folders.items():
        with stages.stage(f"training {system}", f"Training the {system} for {recipe.training.epochs} epochs"):
            train_row(
                folder,
                recipe,
                data if system == STUDENT else replace(data, corpus=everything),
                device=request.device,
                say=lambda line: say(f"  {line}"),
            )
    with stages.stage("report", f"Scoring, and writing {request.out / 'report.html'}"):
        results = _results(request, data, clips, said, filtered, folders, _made(request, teacher, corpus), teacher)
        write_json(request.out / "metrics.json", results.to_json())
        shown = {clip.id for clip in data.corpus.split("test")}
        test = [clip for clip in clips if clip.id in shown]
        write_page(request.out / "report.html", results, folders[STUDENT], test, said, request.device)
    return results


def _recipe(request: Request, teacher: Teacher) -> Recipe:
    """The student's recipe, which reads the corpus of this folder. Its description goes into the model card."""
    folder = request.out.absolute()
    files = ("teacher.jsonl", *(("human.jsonl",) if request.captions else ()))
    place = {"kind": "folder", "root": folder / "corpus", "videos": request.videos.absolute(), "captions": files}
    description = (
        f"A student of {teacher.name} (revision {teacher.revision}), which captioned its training videos. "
        f"Licence of the teacher's output: {teacher.licence}."
    )
    return request.recipe.model_copy(
        update={
            "name": request.out.resolve().name,
            "description": description,
            "corpus": CorpusSettings.model_validate({**place, "limits": request.limits}),
            "features": request.recipe.features.model_copy(update={"store": folder / "features"}),
        }
    )


def _write_corpus(
    request: Request, teacher: Teacher, clips: Sequence[SourceClip], said: Mapping[str, Sequence[Said]], filtered: Filtered
) -> None:
    """The tables of captions. Those that were made of the same answers are left alone: somebody may have corrected them."""
    folder = request.out / "corpus"
    provenance = {"teacher": teacher.name, "revision": teacher.revision, "prompt": teacher.fingerprint.get("prompt")}
    rows, human = [], []
    for clip in clips:
        video = {"video": clip.path.relative_to(request.videos).as_posix()}
        kept = said[clip.id] if clip.split == "test" else filtered.kept.get(clip.id, ())
        rows += [
            video
            | {"caption": one.caption, "split": clip.split, "by": one.by, "score": one.score, "seconds": one.seconds}
            | provenance
            for one in kept
        ]
        if clip.human and clip.split != "test":
            times = request.human_weight if clip.split == "train" else 1
            human += [video | {"caption": one, "split": clip.split} for one in clip.human.captions for _ in range(times)]
    tables = {"teacher.jsonl": rows} | ({"human.jsonl": human} if request.captions else {})
    made_of = hashlib.sha256(json.dumps([rows, human]).encode()).hexdigest()
    if _made_of(folder) == made_of and all((folder / name).exists() for name in tables):
        return
    for name, table in tables.items():
        write_atomically(folder / name, b"".join(json.dumps(row).encode() + b"\n" for row in table))
    content = {"made_of": made_of, "settings": asdict(request.filter), "dropped": filtered.counts}
    write_json(folder / FILTER_FILE, content)
    write_atomically(request.out / "recipe.yaml", recipe_to_yaml(_recipe(request, teacher)).encode())


def _made_of(folder: Path) -> Any:
    try:
        return read_json(folder / FILTER_FILE)["made_of"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _with_features(request: Request, recipe: Recipe, corpus: Corpus, paths: Mapping[str, Path], say: Say) -> RowData:
    extractors = build_extractors(recipe, request.device, request.limits)
    items = [(clip.id, paths.get(clip.id, clip.path)) for clip in corpus.clips]
    for extractor in extractors:
        store = FeatureStore(recipe.features.store, extractor.spec.fingerprint)
        report = extract(items, extractor, store, on_progress=progress_lines(say, "videos"))
        for video, reason in report.failed:
            say(f"  {video}: {reason}")
        if len(report.failed) == len(items):
            raise FeatureError(f"{request.videos}: no video gave features; the reasons are above.")
    streams = open_streams(recipe.features, extractors)
    return RowData(corpus.only(streams, "features in every stream"), streams, weights_files(extractors))


def _unfiltered(corpus: Corpus, said: Mapping[str, Sequence[Said]], filtered: Filtered) -> Corpus:
    """The same clips with everything that the teacher said, and the human captions."""
    clips = []
    for clip in corpus.clips:
        kept = [one.caption for one in filtered.kept.get(clip.id, ())]
        others = list(clip.captions)
        for caption in kept:
            if caption in others:
                others.remove(caption)
        captions = clip.captions if clip.split == "test" else (*(one.caption for one in said[clip.id]), *others)
        clips.append(replace(clip, captions=captions))
    return Corpus(corpus.name, tuple(clips))


def _results(
    request: Request,
    data: RowData,
    clips: Sequence[SourceClip],
    said: Mapping[str, Sequence[Said]],
    filtered: Filtered,
    folders: Mapping[str, Path],
    made: Mapping[str, str],
    teacher: Teacher,
) -> Results:
    test = data.corpus.split("test")
    predictions = {system: _captions(folder, data, test, request) for system, folder in folders.items()}
    people = {clip.id: clip.human for clip in clips if clip.human and clip.split == "test"}
    human = {clip.id: replace(people[clip.id], id=clip.id) for clip in test if clip.id in people}
    paths = [clip.path for clip in clips if clip.split == "test"]
    speeds = {STUDENT: measure_speed(folders[STUDENT], paths, request.device, request.limits), TEACHER: teacher_speed(teacher)}
    counts = {f"{split} videos": len(data.corpus.split(split)) for split in ("train", "validation", "test")}
    kept = sum(map(len, filtered.kept.values()))
    agreement, against_people = score_systems(predictions, {clip.id: said[clip.id] for clip in test}, human)
    return Results(
        agreement=agreement,
        human=against_people,
        human_videos=len(human),
        speeds=speeds,
        counts=counts | {"captions said": kept + len(filtered.dropped), "captions kept": kept},
        filtered=filtered,
        settings=request.filter,
        made=made,
    )


def _captions(folder: Path, data: RowData, test: Sequence[Clip], request: Request) -> dict[str, str]:
    run = load_run(folder, request.device)
    found = caption_clips(run.model, run.vocabulary, data.store, test, run.recipe.decoding, request.device)
    return {video: one.caption for video, one in found.items()}


def _made(request: Request, teacher: Teacher, corpus: Corpus) -> dict[str, str]:
    splits = ", ".join(f"{len(corpus.split(split))} {split}" for split in ("train", "validation", "test"))
    draws = request.draws
    return {
        "Teacher": teacher.name,
        "Revision": teacher.revision or "",
        "Licence of the teacher's output": teacher.licence,
        "Question": str(teacher.fingerprint.get("prompt") or "none"),
        "Asked for": f"a caption by beam search and {draws.count} drawn at temperature {draws.temperature:g}, seed {draws.seed}",
        "Videos": f"{splits}; split by source video",
        "Human captions": f"{request.captions}, each counts {request.human_weight} times" if request.captions else "none",
        "Student": f"{request.recipe.name}, seed {request.recipe.seed}",
    }
