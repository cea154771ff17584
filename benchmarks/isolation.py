"""What decoding in a process of its own costs: the same clips sampled here and there, as a ratio.

    python -m benchmarks.isolation --clips 20 --rounds 5

Makes clips of ten seconds, samples 30 frames of each at a short side of 256, and prints the ratio of the fastest rounds (others on the
machine only ever make a round slower) and the time that starting the process takes.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from benchmarks.sampling import moving_noise

from stap.recipes.settings import VideoLimits
from stap.video import sample_frames, write_video

ISOLATED = VideoLimits(isolate=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=20, help="default: 20")
    parser.add_argument("--width", type=int, default=320, help="of the clips in pixels, 4:3 (default: 320)")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pictures = [np.ascontiguousarray(picture) for picture in moving_noise(options.width, options.width * 3 // 4)]
        paths = [Path(folder, f"{k}.mp4") for k in range(options.clips)]
        write_video(paths[0], pictures, 25)
        for path in paths[1:]:
            path.write_bytes(paths[0].read_bytes())
        start = seconds(paths[:1], ISOLATED) - seconds(paths[:1], None)
        rounds = [(seconds(paths, ISOLATED), seconds(paths, None)) for _ in range(options.rounds)]
    isolated, here = (min(times) for times in zip(*rounds, strict=True))
    print(f"isolated / not: {isolated:.3f} s / {here:.3f} s = {isolated / here:.3f}; start: {start:.2f} s")


def seconds(paths: list[Path], limits: VideoLimits | None) -> float:
    begun = time.perf_counter()
    for path in paths:
        sample_frames(path, 30, short_side=256, limits=limits)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
