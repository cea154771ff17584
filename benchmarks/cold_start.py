"""The imports before a first caption, beside importing PyTorch alone: each in a process of its own.

python -m benchmarks.cold_start [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from benchmarks.table import Row, markdown


def seconds(module: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - started


def main() -> None:
    print(markdown(rows(*sys.argv[1:])))


def rows(*given: str) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(given)
    rounds = [(seconds("torch"), seconds("stap.captioning.captioner")) for _ in range(options.repeats + 1)][1:]
    ratio = statistics.median(ours / torch for torch, ours in rounds)
    taken = statistics.median(ours for _, ours in rounds)
    bound = "timm imports every model that it has, and torchvision's"
    return [Row("imports before a first caption", "importing PyTorch", ratio, 1.5, bound, detail=f"{taken:.3g} s")]


if __name__ == "__main__":
    main()
