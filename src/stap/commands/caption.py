"""`stap caption`: video files -> captions on stdout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stap.commands.shared.console import complain, interruptible, say, warn
from stap.commands.shared.limits import LimitOptions
from stap.commands.shared.option_groups import with_option_groups
from stap.commands.shared.options import CaptionerOption, DeviceOption
from stap.commands.shared.outputs import JSON_LIST, LINES, growing_rows
from stap.errors import ConfigError, StapError
from stap.files import json_text, printable

if TYPE_CHECKING:
    from stap.captioning.protocol import VideoCaptioner
    from stap.captioning.video_caption import VideoCaption
    from stap.decoding.draw import Draws
    from stap.recipes.settings import VideoLimits


class Format(StrEnum):
    """How captions are written."""

    text = "text"
    json = "json"


WORDS = "Choice of words"


@dataclass(frozen=True)
class WordOptions:
    """How the words of a caption are chosen."""

    beam: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Beam width; 1 is greedy. Default: the model's recipe; of the Hub's captioners 4.",
            rich_help_panel=WORDS,
        ),
    ] = None
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="What a model that chats is asked. Default: for one plain sentence.", rich_help_panel=WORDS
        ),
    ] = None
    sample: Annotated[
        bool, typer.Option("--sample", help="Draw each caption at random instead of searching.", rich_help_panel=WORDS)
    ] = False
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="With --sample: below 1 keeps to probable words, above 1 varies more. Default: 1.",
            rich_help_panel=WORDS,
        ),
    ] = None
    seed: Annotated[
        int | None, typer.Option(min=0, help="Random seed of --sample; nothing else is random.", rich_help_panel=WORDS)
    ] = None

    def draws(self) -> Draws | None:
        """What --sample asks for. Raises ConfigError for options that do not go together."""
        if self.temperature is not None and not (self.sample and self.temperature > 0):
            raise ConfigError(f"--temperature {self.temperature:g}: expected --sample, and a temperature above 0.")
        if self.sample and self.beam is not None:
            raise ConfigError("--sample draws words and --beam searches for them. Give one of the two.")
        if not self.sample:
            return None
        from stap.decoding.draw import Draws

        return Draws(1, 1.0 if self.temperature is None else self.temperature, self.seed or 0)


@with_option_groups
def caption(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Video files, and folders to search for them.")],
    limits: LimitOptions,
    words: WordOptions,
    model: CaptionerOption = None,
    output_format: Annotated[
        Format,
        typer.Option(
            "--format", help="text: a line 'file<TAB>caption' for each video; json: also scores, words and attention."
        ),
    ] = Format.text,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="File to write instead of stdout.")] = None,
    device: DeviceOption = "auto",
) -> None:
    """Caption video files.

    A file that cannot be captioned is reported on stderr with the reason. The others are captioned, and the exit status is 1.
    """
    allowed, draws = limits.limits(paths), words.draws()
    failures: list[Path] = []

    def report(path: Path, error: StapError) -> None:
        complain(str(error))
        failures.append(path)

    form = LINES if output_format is Format.text else JSON_LIST
    with interruptible("The captions made until then are written."), growing_rows(out, form) as rows:
        videos = _videos(paths, report)
        total = len(videos) + len(failures)
        if videos:
            captioner = _captioner(model, device, allowed, words.prompt)
            for caption in captioner.caption_many(videos, beam_width=words.beam, draws=draws, on_error=report):
                for sentence in caption.warnings:
                    warn(sentence)
                rows.add(_line(caption) if form is LINES else _entry_of_list(caption))
    if failures:
        complain(f"{len(failures)} of {total} files could not be captioned; the reasons are above.")
        raise typer.Exit(1)


def _captioner(model: str | None, device: str, limits: VideoLimits, prompt: str | None) -> VideoCaptioner:
    from stap.teachers.loading import load, suggested

    if model is None:
        chosen = suggested(device)
        say(f"stap: {chosen}")
        model = chosen.name
    return load(model, device, limits, prompt=prompt)


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
