"""What the check of a feature file costs: python -m benchmarks.checksums. Its time next to that of reading the file into a batch.

A file of the size of L-STAP's features (30 frames, 49 places, 2048 features, float16: 6 MB), warm in the page cache, which is the
hardest case for the check: a disk takes longer.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch

from stap.captioning.batches import read_videos
from stap.features.store import FeatureStore, VideoFeatures

VIDEOS, ROUNDS, EPOCHS = 32, 5, 20


def seconds(store: FeatureStore, ids: list[str]) -> float:
    began = time.perf_counter()
    for video_id in ids:
        read_videos(store.read, [video_id])
    return time.perf_counter() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder), {"kind": "grid"})
        ids = [f"video{number}" for number in range(VIDEOS)]
        for video_id in ids:
            store.write(video_id, VideoFeatures({"grid": torch.randn(30, 49, 2048).half()}))
        first, later = [], []
        for _ in range(ROUNDS):
            fresh = FeatureStore(Path(folder), {"kind": "grid"})
            first.append(seconds(fresh, ids))  # with the check
            later.append(seconds(fresh, ids))  # without: each video was checked
    check = min(first) - min(later)
    print(f"reading {1000 * min(later) / VIDEOS:.2f} ms a video, its check {1000 * check / VIDEOS:.2f} ms, once a process")
    print(f"over {EPOCHS} epochs {100 * check / (EPOCHS * min(later)):.1f} % of the reading")


if __name__ == "__main__":
    main()
