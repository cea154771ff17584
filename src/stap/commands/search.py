"""`stap search`: a sentence, or a clip -> the shots of an archive that fit."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stap.commands.shared.archive_options import ArchiveModelOption, By, ByOption, archive_captioner
from stap.commands.shared.console import say
from stap.commands.shared.options import ArchiveOption, DeviceOption, UnusedSeedOption
from stap.commands.shared.outputs import result_file
from stap.errors import ConfigError


class Format(StrEnum):
    """How found shots are written."""

    text = "text"
    json = "json"
    csv = "csv"
    srt = "srt"


def search(
    archive: ArchiveOption,
    words: Annotated[str, typer.Argument(metavar="SENTENCE", help="What to look for.")] = "",
    like: Annotated[
        Path | None, typer.Option(metavar="CLIP", help="Find shots like this video file; with a sentence, like both.")
    ] = None,
    where: Annotated[
        str,
        typer.Option(
            metavar="SQL",
            help="Only shots of this condition on video, start_seconds, end_seconds, caption, confidence, score, author or corrected: "
            "\"video LIKE '%/news/%' AND confidence > 0.3\".",
        ),
    ] = "",
    by: ByOption = By.both,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="The most shots that are found.")] = 20,
    output_format: Annotated[
        Format,
        typer.Option(
            "--format", help="text: file, start, end, caption; json, csv: also scores and routes; srt: subtitles of the shots."
        ),
    ] = Format.text,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="File to write instead of stdout.")] = None,
    model: ArchiveModelOption = None,
    device: DeviceOption = "auto",
    seed: UnusedSeedOption = None,
) -> None:
    """Find shots of an archive by a sentence, or by a clip that they should be like. The best come first."""
    from stap.archive.found import WRITERS
    from stap.archive.records import Query
    from stap.archive.store import Archive

    if like is not None and by is By.words:
        raise ConfigError("--like looks for what is near in meaning. Leave --by words out.")
    with Archive.open(archive) as opened:
        vector = None
        if by is not By.words and (words.strip() or like is not None):
            from stap.archive.spaces import query_vector

            vector = query_vector(opened, words, like, lambda name: archive_captioner(opened, model or name, device))
        found = opened.search(Query("" if by is By.meaning and vector is not None else words, vector, where, limit))
        states = opened.states(one.shot for one in found)
    with result_file(out) as file:
        print(WRITERS[output_format.value](found, states), end="", file=file)
    if not found:
        say("stap: nothing was found.")
