"""How far a training step of STAT is from its limit, the matrix products.

Times the loss and its backward pass against the products with weights that no implementation can avoid: projections and keys once a
video, queries and gates once a word (and in the backward pass their gradients, those of the weights for all words at once), and
everything that does not depend on the recurrence once for all words.

    python -m benchmarks.stat_step                  # the paper's sizes, 4 captions of 4 videos instead of 32
    python -m benchmarks.stat_step --scenes         # a grid of the generated scenes, 2 captions of each of 32 videos
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from benchmarks.table import Row, against, markdown
from torch import Tensor

from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.build import build_model
from stap.recipes.settings import ModelSettings, STATSettings
from stap.recipes.streams import StreamSpec
from stap.text.special_ids import EOS


@dataclass(frozen=True)
class Sizes:
    """B videos with K captions of L words; F positions of R places; Dg, Dm, Dl raw sizes; H, A, E and V rows."""

    B: int
    K: int
    L: int
    F: int
    R: int
    Dg: int
    Dm: int
    Dl: int
    H: int
    A: int
    E: int
    V: int


PAPER = Sizes(B=4, K=1, L=12, F=28, R=8, Dg=1024, Dm=4096, Dl=4096, H=1024, A=1024, E=512, V=13012)
SCENES = Sizes(B=32, K=2, L=16, F=16, R=36, Dg=128, Dm=128, Dl=128, H=128, A=64, E=64, V=60)


def products(s: Sizes) -> list[tuple[int, int, int, int, bool]]:
    """Each product with weights: (calls, rows, from, to, whether the gradient of its input is needed)."""
    N, once = s.B * s.K, 1
    return [
        (once, s.B * s.F * s.R, s.Dl, s.H, False),  # local projection
        (once, s.B * s.F, s.Dm, s.H, False),  # motion projection
        (2, s.B, s.Dg, s.H, False),  # start state
        (2, s.B * s.F * s.R, s.H, s.A, True),  # spatial keys, and temporal keys of the places
        (once, s.B * s.F, s.H, s.A, False),  # keys of the global stream
        (once, s.B * s.F, s.H, s.A, True),  # keys of the motion stream
        *[(s.L, N, s.H, s.A, True)] * 4,  # queries
        *[(s.L, N, s.H, 4 * s.H, True)] * 2,  # state and context to the gates
        (once, N * s.L, s.E, 4 * s.H, True),  # words to the gates
        *[(once, N * s.L, s.H, s.E, True)] * 2,  # state and context to the output's hidden units
        (once, N * s.L, s.E, s.V, True),  # output
    ]


def limit_of(s: Sizes) -> tuple[Callable[[], None], Callable[[], None]]:
    """All products of a step: those of the loss alone, and those of its backward pass too."""
    made = [
        (calls, torch.randn(rows, inputs), torch.randn(inputs, outputs), torch.randn(rows, outputs), needs_input)
        for calls, rows, inputs, outputs, needs_input in products(s)
    ]

    def forward() -> None:
        for calls, x, weight, _, _ in made:
            for _ in range(calls):
                x @ weight

    def both() -> None:
        forward()
        for calls, x, weight, gradient, needs_input in made:
            if needs_input:
                for _ in range(calls):
                    gradient @ weight.T
            rows = calls if calls > 2 else 1  # a weight's gradient needs one product for all words
            for _ in range(1 if calls > 2 else calls):
                x.repeat(rows, 1).T @ gradient.repeat(rows, 1) if rows > 1 else x.T @ gradient

    return forward, both


def batches(s: Sizes, from_grid: bool) -> tuple[VideoBatch, CaptionBatch]:
    shapes: dict[str, tuple[int, ...]] = {"frames": (s.Dg,), "motion": (s.Dm,), "regions": (s.R, s.Dl)}
    streams: dict[str, Tensor] = {name: torch.randn(s.B, s.F, *shape) for name, shape in shapes.items()}
    if from_grid:
        streams = {"motion": streams["motion"], "grid": streams["regions"]}
    padding = {name: torch.zeros(s.B, s.F, dtype=torch.bool) for name in streams}
    words = torch.randint(EOS + 2, s.V + EOS, (s.B * s.K, s.L))
    words[:, -1] = EOS
    return VideoBatch(streams, padding, torch.arange(s.B)), CaptionBatch(words, s.K)


def main() -> None:
    print(markdown(rows(*sys.argv[1:])))


def rows(*given: str) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", action="store_true", help="the sizes of the generated scenes")
    parser.add_argument("--videos", type=int, help="B")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(given)
    s = SCENES if options.scenes else PAPER
    if options.videos:
        s = Sizes(**vars(s) | {"B": options.videos})
    torch.manual_seed(0)
    source = "grid" if options.scenes else None
    stat = STATSettings(positions=s.F, **({"global_from": source, "local_from": source} if source else {}))
    settings = ModelSettings(kind="stat", hidden_size=s.H, attention_size=s.A, embedding_size=s.E, stat=stat)
    sizes = {"frames": s.Dg, "motion": s.Dm, "regions": s.Dl, "grid": s.Dl}
    streams = {name: StreamSpec(name, size, grid=(s.R,) if name == "grid" else None) for name, size in sizes.items()}
    model = build_model(settings, streams, vocabulary_size=s.V + EOS)
    videos, captions = batches(s, from_grid=options.scenes)
    forward_limit, limit = limit_of(s)

    @torch.no_grad()
    def forward() -> None:
        model.loss(videos, captions)

    def both() -> None:
        model.zero_grad()
        model.loss(videos, captions).total.backward()

    print(" ".join(f"{name}={value}" for name, value in vars(s).items()), f"{torch.get_num_threads()} threads", file=sys.stderr)
    found, whose = [], "the scenes'" if options.scenes else "the released"
    for name, call, least, goal in (
        ("loss", forward, forward_limit, None),
        ("loss and backward", both, limit, 4 if options.scenes else 1.4),
    ):
        taken, ratio = against(call, least, options.repeats)
        what = f"STAT's {name}, {whose} sizes"
        bound = "attention over all places at each word, which is no product with weights"
        found.append(Row(what, "its products with weights", ratio, goal, bound, detail=f"{taken:.3g} s"))
    return found


if __name__ == "__main__":
    main()
