"""`stap reproduce`: the papers' tables with our rows and the published numbers, and the same rows on generated scenes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stap.commands.shared.console import interruptible, say
from stap.commands.shared.option_groups import with_option_groups
from stap.commands.shared.options import DeviceOption, OverridesArgument
from stap.commands.shared.outputs import writable_folder
from stap.errors import ConfigError

if TYPE_CHECKING:
    from stap.experiments.reproduce.request import Request


class Tables(StrEnum):
    """The corpora of the tables."""

    msvd = "msvd"
    msrvtt = "msrvtt"
    scenes = "scenes"


EXISTING, ROWS = "MSVD and MSR-VTT", "Rows and seeds"


@dataclass(frozen=True)
class ExistingCorpus:
    """Options of MSVD and MSR-VTT."""

    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the corpus in its published layout.", rich_help_panel=EXISTING)
    ] = None
    videos: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the video files, if elsewhere.", rich_help_panel=EXISTING)
    ] = None
    captions: Annotated[
        list[Path] | None,
        typer.Option(
            "--captions", metavar="FILE", help="A caption file; may be given several times.", rich_help_panel=EXISTING
        ),
    ] = None
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            metavar="NETWORK=FILE",
            help="Weights of a network; may be given several times.",
            rich_help_panel=EXISTING,
        ),
    ] = None
    other_counts: Annotated[
        bool, typer.Option("--other-counts", help="Accept counts other than the published ones.", rich_help_panel=EXISTING)
    ] = False

    def place(self) -> dict[str, Any]:
        """The given settings of the recipe's section `corpus`."""
        given = {"root": self.root, "videos": self.videos, "captions": tuple(self.captions or ())}
        return {key: value for key, value in given.items() if value}

    def given(self) -> list[str]:
        """The given options, as on the command line."""
        others = {"--weights": self.weights, "--other-counts": self.other_counts}
        return [*(f"--{name}" for name in self.place()), *(name for name, value in others.items() if value)]


@dataclass(frozen=True)
class Trainings:
    """The rows to train, and their seeds."""

    rows: Annotated[
        str | None,
        typer.Option(
            metavar="ROW,ROW",
            help="papers, modern, all, or rows: lrcn,stat* ... A wrong name lists them. Default: papers; of scenes all.",
            rich_help_panel=ROWS,
        ),
    ] = None
    seeds: Annotated[
        int,
        typer.Option(
            min=1, help="Number of seeds per row; the table has their mean and standard deviation.", rich_help_panel=ROWS
        ),
    ] = 1
    seed: Annotated[int, typer.Option(min=0, help="The first seed; the others follow it.", rich_help_panel=ROWS)] = 1
    data: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=3, help="Only N of the videos, for a trial run; scenes: generate N.", rich_help_panel=ROWS
        ),
    ] = None
    full: Annotated[
        bool,
        typer.Option("--full", help="scenes: more videos and a larger model, as `stap demo --full`.", rich_help_panel=ROWS),
    ] = False


@with_option_groups
def reproduce(
    name: Annotated[Tables, typer.Argument(metavar="NAME", help="msvd, msrvtt, or scenes (generated).")],
    corpus: ExistingCorpus,
    trainings: Trainings,
    overrides: OverridesArgument = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder to write. Default: reproduce-NAME.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only print what would run, what is missing and where to get it.")
    ] = False,
    device: DeviceOption = "auto",
) -> None:
    """Reproduce a table of the papers: train and score its rows, and write the scores next to the published ones.

    Checks or generates the corpus, extracts features, trains every row with every seed, and scores the test captions. The same command
    continues an interrupted run. Start with --plan. The exit status is 1 if a row is not finished.
    """
    request = _request(name, out or Path(f"reproduce-{name.value}"), corpus, trainings, tuple(overrides or ()))
    if plan:
        from stap.experiments.reproduce.plan import make_plan

        print(make_plan(request))
        return
    run_table(request, device)


def _request(name: Tables, out: Path, corpus: ExistingCorpus, trainings: Trainings, overrides: tuple[str, ...]) -> Request:
    from stap.experiments.reproduce.request import Request
    from stap.experiments.reproduce.scene_rows import scene_size
    from stap.experiments.reproduce.tables import rows_named

    is_generated = name is Tables.scenes
    if is_generated and (given := corpus.given()):
        raise ConfigError(
            f"{', '.join(given)}: for an existing corpus; `stap reproduce scenes` generates its videos and trains their image encoder. "
            "Leave it out; --data N sets the number of videos."
        )
    return Request(
        corpus=name.value,
        out=out,
        rows=rows_named(name.value, trainings.rows),
        place=corpus.place(),
        weights=dict(_weights(text) for text in corpus.weights or []),
        overrides=overrides,
        seeds=tuple(range(trainings.seed, trainings.seed + trainings.seeds)),
        limit=None if is_generated else trainings.data,
        other_counts=corpus.other_counts,
        scenes=scene_size(trainings.full, trainings.data),
    )


def run_table(request: Request, device: str) -> None:
    """Reproduce a table, with progress on stderr and the table on stdout. Exits with status 1 if a row is not finished."""
    from stap.features.device import choose_device

    request.recipes()  # wrong settings: before the work
    where = choose_device(device)
    writable_folder(request.out)
    from stap.experiments.reproduce.run import reproduce as run

    with interruptible("Run the same command again to continue; finished rows are kept."):
        found = run(request, device=where, say=say)
    print(f"{found}\n\nTimes 100. Table: {request.out / 'table.md'}, as a page: {request.out / 'table.html'}")
    if not found.is_complete:
        raise typer.Exit(1)


def _weights(text: str) -> tuple[str, Path]:
    network, equals, file = text.partition("=")
    if not (network and equals and file):
        raise ConfigError(f"--weights {text}: expected NETWORK=FILE, for example --weights i3d=weights/model.ckpt.")
    return network, Path(file)
