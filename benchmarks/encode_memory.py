"""Memory of L-STAP's forward and backward pass beyond the features, next to automatic differentiation of the equations.

    python -m benchmarks.encode_memory [--videos 8]

The paper's sizes (T=30, R=49, D=2048, H=1024). Each is run in a process of its own, on a processor; what its largest resident set has grown by,
after a small pass that loads everything, is what counts.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

import torch
from benchmarks.table import Row, markdown

from stap.models.lstap import LSTAP

COMMAND = "--inside"
T, R, D, H, A = 30, 49, 2048, 1024, 256


def main() -> None:
    if COMMAND in sys.argv:
        pooling, implementation, videos = sys.argv[sys.argv.index(COMMAND) + 1 :]
        print(grown(pooling, implementation, int(videos)))
    else:
        print(markdown(rows(*sys.argv[1:])))


def rows(*given: str) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=8)
    videos = parser.parse_args(given).videos
    made = []
    for pooling in ("mean", "attention"):
        ours, plain = (peak(pooling, implementation, videos) for implementation in ("auto", "reference"))
        what = (
            f"memory of L-STAP forward and backward beyond the features, the paper's sizes, {videos} videos, {pooling} pooling"
        )
        bound = "the gates of every place, which the backward pass reads"
        made.append(Row(what, "automatic differentiation", ours / plain, 0.35, bound, detail=f"{ours / 1e6:.0f} MB"))
    return made


def peak(pooling: str, implementation: str, videos: int) -> float:
    """Bytes, in a process of its own."""
    line = [sys.executable, "-m", "benchmarks.encode_memory", COMMAND, pooling, implementation, str(videos)]
    return float(subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout)


def grown(pooling: str, implementation: str, videos: int) -> int:
    """Bytes of the largest resident set that a pass adds."""
    torch.manual_seed(0)
    module = LSTAP(D, H, pooling=pooling, attention_size=A)  # type: ignore[arg-type]
    module.implementation = implementation  # type: ignore[assignment]
    module(torch.randn(1, 2, R, D)).states.sum().backward()  # the gradients of the weights are there from now on
    grid = torch.randn(videos, T, R, D)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    module(grid).states.sum().backward()
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


if __name__ == "__main__":
    main()
