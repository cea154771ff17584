"""`stap distil`: videos and a captioner -> a small student of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from stap.commands.shared.console import interruptible, say
from stap.commands.shared.limits import LimitOptions
from stap.commands.shared.option_groups import with_option_groups
from stap.commands.shared.options import DeviceOption, OverridesArgument, RunOption, SeedOption, with_seed
from stap.commands.shared.outputs import writable_folder

TEACHER, DATA = "Teacher", "Captions and splits"


@dataclass(frozen=True)
class TeacherOptions:
    """Who is asked, and for what."""

    teacher: Annotated[
        str,
        typer.Option(
            "--teacher",
            "-t",
            metavar="NAME",
            help="A captioner, as `stap caption --model` takes it: user/name[@revision] on the Hugging Face Hub, or a folder.",
            rich_help_panel=TEACHER,
        ),
    ]
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="What a teacher that chats is asked. Default: for one plain sentence.", rich_help_panel=TEACHER
        ),
    ] = None
    beam: Annotated[int, typer.Option(min=1, help="The teacher's beam width; 1 is greedy.", rich_help_panel=TEACHER)] = 4
    samples: Annotated[
        int, typer.Option(min=1, help="Captions drawn for each video besides that of the beam.", rich_help_panel=TEACHER)
    ] = 4
    temperature: Annotated[float, typer.Option(metavar="T", help="Of the drawn captions.", rich_help_panel=TEACHER)] = 1.0
    output_licence: Annotated[
        str | None,
        typer.Option(
            "--output-licence",
            metavar="TEXT",
            help="Licence of what the teacher says, for the student's model card. Default: the teacher's own, as its card states.",
            rich_help_panel=TEACHER,
        ),
    ] = None


@dataclass(frozen=True)
class CaptionOptions:
    """What the student learns from besides the teacher, and what it does not learn from."""

    captions: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Human captions to mix in: a table (.csv, .tsv, .jsonl), or KIND:DIR of a corpus, such as msrvtt:data. Its splits are kept.",
            rich_help_panel=DATA,
        ),
    ] = None
    human_weight: Annotated[
        int,
        typer.Option("--human-weight", min=1, help="How often each human caption counts in training.", rich_help_panel=DATA),
    ] = 1
    source: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Whose group, matched with a video's path without suffix, names its source video; splits never divide a source. Default: what "
            "stands before -Scene-012, _shot12 and the like.",
            rich_help_panel=DATA,
        ),
    ] = None
    drop_improbable: Annotated[
        float,
        typer.Option("--drop-improbable", metavar="SHARE", help="Of the captions, the least probable.", rich_help_panel=DATA),
    ] = 0.05
    drop_disagreeing: Annotated[
        float,
        typer.Option(
            "--drop-disagreeing",
            metavar="SHARE",
            help="Of the captions, those that agree least with the others of their video.",
            rich_help_panel=DATA,
        ),
    ] = 0.1
    ablation: Annotated[
        bool,
        typer.Option(
            "--ablation/--no-ablation", help="Also train a student on captions that were not filtered.", rich_help_panel=DATA
        ),
    ] = True


@with_option_groups
def distil(
    videos: Annotated[Path, typer.Argument(metavar="VIDEOS", help="The folder of the videos.")],
    teacher: TeacherOptions,
    captions: CaptionOptions,
    limits: LimitOptions,
    out: RunOption,
    recipe: Annotated[
        str, typer.Option(metavar="RECIPE", help="Of the student: a built-in recipe or a YAML file.")
    ] = "distil/student",
    overrides: OverridesArgument = None,
    device: DeviceOption = "auto",
    seed: SeedOption = None,
) -> None:
    """Teach a small model to caption your videos as a large one does.

    The teacher captions every video; what it says is filtered and kept as a corpus that people can correct; a student is trained on it and
    reported on. The same command continues an interrupted run.
    """
    from stap.recipes.files import load_recipe

    student = load_recipe(recipe, with_seed(overrides, seed))
    allowed = limits.limits([videos])
    writable_folder(out)

    from stap.decoding.draw import Draws
    from stap.errors import ConfigError
    from stap.experiments.distil import FilterSettings, Request
    from stap.experiments.distil import distil as run
    from stap.experiments.distil.request import SHOT
    from stap.features.device import choose_device

    if not teacher.temperature > 0:
        raise ConfigError(f"--temperature {teacher.temperature:g}: expected a temperature above 0.")
    request = Request(
        videos=videos,
        teacher=teacher.teacher,
        out=out,
        recipe=student,
        prompt=teacher.prompt,
        beam_width=teacher.beam,
        draws=Draws(teacher.samples, teacher.temperature, student.seed),
        captions=captions.captions,
        human_weight=captions.human_weight,
        source=SHOT if captions.source is None else captions.source,
        filter=FilterSettings(improbable=captions.drop_improbable, disagreeing=captions.drop_disagreeing),
        output_licence=teacher.output_licence,
        ablation=captions.ablation,
        limits=allowed,
        device=choose_device(device),
    )
    with interruptible("Run the same command again; finished steps are kept."):
        result = run(request, say)
    print(f"{result}\n\nStudent: {out / 'model'}\nCorpus:  {out / 'corpus'}\nReport:  {out / 'report.html'}")
