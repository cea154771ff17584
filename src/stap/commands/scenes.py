"""`stap scenes`: write the generated corpus."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stap.commands.shared.console import interruptible, progress, say
from stap.commands.shared.options import UnusedDeviceOption

if TYPE_CHECKING:
    from stap.corpora.corpus import Corpus


class Layout(StrEnum):
    """The layouts that scenes are written in."""

    msrvtt = "msrvtt"
    msvd = "msvd"


def scenes(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write, in MSR-VTT's own layout.")],
    videos: Annotated[int, typer.Option(min=1, help="Number of videos.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and dials give the same corpus.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Videos written at the same time.")] = 2,
    pixels: Annotated[int | None, typer.Option(help="Side of the square videos.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Mean length of a video.")] = None,
    frame_rate: Annotated[int | None, typer.Option(help="Frames a second.")] = None,
    two_object_share: Annotated[float | None, typer.Option(help="Part of the scenes in which two objects meet.")] = None,
    sequence_share: Annotated[float | None, typer.Option(help="Part in which one object does two things in turn.")] = None,
    small_share: Annotated[float | None, typer.Option(help="Part of the described objects that are small.")] = None,
    brief_share: Annotated[float | None, typer.Option(help="Part of the scenes whose event is brief.")] = None,
    max_distractors: Annotated[int | None, typer.Option(help="Most extra objects that no caption mentions.")] = None,
    noise: Annotated[float | None, typer.Option(help="Camera noise, in grey levels of 255.")] = None,
    texture: Annotated[float | None, typer.Option(help="Texture of the background, in grey levels of 255.")] = None,
    layout: Annotated[
        Layout, typer.Option(help="msvd: MSVD's layout too, for the scenes that it has room for.")
    ] = Layout.msrvtt,
    device: UnusedDeviceOption = "auto",
) -> None:
    """Write a corpus of generated videos with captions and facts.

    The dials from --pixels to --texture make it easier or harder; docs/scenes.md has their defaults.
    """
    given: dict[str, Any] = {
        "pixels": pixels,
        "seconds": seconds,
        "frame_rate": frame_rate,
        "two_object_share": two_object_share,
        "sequence_share": sequence_share,
        "small_share": small_share,
        "brief_share": brief_share,
        "max_distractors": max_distractors,
        "noise": noise,
        "texture": texture,
    }
    from dataclasses import replace

    from stap.scenes import SceneDials, write_scenes

    dials = replace(SceneDials(), **{name: value for name, value in given.items() if value is not None})
    with interruptible("Run the same line again to continue."), progress("scenes") as report:
        corpus = write_scenes(out, videos=videos, seed=seed, dials=dials, workers=workers, on_progress=report)
    say(f"{len(corpus.clips)} videos in {out} ({_counts(corpus)}).")
    if layout is Layout.msvd:
        from stap.scenes.msvd_layout import write_msvd_layout

        say(f"In MSVD's layout too: {_counts(write_msvd_layout(corpus, out))}.")


def _counts(corpus: Corpus) -> str:
    return ", ".join(f"{len(corpus.split(name))} {name}" for name in ("train", "validation", "test"))
