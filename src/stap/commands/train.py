"""`stap train`: a recipe and its features -> a model folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from stap.commands.shared.console import interruptible, say
from stap.commands.shared.options import (
    DeviceOption,
    OverridesArgument,
    ProcessesOption,
    RecipeArgument,
    ResumeOption,
    RunOption,
    SeedOption,
    with_seed,
    with_weights,
)
from stap.commands.shared.outputs import writable_folder
from stap.commands.shared.profile import TrainProfileOption, profiled_updates


def train(
    recipe: RecipeArgument,
    out: RunOption,
    overrides: OverridesArgument = None,
    resume: ResumeOption = False,
    device: DeviceOption = "auto",
    processes: ProcessesOption = 1,
    seed: SeedOption = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="RUN", help="Begin with the weights of this model folder, which has the same words and features."
        ),
    ] = None,
    profile: TrainProfileOption = False,
) -> None:
    """Train a captioning model on extracted or precomputed features.

    --out becomes the model folder, which `stap caption` and `stap evaluate` read.
    """
    from stap.recipes.files import load_recipe

    settings = load_recipe(recipe, with_seed(with_weights(overrides, start), seed))
    writable_folder(out)

    from stap.features.device import choose_device
    from stap.training.loop import train as train_model
    from stap.training.processes import is_first_process, launch

    with interruptible("Add --resume to the same command to continue after the last whole epoch."):
        result = launch(
            processes,
            partial(profiled_updates, train_model) if profile else train_model,
            settings,
            out,
            device=choose_device(device),
            resume=resume,
            on_epoch=say,
        )
    if is_first_process():
        print(result)
