"""`stap scenes`: write the generated corpus."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stap.commands.shared.console import interruptible, progress, say
from stap.commands.shared.option_groups import with_option_groups
from stap.commands.shared.options import UnusedDeviceOption

if TYPE_CHECKING:
    from stap.corpora.corpus import Corpus


class Layout(StrEnum):
    """The layouts that scenes are written in."""

    msrvtt = "msrvtt"
    msvd = "msvd"


DIFFICULTY = "Difficulty (defaults: docs/scenes.md)"


@dataclass(frozen=True)
class Dials:
    """The difficulty of the corpus."""

    pixels: Annotated[int | None, typer.Option(help="Side of the square videos.", rich_help_panel=DIFFICULTY)] = None
    seconds: Annotated[float | None, typer.Option(help="Mean length of a video.", rich_help_panel=DIFFICULTY)] = None
    frame_rate: Annotated[int | None, typer.Option(help="Frames per second.", rich_help_panel=DIFFICULTY)] = None
    two_object_share: Annotated[
        float | None, typer.Option(help="Share of the scenes in which two objects meet.", rich_help_panel=DIFFICULTY)
    ] = None
    sequence_share: Annotated[
        float | None,
        typer.Option(help="Share of the scenes in which one object does two things in turn.", rich_help_panel=DIFFICULTY),
    ] = None
    small_share: Annotated[
        float | None, typer.Option(help="Share of the described objects that are small.", rich_help_panel=DIFFICULTY)
    ] = None
    brief_share: Annotated[
        float | None, typer.Option(help="Share of the scenes whose event is brief.", rich_help_panel=DIFFICULTY)
    ] = None
    max_distractors: Annotated[
        int | None, typer.Option(help="Maximum number of extra objects that no caption mentions.", rich_help_panel=DIFFICULTY)
    ] = None
    noise: Annotated[
        float | None, typer.Option(help="Camera noise, in grey levels (0 to 255).", rich_help_panel=DIFFICULTY)
    ] = None
    texture: Annotated[
        float | None, typer.Option(help="Texture of the background, in grey levels (0 to 255).", rich_help_panel=DIFFICULTY)
    ] = None


@with_option_groups
def scenes(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write, in MSR-VTT's own layout.")],
    difficulty: Dials,
    videos: Annotated[int, typer.Option(min=1, help="Number of videos.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Random seed; the same seed and dials give the same corpus.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Videos written at the same time.")] = 2,
    layout: Annotated[
        Layout, typer.Option(help="msvd: also write MSVD's layout, for at most 1,200, 100 and 670 scenes.")
    ] = Layout.msrvtt,
    device: UnusedDeviceOption = "auto",
) -> None:
    """Generate a corpus of short videos with captions and facts."""
    from stap.scenes import SceneDials, write_scenes

    dials = replace(SceneDials(), **{name: value for name, value in asdict(difficulty).items() if value is not None})
    with interruptible("Run the same command again to continue."), progress("scenes") as report:
        corpus = write_scenes(out, videos=videos, seed=seed, dials=dials, workers=workers, on_progress=report)
    say(f"{len(corpus.clips)} videos in {out} ({_counts(corpus)}).")
    if layout is Layout.msvd:
        from stap.scenes.msvd_layout import write_msvd_layout

        say(f"In MSVD's layout too: {_counts(write_msvd_layout(corpus, out))}.")


def _counts(corpus: Corpus) -> str:
    return ", ".join(f"{len(corpus.split(name))} {name}" for name in ("train", "validation", "test"))
