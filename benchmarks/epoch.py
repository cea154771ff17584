"""An epoch with all captions of a video together, against the same captions one a video at a time.

    python -m benchmarks.epoch              # grids of 49 places
    python -m benchmarks.epoch --places 1   # pooled frames: hardly any encoder to share

Both read the features, compute loss and gradient, and move the weights; one has 16 captions of 16 videos in an update, the other all 40
captions of 4. The sum of the gradients over the epoch, without a move of the weights, must be the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from benchmarks.table import Row, against, markdown
from torch import Tensor

from stap.captioning.batches import read_ahead
from stap.corpora.corpus import Clip
from stap.features.store import FeatureStore, VideoFeatures
from stap.features.streams import FeatureStreams
from stap.models.build import build_model
from stap.models.caption_model import CaptionModel
from stap.recipes.settings import ModelSettings, TrainingSettings
from stap.recipes.streams import StreamSpec
from stap.text.rules import TokenizedClip
from stap.text.vocabulary import Vocabulary
from stap.training.batches import Batch, CaptionedVideos
from stap.training.optimizer import build_optimizer
from stap.training.step import batch_loss, update

VIDEOS, CAPTIONS = 16, 40  # MSVD has about 40 captions a clip
T, D, H, A, E, V = 30, 512, 256, 128, 300, 9728
TOGETHER = TrainingSettings(batch_size=4, captions_per_video=CAPTIONS)
ONE_BY_ONE = TrainingSettings(batch_size=16, captions_per_video=1)


def main() -> None:
    print(markdown(rows(*sys.argv[1:])))


def rows(*given: str) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", type=int, default=49, help="R, of a frame (default: 49)")
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args(given)
    with tempfile.TemporaryDirectory() as folder:
        videos = make_videos(Path(folder), options.places)
        model = make_model(options.places)
        for one, other in zip(gradient(model, videos, TOGETHER), gradient(model, videos, ONE_BY_ONE), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(one.abs().max()))
        seconds, ratio = against(
            lambda: epoch(model, videos, ONE_BY_ONE), lambda: epoch(model, videos, TOGETHER), options.repeats
        )
    return [
        Row(
            f"an epoch with all {CAPTIONS} captions of a video together, T={T} R={options.places} D={D} H={H} V={V:,}",
            "one caption a video at a time, same captions, same sum of gradients",
            ratio,
            goal=8 if options.places > 1 else None,
            bound="the words, which both compute; only the encoder and the reading are shared",
            at_least=True,
            detail=f"times faster; {seconds / ratio:.1f} and {seconds:.1f} s",
        )
    ]


def make_videos(folder: Path, places: int) -> CaptionedVideos:
    """Random features in a store, and captions of 4 to 14 random words, 9 on average."""
    random = np.random.default_rng(0)
    spec = make_spec(places)
    store = FeatureStore(folder, spec.fingerprint)
    vocabulary = Vocabulary.from_counts({f"w{number}": 1 for number in range(V - 4)})
    clips = []
    for number in range(VIDEOS):
        store.write(f"video{number}", VideoFeatures({"grid": torch.randn(T, places, D).half()}))
        clip = Clip(f"video{number}", folder / "none.mp4", "train", ("a",))
        lengths = 4 + random.binomial(10, 0.5, size=CAPTIONS)
        words = tuple([f"w{word}" for word in random.integers(0, V - 4, length)] for length in lengths)
        clips.append(TokenizedClip(clip, words, words))
    return CaptionedVideos(clips, vocabulary, FeatureStreams({"grid": store}))


def make_spec(places: int) -> StreamSpec:
    return StreamSpec.from_fingerprint("grid", {"stream": "grid", "feature_size": D, "grid": [places], "frames": T})


def make_model(places: int) -> CaptionModel:
    torch.manual_seed(0)
    settings = ModelSettings(
        pooling="mean", hidden_size=H, attention_size=A, embedding_size=E, dropout=0.0, matching_weight=0.0
    )
    return build_model(settings, {"grid": make_spec(places)}, vocabulary_size=V)


def batches(videos: CaptionedVideos, settings: TrainingSettings) -> Iterator[Batch]:
    return ((features.to("cpu"), words) for features, words in read_ahead(videos.batch, videos.one_pass(settings, [0])))


def gradient(model: CaptionModel, videos: CaptionedVideos, settings: TrainingSettings) -> list[Tensor]:
    """Of the loss of all captions, summed over an epoch."""
    model.zero_grad()
    for batch in batches(videos, settings):
        (batch_loss(model, batch, settings).total * len(batch[1].words)).backward()
    return [weight.grad for weight in model.parameters() if weight.grad is not None]


def epoch(model: CaptionModel, videos: CaptionedVideos, settings: TrainingSettings) -> None:
    optimizer = build_optimizer(settings.optimizer, model)
    for batch in batches(videos, settings):
        update(model, optimizer, batch, settings)


if __name__ == "__main__":
    main()
