"""How close `stap extract` comes to the speed of its network alone.

    python -m benchmarks.extraction [--videos 200] [--size 96] [--backbone resnet10t] [--device cpu] [--workers 2]

Writes small H.264 videos, then measures images per second of (a) the network alone on images in memory, (b) decoding alone, with
resizing, in as many processes as the pipeline has, and (c) the whole pipeline: decoding, network, features on disk. Reports what
the pipeline reaches of the network's rate, and its time as a multiple of the dearer of the two; 1 would be a pipeline that costs
nothing else. Weights are random, which does not change the speed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from benchmarks.table import Row, markdown

from stap.commands.shared.cores import polite_threads
from stap.features.backbone import build_backbone
from stap.features.device import choose_device
from stap.features.extract import extract
from stap.features.grid import GridExtractor
from stap.features.store import FeatureStore
from stap.recipes.settings import FeatureSettings
from stap.video import write_video
from stap.video.threads import decoding_threads


def main() -> None:
    print(markdown(rows(*sys.argv[1:])))


def rows(*given: str) -> list[Row]:
    arguments = parse_arguments(given)
    with tempfile.TemporaryDirectory() as folder, polite_threads():
        extractor = make_extractor(Path(folder), arguments)
        videos = make_videos(Path(folder), arguments.videos, arguments.size)
        extractor.limits = extractor.limits.for_files(len(videos))  # as the command does
        whole_pipeline(extractor, videos[:4], Path(folder) / "warm", arguments.workers)
        network = network_alone(extractor, arguments.videos * arguments.frames)
        decoding = decoding_alone(extractor, videos, arguments.workers) * arguments.frames
        whole = whole_pipeline(extractor, videos, Path(folder), arguments.workers) * arguments.frames
    what = f"feature extraction ({arguments.backbone}, {arguments.size} pixels, {arguments.device})"
    detail = f"{whole:.0f}; network {network:.0f}, decoding {decoding:.0f}"
    bound = "a call of the network for each clip; decoding, which shares the cores"
    return [
        Row(what, "its network alone, images a second", whole / network, 0.9, bound, at_least=True, detail=detail),
        Row(what, "the dearer of decoding alone and its network alone", min(network, decoding) / whole, 1.2, bound),
    ]


def parse_arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--size", type=int, default=96, help="short side of the videos and of the images, in pixels")
    parser.add_argument("--frames", type=int, default=15)
    parser.add_argument("--backbone", default="resnet10t")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args(given)


def make_extractor(folder: Path, arguments: argparse.Namespace) -> GridExtractor:
    weights = folder / "weights.safetensors"
    safetensors.torch.save_file(build_backbone(arguments.backbone, weights="random").state_dict(), weights)
    settings = FeatureSettings(
        backbone=arguments.backbone,
        weights=str(weights),
        frames=arguments.frames,
        image_size=arguments.size,
        crop=1.0,
        precision=arguments.precision,
    )
    return GridExtractor(settings, choose_device(arguments.device))


def make_videos(folder: Path, count: int, size: int, seconds: int = 3, frame_rate: int = 15) -> list[tuple[str, Path]]:
    """Videos of a moving texture, `size` pixels high and wide."""
    blocks = np.random.default_rng(1).integers(0, 256, (size // 8, size // 4, 3), dtype=np.uint8)
    texture = blocks.repeat(8, 0).repeat(8, 1)  # (size, 2 * size, 3)
    videos = []
    for k in range(count):
        frames = [np.ascontiguousarray(np.roll(texture, -2 * t - k, 1)[:, :size]) for t in range(seconds * frame_rate)]
        write_video(folder / f"{k}.mp4", frames, frame_rate=frame_rate)
        videos.append((f"video{k}", folder / f"{k}.mp4"))
    return videos


def network_alone(extractor: GridExtractor, count: int) -> float:
    """Images a second, normalised images in memory and features left there."""
    size, each = extractor.image_size, extractor.images_per_call
    images = extractor.normalise(torch.randint(0, 256, (each, size, size, 3), dtype=torch.uint8))
    extractor(images)
    start, calls = time.perf_counter(), max(1, count // each)
    for _ in range(calls):
        float(extractor(images)[0, 0, 0])  # waits for the device
    return calls * each / (time.perf_counter() - start)


def decoding_alone(extractor: GridExtractor, videos: list[tuple[str, Path]], workers: int) -> float:
    """Videos a second."""
    read = partial(extractor.read, threads=max(1, (os.cpu_count() or 1) // workers))
    with decoding_threads(workers, "decode") as pool:
        deque(pool.map(read, [path for _, path in videos[:workers]]), maxlen=0)  # starts the processes
        start = time.perf_counter()
        deque(pool.map(read, [path for _, path in videos]), maxlen=0)
        return len(videos) / (time.perf_counter() - start)


def whole_pipeline(extractor: GridExtractor, videos: list[tuple[str, Path]], folder: Path, workers: int) -> float:
    """Videos a second."""
    start = time.perf_counter()
    report = extract(videos, extractor, FeatureStore(folder / "store", extractor.spec.fingerprint), workers=workers)
    assert report.written == len(videos), report.failed
    return len(videos) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
