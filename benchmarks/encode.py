"""How far the L-STAP encoder is from its limit, the matrix products.

Times the encoder, forward and with backward, against the products that no implementation can avoid (the input projection, and
with backward the gradient of its weights), and against the same equations under automatic differentiation. Prints ratios: times
of one run on one machine divided by each other.

    python benchmarks/encode.py                     # the demo's sizes
    python benchmarks/encode.py --paper             # B=8 of the paper's 64 videos: T=30, R=49, D=2048, H=1024
    python benchmarks/encode.py --paper --device cuda --precision bfloat16      # B=64 on a GPU
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from stap.models.lrcn import LRCN
from stap.models.lstap import LSTAP


def plain(module: LSTAP, grid: Tensor) -> Tensor:
    """Equations (1)-(10) as they are written: automatic differentiation keeps every location's gates, cells and states."""
    module.implementation = "reference"
    try:
        return module(grid).states
    finally:
        module.implementation = "auto"


def clocked(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def against(call: Callable[[], object], limit: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of a call, and the median of its ratio to the limit, the two timed in turn after one round to warm up."""
    rounds = [(clocked(limit), clocked(call)) for _ in range(repeats + 1)][1:]
    return statistics.median(taken for _, taken in rounds), statistics.median(taken / least for least, taken in rounds)


def compare(pooling: str, grid: Tensor, hidden_size: int, attention_size: int, repeats: int) -> None:
    torch.manual_seed(0)
    module = LSTAP(grid.shape[-1], hidden_size, pooling=pooling, attention_size=attention_size).to(grid.device)  # type: ignore[arg-type]
    with torch.autocast(grid.device.type, enabled=False):
        torch.testing.assert_close(module(grid).states, plain(module, grid), atol=1e-4, rtol=1e-3)
    kind = torch.get_autocast_dtype(grid.device.type) if torch.is_autocast_enabled(grid.device.type) else torch.float32
    flat, weight = grid.flatten(0, 2).to(kind), module.input_weight.detach().to(kind)
    out = torch.randn(len(flat), len(weight), dtype=kind, device=grid.device)

    def product() -> Tensor:
        return flat @ weight.T

    def products() -> tuple[Tensor, Tensor]:
        return product(), out.T @ flat

    @torch.no_grad()
    def forward() -> None:
        module(grid)

    @torch.no_grad()
    def plain_forward() -> None:
        plain(module, grid)

    def both() -> None:
        module(grid).states.sum().backward()

    def plain_both() -> None:
        plain(module, grid).sum().backward()

    print(f"{pooling} pooling                    seconds   times the products alone")
    for name, call, limit in (
        ("forward", forward, product),
        ("forward, plain", plain_forward, product),
        ("forward and backward", both, products),
        ("forward and backward, plain", plain_both, products),
    ):
        taken, ratio = against(call, limit, repeats)
        print(f"  {name:<28} {taken:9.3f} {ratio:10.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", action="store_true", help="the paper's sizes with 8 videos")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    B, T, R, D, H, A = (8, 30, 49, 2048, 1024, 256) if options.paper else (64, 16, 36, 128, 128, 64)
    if options.paper and options.device != "cpu":
        B = 64
    torch.manual_seed(0)
    grid = torch.randn(B, T, R, D, device=options.device)
    where = f"{torch.get_num_threads()} threads" if options.device == "cpu" else torch.cuda.get_device_name(options.device)
    print(f"B={B} T={T} R={R} D={D} H={H} A={A}, {where}, {options.precision}")
    with torch.autocast(grid.device.type, torch.bfloat16, enabled=options.precision == "bfloat16"):
        for pooling in ("mean", "attention"):
            compare(pooling, grid, H, A, options.repeats)
        against_lrcn(grid, H, options.repeats)


def against_lrcn(grid: Tensor, hidden_size: int, repeats: int) -> None:
    D, R = grid.shape[-1], grid.shape[2]
    lrcn, lstap = LRCN(D, hidden_size).to(grid.device), LSTAP(D, hidden_size, pooling="mean").to(grid.device)
    _, ratio = against(lambda: lstap(grid).states.sum().backward(), lambda: lrcn(grid).states.sum().backward(), repeats)
    print(f"L-STAP with mean pooling takes {ratio:.1f} times as long as LRCN, which averages the {R} locations first")


if __name__ == "__main__":
    main()
