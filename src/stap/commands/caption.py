"""`stap caption`: video files -> captions on stdout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stap.commands.shared.console import complain, interruptible, warn
from stap.commands.shared.limits import LimitOptions
from stap.commands.shared.option_groups import with_option_groups
from stap.commands.shared.options import DeviceOption, ModelOption, UnusedSeedOption
from stap.commands.shared.outputs import JSON_LIST, LINES, growing_rows
from stap.errors import StapError
from stap.files import json_text, printable

if TYPE_CHECKING:
    from stap.captioning.video_caption import VideoCaption


class Format(StrEnum):
    """How captions are written."""

    text = "text"
    json = "json"


@with_option_groups
def caption(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Video files, and folders to search for them.")],
    model: ModelOption,
    limits: LimitOptions,
    output_format: Annotated[
        Format,
        typer.Option(
            "--format", help="text: a line 'file<TAB>caption' for each video; json: also scores, words and attention."
        ),
    ] = Format.text,
    beam: Annotated[int | None, typer.Option(min=1, help="Beam width; 1 is greedy. Default: the model's recipe.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="File to write instead of stdout.")] = None,
    device: DeviceOption = "auto",
    seed: UnusedSeedOption = None,
) -> None:
    """Caption video files.

    A file that cannot be captioned is reported on stderr with the reason. The others are captioned, and the exit status is 1.
    """
    allowed = limits.limits(paths)
    failures: list[Path] = []

    def report(path: Path, error: StapError) -> None:
        complain(str(error))
        failures.append(path)

    form = LINES if output_format is Format.text else JSON_LIST
    with interruptible("The captions made until then are written."), growing_rows(out, form) as rows:
        videos = _videos(paths, report)
        total = len(videos) + len(failures)
        if videos:
            from stap.captioning.captioner import load

            for caption in load(model, device, allowed).caption_many(videos, beam_width=beam, on_error=report):
                for sentence in caption.warnings:
                    warn(sentence)
                rows.add(_line(caption) if form is LINES else _entry_of_list(caption))
    if failures:
        complain(f"{len(failures)} of {total} files could not be captioned; the reasons are above.")
        raise typer.Exit(1)


def _videos(paths: list[Path], report: Callable[[Path, StapError], None]) -> list[Path]:
    from stap.video import find_videos

    videos: list[Path] = []
    for path in paths:
        try:
            videos += find_videos([path])
        except StapError as error:
            report(path, error)
    for path, times in Counter(videos).items():
        if times > 1:
            warn(f"{path}: is given {times} times, and is captioned as often.")
    return videos


def _line(caption: VideoCaption) -> str:
    return f"{printable(caption.path)}\t{printable(caption.caption)}"


def _entry_of_list(caption: VideoCaption) -> str:
    return json_text([caption.to_json()]).removeprefix("[\n").removesuffix("\n]")
