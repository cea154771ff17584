"""Sampling a few frames from a long film: jumping to key frames against decoding everything.

Makes a film by repeating ten seconds of moving noise, then samples it once by each strategy, each in a process of its own:

    python -m benchmarks.sampling --minutes 30

Prints seconds, peak memory, and how many times dearer each strategy is than the cheapest. The frames must be the same.
"""

import argparse
import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from stap.video import sample_frames, write_video

FRAME_RATE = 25
PART_SECONDS = 10
STRATEGIES = ("seek", "decode", "auto")


def main() -> None:
    options = parse()
    if options.measure:
        measure(options.film, options.frames, options.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        film = options.film or make_film(Path(folder), options.minutes, options.width, options.key_frame_every)
        print(f"{film.name}: {film.stat().st_size / 1e6:.0f} MB; {options.frames} frames with the short side at 112 pixels")
        print_table({strategy: measured_apart(film, options.frames, strategy) for strategy in STRATEGIES})


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="length of the film (default: 30)")
    parser.add_argument("--width", type=int, default=320, help="of the film in pixels, 16:9 (default: 320)")
    parser.add_argument("--key-frame-every", type=float, default=5, metavar="SECONDS", help="default: 5")
    parser.add_argument("--frames", type=int, default=30, help="frames to sample (default: 30)")
    parser.add_argument("--film", type=Path, help="measure this file instead of a generated film")
    parser.add_argument("--measure", choices=STRATEGIES, help=argparse.SUPPRESS)
    return parser.parse_args()


def make_film(folder: Path, minutes: float, width: int, key_frame_every: float) -> Path:
    """A film of `minutes`, made by writing the packets of one encoded part again and again."""
    part, film = folder / "part.mp4", folder / f"film of {minutes:g} minutes.mp4"
    options = {"preset": "veryfast", "g": str(round(key_frame_every * FRAME_RATE)), "sc_threshold": "0"}
    write_video(part, moving_noise(width, width * 9 // 16 // 2 * 2), FRAME_RATE, options=options)
    with av.open(str(part)) as source, av.open(str(film), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        part_ticks = round(PART_SECONDS / source.streams.video[0].time_base)
        for k in range(max(1, round(60 * minutes / PART_SECONDS))):
            source.seek(0)
            for packet in source.demux(video=0):
                if packet.size:
                    packet.pts, packet.dts = packet.pts + k * part_ticks, packet.dts + k * part_ticks
                    packet.stream = stream
                    target.mux(packet)
    return film


def moving_noise(width: int, height: int) -> list[np.ndarray]:
    coarse = np.random.default_rng(0).integers(30, 220, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    picture = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    return [np.roll(picture, (k, 2 * k), axis=(0, 1)) for k in range(PART_SECONDS * FRAME_RATE)]


def measured_apart(film: Path, frames: int, strategy: str) -> tuple[float, float, str]:
    """Seconds, peak megabytes and a digest of the frames, from a process of its own."""
    command = [sys.executable, __file__, "--film", str(film), "--frames", str(frames), "--measure", strategy]
    seconds, megabytes, digest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), float(megabytes), digest


def measure(film: Path, frames: int, strategy: str) -> None:
    start = time.perf_counter()
    sampled = sample_frames(film, frames, short_side=112, strategy=strategy)
    seconds = time.perf_counter() - start
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    print(seconds, megabytes, hashlib.sha256(sampled.rgb_uint8.tobytes() + sampled.times_seconds.tobytes()).hexdigest()[:12])


def print_table(results: dict[str, tuple[float, float, str]]) -> None:
    fastest, leanest = (min(result[column] for result in results.values()) for column in (0, 1))
    print(f"{'strategy':10}{'seconds':>10}{'ratio':>8}{'peak MB':>10}{'ratio':>8}   frames")
    for strategy, (seconds, megabytes, digest) in results.items():
        print(f"{strategy:10}{seconds:10.2f}{seconds / fastest:8.1f}{megabytes:10.0f}{megabytes / leanest:8.2f}   {digest}")
    if len({digest for _, _, digest in results.values()}) > 1:
        sys.exit("the strategies gave different frames")


if __name__ == "__main__":
    main()
