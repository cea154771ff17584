"""`stap pretrain`: frame-sentence matching, which trains a backbone for captions."""

from __future__ import annotations

import typer

from stap.commands.shared.console import complain, interruptible, say
from stap.commands.shared.options import (
    DeviceOption,
    OverridesArgument,
    ProcessesOption,
    RecipeArgument,
    ResumeOption,
    RunOption,
    SeedOption,
    with_seed,
)
from stap.commands.shared.outputs import writable_folder


def pretrain(
    recipe: RecipeArgument,
    out: RunOption,
    overrides: OverridesArgument = None,
    resume: ResumeOption = False,
    device: DeviceOption = "auto",
    processes: ProcessesOption = 1,
    seed: SeedOption = None,
) -> None:
    """Fine-tune a backbone by frame-sentence matching (VSE++).

    It is written to backbone.safetensors in --out; set features.weights to that file to use it. Videos without usable frames are
    listed at the end, and the exit status is then 1.
    """
    from stap.recipes.files import load_recipe

    settings = load_recipe(recipe, with_seed(overrides, seed))
    writable_folder(out)

    from stap.features.device import choose_device
    from stap.training.pretraining.pretrain import pretrain as pretrain_backbone
    from stap.training.processes import is_first_process, launch

    with interruptible("Add --resume to the same command to continue after the last whole epoch."):
        result = launch(
            processes,
            pretrain_backbone,
            settings,
            out,
            device=choose_device(device),
            resume=resume,
            on_epoch=say,
        )
    if not is_first_process():
        return
    print(result)
    for _, reason in result.left_out:
        complain(reason)
    if result.left_out:
        raise typer.Exit(1)
