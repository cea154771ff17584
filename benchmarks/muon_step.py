"""A step of Muon beside PyTorch's own, for the matrices of the demo's model: ratios of the two in one run."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from stap.models.build import build_model
from stap.recipes.files import load_recipe
from stap.recipes.streams import StreamSpec
from stap.training.muon import matrices, move_matrices

ROUNDS, STEPS = 7, 5


def seconds(step: Callable[[], Any]) -> float:
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - began) / STEPS


def main() -> None:
    settings = load_recipe("demo/quick").model
    model = build_model(settings, {"grid": StreamSpec("grid", 128, grid=(6, 6), frames=8)}, vocabulary_size=165)
    weights = matrices(model)
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    theirs = torch.optim.Muon(weights, lr=1e-3, weight_decay=0.0, adjust_lr_fn="match_rms_adamw").step
    ours = partial(move_matrices, weights, defaultdict(dict), 1e-3)
    print(f"{len(weights)} matrices, {sum(weight.numel() for weight in weights):,} weights, {torch.get_num_threads()} threads")
    for step in (ours, theirs):
        step()
    rounds = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
    ratio = statistics.median(other / own for own, other in rounds)
    own = statistics.median(own for own, _ in rounds)
    print(f"a step: {1000 * own:.2f} ms; PyTorch's takes {ratio:.1f} times as long (median of {ROUNDS} rounds)")


if __name__ == "__main__":
    main()
