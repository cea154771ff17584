"""Facts that students recall on generated scenes: trained on the captions of the demo's model, on human captions, or on both.

    stap demo --out demo
    python -m benchmarks.student demo --out student [--videos 2000] [--fewer 200] [--seeds 1 2] [--epochs 9] [--hidden 64]

New scenes, of which 200 are for testing; what people say of them is what the scenes' grammar says. The teacher captions the training videos
(`stap distil`). Each student has the demo's recipe, its image encoder and another LSTM; all make the same number of updates, and only the last
epoch counts. The same command continues what was interrupted.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from stap.corpora.corpus import Corpus
from stap.experiments.distil import Request
from stap.experiments.distil.clips import SourceClip
from stap.experiments.distil.filter import filter_captions
from stap.experiments.distil.results import measure_speed
from stap.experiments.distil.said import ask_teacher
from stap.experiments.facts import count_facts, share
from stap.experiments.reproduce.runs import RowData, evaluate_row, train_row
from stap.experiments.stages import progress_lines
from stap.features.extract import extract
from stap.features.extractor import build_extractors, weights_files
from stap.features.store import FeatureStore
from stap.features.streams import open_streams
from stap.recipes.files import load_recipe
from stap.recipes.settings import Recipe, VideoLimits
from stap.scenes import write_scenes
from stap.video.threads import available_cores

HELD_OUT = 200  # scenes each for validation and for testing
CPU = torch.device("cpu")
SCENES_SEED = 1000  # not the demo's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="folder of a finished demo: the teacher, and the image encoder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--videos", type=int, default=2000)
    parser.add_argument("--fewer", type=int, default=200, help="videos of which people's captions are few")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--hidden", type=int, default=64, help="size of the student's LSTM")
    given = parser.parse_args()
    corpus = scenes(given.out / "scenes", given.videos)
    recipe = student_recipe(given.demo, given.out, given.videos, given.epochs, given.hidden)
    taught, test = what_the_teacher_says(corpus, given.demo / "model", recipe, given.out)
    people = {clip.id: clip.captions for clip in corpus.split("train")}
    few = dict(list(people.items())[: given.fewer])
    both = {video: (*taught.get(video, ()), *few.get(video, ())) for video in people if video in taught or video in few}
    trained_on = {
        f"the teacher's captions of {len(taught)} videos": taught,
        f"people's captions of {len(few)} videos": few,
        f"people's captions of {len(people)} videos": people,
        f"the teacher's of {len(taught)}, and people's of {len(few)}": both,
    }
    print(f"teacher: {recalled(corpus, test):.1f}; {speed(corpus, given.demo / 'model')}", flush=True)
    data = with_features(corpus, recipe)
    for number, (name, captions) in enumerate(trained_on.items()):
        found = [student(data, captions, recipe, seed, given.out / f"student{number}-{seed}") for seed in given.seeds]
        print(f"student of {name}: {', '.join(f'{facts:.1f}' for facts in found)}", flush=True)
    print(f"a student: {speed(corpus, given.out / f'student0-{given.seeds[0]}')}", flush=True)


def scenes(out: Path, videos: int) -> Corpus:
    """New scenes: `videos` for training, and 200 each for validation and testing, whatever the splits of their own corpus."""
    written = write_scenes(out, videos=(videos + HELD_OUT) * 6 // 5, seed=SCENES_SEED, workers=available_cores())
    test = written.split("test")[:HELD_OUT]  # combinations that training scenes do not have
    others = (*written.split("validation"), *written.split("train"))[: HELD_OUT + videos]
    parts = ("validation", others[:HELD_OUT]), ("train", others[HELD_OUT:]), ("test", test)
    return Corpus("scenes", tuple(replace(clip, split=split) for split, clips in parts for clip in clips))


def student_recipe(demo: Path, out: Path, videos: int, epochs: int, hidden: int) -> Recipe:
    return load_recipe(
        "demo/quick",
        [
            f"features.weights={demo}/pretraining/backbone.safetensors",
            f"features.store={out}/features",
            f"model.hidden_size={hidden}",
            f"model.attention_size={hidden // 2}",
            f"training.epochs={epochs}",
            f"training.epoch_updates={videos // 16}",
            f"training.validate_every={epochs}",
        ],
    )


def what_the_teacher_says(
    corpus: Corpus, teacher: Path, recipe: Recipe, out: Path
) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """What the filter keeps of its captions of the training videos, and its caption by beam search of each test video."""
    request = Request(out / "scenes", str(teacher), out, recipe, output_licence="Apache-2.0")
    clips = [SourceClip(clip.id, clip.path, clip.split) for clip in corpus.clips if clip.split != "validation"]
    said = ask_teacher(request, clips, print, progress_lines(print, "videos"))[1]
    kept = filter_captions({clip.id: said[clip.id] for clip in clips if clip.split == "train"}, request.filter).kept
    captions = {video: tuple(one.caption for one in captions) for video, captions in kept.items() if captions}
    return captions, {clip.id: said[clip.id][0].caption for clip in clips if clip.split == "test"}


def with_features(corpus: Corpus, recipe: Recipe) -> RowData:
    extractors = build_extractors(recipe, CPU)
    for extractor in extractors:
        extract(
            [(clip.id, clip.path) for clip in corpus.clips],
            extractor,
            FeatureStore(recipe.features.store, extractor.spec.fingerprint),
        )
    return RowData(corpus, open_streams(recipe.features, extractors), weights_files(extractors))


def student(data: RowData, captions: Mapping[str, tuple[str, ...]], recipe: Recipe, seed: int, folder: Path) -> float:
    """Facts recalled, in percent, by a student that was trained on these captions of the training videos."""
    clips = [clip if clip.split != "train" else replace(clip, captions=captions[clip.id]) for clip in data.corpus.clips
             if clip.split != "train" or clip.id in captions]  # fmt: skip
    data = replace(data, corpus=Corpus("scenes", tuple(clips)))
    train_row(folder, recipe.model_copy(update={"seed": seed}), data, device=CPU, say=print)
    return recalled(data.corpus, {clip: one.caption for clip, one in evaluate_row(folder, data, CPU).captions.items()})


def speed(corpus: Corpus, model: Path) -> str:
    """From files, decoding included: the fastest of three rounds."""
    paths = [clip.path for clip in corpus.split("test")]
    found = max((measure_speed(model, paths, CPU, VideoLimits()) for _ in range(3)), key=lambda one: one.captions_per_second)
    return f"{found.captions_per_second:.1f} captions a second, {found.parameters:,} parameters"


def recalled(corpus: Corpus, captions: Mapping[str, str]) -> float:
    """Percent of the test scenes' facts."""
    return 100 * (share(count_facts(corpus.split("test"), captions)["facts"]) or 0.0)


if __name__ == "__main__":
    main()
