"""How far the L-STAP encoder is from its limit, the matrix products.

Times the encoder, forward and with backward, against the products that no implementation can avoid (the input projection, and
with backward the gradient of its weights); the same equations under automatic differentiation too, for comparison.

    python -m benchmarks.encode                     # the demo's sizes
    python -m benchmarks.encode --paper             # B=8 of the paper's 64 videos: T=30, R=49, D=2048, H=1024
    python -m benchmarks.encode --paper --device cuda --precision bfloat16      # B=64 on a GPU
"""

from __future__ import annotations

import argparse
import sys

import torch
from benchmarks.table import Row, against, markdown
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


def compare(
    sizes: str, pooling: str, grid: Tensor, hidden_size: int, attention_size: int, options: argparse.Namespace
) -> list[Row]:
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

    goal = 1.3 if options.precision == "bfloat16" else 1.1 if options.paper else 1.4
    bound = "elementwise passes over a frame's gates" if options.paper else "memory: a frame's gates do not stay in the cache"
    rows = []
    for name, call, limit, goal_here in (
        ("forward", forward, product, goal if options.paper else None),
        ("forward, plain", plain_forward, product, None),
        ("forward and backward", both, products, goal),
        ("forward and backward, plain", plain_both, products, None),
    ):
        taken, ratio = against(call, limit, options.repeats)
        what = f"L-STAP {name}, {sizes}, {pooling} pooling"
        rows.append(Row(what, "its matrix products", ratio, goal_here, bound if goal_here else "", detail=f"{taken:.3g} s"))
    return rows


def main() -> None:
    print(markdown(rows(*sys.argv[1:])))


def rows(*given: str) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", action="store_true", help="the paper's sizes with 8 videos")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args(given)
    B, T, R, D, H, A = (8, 30, 49, 2048, 1024, 256) if options.paper else (64, 16, 36, 128, 128, 64)
    if options.paper and options.device != "cpu":
        B = 64
    torch.manual_seed(0)
    grid = torch.randn(B, T, R, D, device=options.device)
    where = f"{torch.get_num_threads()} threads" if options.device == "cpu" else torch.cuda.get_device_name(options.device)
    print(f"B={B} T={T} R={R} D={D} H={H} A={A}, {where}, {options.precision}", file=sys.stderr)
    sizes = f"{'the paper' if options.paper else 'the demo'}'s sizes, {B} videos"
    if options.device != "cpu":
        sizes += f", {where}, {options.precision}"
    found = []
    with torch.autocast(grid.device.type, torch.bfloat16, enabled=options.precision == "bfloat16"):
        for pooling in ("mean", "attention"):
            found += compare(sizes, pooling, grid, H, A, options)
        return [*found, against_lrcn(sizes, grid, H, options.repeats)]


def against_lrcn(sizes: str, grid: Tensor, hidden_size: int, repeats: int) -> Row:
    D, R = grid.shape[-1], grid.shape[2]
    lrcn, lstap = LRCN(D, hidden_size).to(grid.device), LSTAP(D, hidden_size, pooling="mean").to(grid.device)
    taken, ratio = against(lambda: lstap(grid).states.sum().backward(), lambda: lrcn(grid).states.sum().backward(), repeats)
    what = f"L-STAP forward and backward, {sizes}, mean pooling"
    return Row(what, f"LRCN, which averages the {R} locations first", ratio, detail=f"{taken:.3g} s")


if __name__ == "__main__":
    main()
