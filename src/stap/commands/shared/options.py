"""Options that several commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from stap.commands.shared.console import interruptible
from stap.commands.shared.reads_and_writes import check_reads_and_writes

__all__ = [
    "ArchiveOption",
    "CaptionerOption",
    "DeviceOption",
    "GroupedCommand",
    "OverridesArgument",
    "ProcessesOption",
    "RecipeArgument",
    "ResumeOption",
    "RunOption",
    "SeedOption",
    "UnusedDeviceOption",
    "UnusedSeedOption",
    "with_seed",
    "with_weights",
]


class GroupedCommand(TyperCommand):
    """A command of stap: its inputs are safe from its outputs, and its help lists options with a `rich_help_panel` under that heading."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, unless it would write over what it reads. Raises StapError."""
        with interruptible("Run the same line again."):
            check_reads_and_writes(self.name or "", ctx.params)
            return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, the options without a heading, and the others under theirs."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            line = parameter.get_help_record(ctx)
            if line is not None:
                default = "Arguments" if parameter.param_type_name == "argument" else "Options"
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or default, []).append(line)
        for heading, lines in sections.items():
            if lines:
                with formatter.section(heading):
                    formatter.write_dl(lines)


DeviceOption = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps.")]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="Random seed. Default: the recipe's.")]

# Every command accepts both options, so that scripts may pass them without knowing which command uses them.
UnusedDeviceOption = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="Accepted everywhere; this command uses the CPU only.")
]
UnusedSeedOption = Annotated[
    int | None, typer.Option("--seed", min=0, help="Accepted everywhere; nothing is random in this command.")
]

RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="A built-in recipe (see `stap recipes`) or a YAML file.")]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE", help="Settings that replace the recipe's: training.epochs=20 (see `stap recipes --settings`)."
    ),
]
ProcessesOption = Annotated[
    int,
    typer.Option(
        "--processes",
        min=1,
        metavar="N",
        help="Number of processes that share every batch: on N GPUs, or on the CPU's cores.",
    ),
]
RunOption = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue the run in --out where it stopped.")]
ArchiveOption = Annotated[Path, typer.Option("--archive", "-a", metavar="DIR", help="The archive: a folder of its own.")]
CaptionerOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A folder that `stap train` wrote, or user/name[@revision] on the Hugging Face Hub: a model of stap, or a captioner of transformers. "
        "Default: a small captioner of the Hub that suits the device.",
    ),
]


def with_weights(overrides: list[str] | None, run: Path | None) -> list[str]:
    """The recipe's overrides, --from among them."""
    if run is None:
        return list(overrides or [])
    path = str(run) if run.is_absolute() else f"./{run}"  # a folder named 1e-4 is no number
    return [*(overrides or []), f"training.initial_weights={json.dumps(path)}"]


def with_seed(overrides: list[str] | None, seed: int | None) -> list[str]:
    """The recipe's overrides, --seed among them; it is the last, so it wins."""
    return [*(overrides or []), *([] if seed is None else [f"seed={seed}"])]
