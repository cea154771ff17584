"""`stap pretrain`: frame-sentence matching, which trains a backbone for captions."""

from __future__ import annotations

from stap.commands.console import interruptible, say
from stap.commands.options import DeviceOption, OverridesArgument, RecipeArgument, RunOption, SeedOption, with_seed
from stap.commands.outputs import writable_folder


def pretrain(
    recipe: RecipeArgument,
    out: RunOption,
    overrides: OverridesArgument = None,
    device: DeviceOption = "auto",
    seed: SeedOption = None,
) -> None:
    """Train a backbone by matching frames with sentences (VSE++)."""
    from stap.config import load_recipe

    settings = load_recipe(recipe, with_seed(overrides, seed))
    writable_folder(out)

    from stap.device import choose_device
    from stap.training.pretraining import pretrain as pretrain_backbone

    with interruptible("Run the same line again; pretraining starts anew."):
        result = pretrain_backbone(settings, out, device=choose_device(device), on_epoch=lambda epoch: say(str(epoch)))
    print(result)
