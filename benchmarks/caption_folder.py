"""`Captioner.caption_many` on short clips, against the extraction of their features and `caption_clips` from the store.

    python -m benchmarks.caption_folder [--videos 200] [--size 96]

Both decode, extract and caption the same clips with the same weights in one process, in turn. Reports the median ratio of the seconds; start-up
is in neither. Weights are random, which does not change the speed; every caption has the same length.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import safetensors.torch
import torch
from benchmarks.extraction import make_videos
from benchmarks.table import Row, markdown

from stap.captioning.captioner import Captioner
from stap.captioning.captions import caption_clips
from stap.captioning.model_folder import load_run, save_description, save_weights
from stap.commands.shared.cores import polite_threads
from stap.corpora.corpus import Clip
from stap.features.backbone import build_backbone
from stap.features.extract import extract
from stap.features.grid import GridExtractor
from stap.features.store import FeatureStore
from stap.features.streams import FeatureStreams
from stap.models.build import build_model
from stap.recipes.files import load_recipe
from stap.text.vocabulary import Vocabulary


def main() -> None:
    print(markdown(rows(*sys.argv[1:])))


def rows(*given: str) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(given)
    with tempfile.TemporaryDirectory() as folder, polite_threads():
        captioner = make_captioner(Path(folder))
        videos = make_videos(Path(folder), arguments.videos, arguments.size)
        rounds = [
            (together(captioner, videos), by_store(captioner, videos, Path(folder) / f"store{number}"))
            for number in range(arguments.rounds)
        ]
    return [
        Row(
            f"captions of {arguments.videos} clips of {arguments.size} pixels by `caption_many`",
            "extraction, then captions from the store",
            statistics.median(whole / split for whole, split in rounds),
            goal=1.1,
            bound="decoding and the network of the features, which both have",
            detail=f"{statistics.median(whole for whole, _ in rounds):.1f} s",
        )
    ]


def make_captioner(folder: Path) -> Captioner:
    """The demo's model and backbone with random weights."""
    recipe = load_recipe("demo/quick")
    weights = folder / "backbone.safetensors"
    backbone = build_backbone("resnet10t", recipe.features.backbone_options, weights="random")
    safetensors.torch.save_file(backbone.state_dict(), weights)
    recipe = recipe.model_copy(update={"features": recipe.features.model_copy(update={"weights": str(weights)})})
    extractor = GridExtractor(recipe.features)
    vocabulary = Vocabulary.from_counts({f"w{number}": 1 for number in range(96)})
    model = build_model(recipe.model, {"grid": extractor.spec}, vocabulary_size=len(vocabulary))
    save_description(folder / "run", recipe, vocabulary, {"grid": extractor.spec}, {"features": weights})
    save_weights(folder / "run", model)
    return Captioner(load_run(folder / "run", torch.device("cpu")), torch.device("cpu"))


def by_store(captioner: Captioner, videos: list[tuple[str, Path]], folder: Path) -> float:
    started = time.perf_counter()
    store = FeatureStore(folder, captioner.extractor.spec.fingerprint)
    extract(videos, captioner.extractor, store)
    clips = [Clip(video_id, path, "test", ("a",)) for video_id, path in videos]
    streams = FeatureStreams({"grid": store})
    found = caption_clips(captioner.model, captioner.run.vocabulary, streams, clips, captioner.decoding)
    assert len(found) == len(videos)
    return time.perf_counter() - started


def together(captioner: Captioner, videos: list[tuple[str, Path]]) -> float:
    started = time.perf_counter()
    assert len(list(captioner.caption_many([path for _, path in videos]))) == len(videos)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
