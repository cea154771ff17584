"""A training step of the demo's L-STAP alone, and beside another program that keeps one core busy.

    python -m benchmarks.beside_another [--steps 12] [NAME=VALUE ...]

GNU OpenMP's threads spin while they wait for each other; `stap.commands.shared.cores` says how the commands share cores nevertheless. Every
measurement runs in a process of its own, because OpenMP reads its environment once. Reports the ratio of the median seconds of a
step. NAME=VALUE are variables of the environment, to compare settings.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.table import Row, markdown

STEP = "--one-process"


def main() -> None:
    if STEP in sys.argv:
        print(step_seconds(int(sys.argv[-1])))
        return
    print(markdown(rows(*sys.argv[1:])))


def rows(*given: str) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE")
    arguments = parser.parse_args(given)
    environment = os.environ | dict(setting.split("=", 1) for setting in arguments.settings)
    alone = measured(environment, arguments.steps)
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    try:
        beside = measured(environment, arguments.steps)
    finally:
        busy.kill()
        busy.wait()
    return [
        Row(
            " ".join(["a step of the demo's L-STAP beside a program that keeps one core busy", *arguments.settings]),
            "the step alone",
            beside / alone,
            goal=2.2,
            bound="the core that is left; PyTorch's threads sleep instead of spin",
            detail=f"{1000 * beside:.0f} and {1000 * alone:.0f} ms",
        )
    ]


def measured(environment: dict[str, str], steps: int) -> float:
    return float(
        subprocess.run(
            [sys.executable, "-m", "benchmarks.beside_another", STEP, str(steps)],
            cwd=Path(__file__).parents[1],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )


def step_seconds(steps: int) -> float:
    """Median seconds of an update: 16 videos of 8 frames with 5 captions each."""
    import torch

    from stap.commands.shared.cores import polite_threads
    from stap.models.batch import CaptionBatch, VideoBatch
    from stap.models.build import build_model
    from stap.recipes.files import load_recipe
    from stap.recipes.streams import StreamSpec
    from stap.text.special_ids import EOS
    from stap.training.loop import update
    from stap.training.optimizer import build_optimizer

    torch.manual_seed(0)
    recipe = load_recipe("demo/quick")
    B, K, T, R, D, V, L = 16, 5, 8, 36, 128, 100, 12
    model = build_model(recipe.model, {"grid": StreamSpec("grid", D, grid=(6, 6), frames=T)}, vocabulary_size=V)
    optimizer = build_optimizer(recipe.training.optimizer, model)
    words = torch.randint(4, V, (B * K, L))
    words[:, -1] = EOS
    batch = (
        VideoBatch(
            streams={"grid": torch.randn(B, T, R, D)},
            is_padding={"grid": torch.zeros(B, T, dtype=torch.bool)},
            video_numbers=torch.arange(B),
        ),
        CaptionBatch(words, captions_per_video=K),
    )
    seconds = []
    with polite_threads():
        begun = time.perf_counter()
        while len(seconds) < steps:
            started = time.perf_counter()
            update(model, optimizer, batch, recipe.training)
            if started - begun > 3:  # by then the cores have been looked at
                seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
