"""Reading features while training, against a NumPy memmap of the same bytes.

    python -m benchmarks.reading [--videos 32] [--batch 8]

Both copy each video's features into a batch, in a random order, from files in the page cache: the hardest case, because a disk takes
longer. Features have the size of L-STAP's (30 frames, 49 places, 2,048 features, float16: 6 MB a video). What the check of a file costs
when it is first read is in python -m benchmarks.checksums.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from benchmarks.table import Row, against, markdown

from stap.corpora.corpus import Clip
from stap.features.store import FeatureStore, VideoFeatures
from stap.features.streams import FeatureStreams
from stap.text.rules import TokenizedClip
from stap.text.vocabulary import Vocabulary
from stap.training.batches import CaptionedVideos, Group

SHAPE = (30, 49, 2048)
FINGERPRINT = {"stream": "grid", "feature_size": SHAPE[2], "grid": [SHAPE[1]], "frames": SHAPE[0]}


def main() -> None:
    print(markdown(rows(*sys.argv[1:])))


def rows(*given: str) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args(given)
    batches = np.random.default_rng(0).permutation(options.videos).reshape(-1, options.batch)
    with tempfile.TemporaryDirectory() as folder:
        videos, plain = make_features(Path(folder), options.videos)

        def by_memmap() -> None:
            for numbers in batches:
                plain[numbers]

        def by_store() -> None:
            for numbers in batches:
                videos.batch([Group(int(number), (0,)) for number in numbers])

        seconds, slower = against(by_store, by_memmap, options.repeats)
        megabytes = plain.nbytes / 1e6
    return [
        Row(
            "reading features while training",
            "a NumPy memmap of the same bytes, MB a second",
            1 / slower,
            goal=0.9,
            bound="0.2 ms a batch besides the copy, and a mapping for each video instead of one for all",
            at_least=True,
            detail=f"{megabytes / seconds:,.0f} and {megabytes / seconds * slower:,.0f}",
        )
    ]


def make_features(folder: Path, count: int) -> tuple[CaptionedVideos, np.memmap]:
    """The same features in a store, as training reads them, and in one file for NumPy."""
    store = FeatureStore(folder / "store", FINGERPRINT)
    plain = np.memmap(folder / "features", np.float16, "w+", shape=(count, *SHAPE))
    clips = []
    for number in range(count):
        features = torch.randn(SHAPE).half()
        plain[number] = features.numpy()
        store.write(f"video{number}", VideoFeatures({"grid": features}))
        clips.append(TokenizedClip(Clip(f"video{number}", folder / "none.mp4", "train", ("a",)), (["a"],), (["a"],)))
    plain.flush()
    videos = CaptionedVideos(clips, Vocabulary.from_counts({"a": 1}), FeatureStreams({"grid": store}))
    return videos, np.memmap(folder / "features", np.float16, "r", shape=(count, *SHAPE))


if __name__ == "__main__":
    main()
