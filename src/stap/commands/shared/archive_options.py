"""Options of the commands that search an archive, and the model that an archive is searched by."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stap.errors import ArchiveError

if TYPE_CHECKING:
    from stap.archive.store import Archive
    from stap.captioning.protocol import VideoCaptioner

__all__ = ["ArchiveModelOption", "By", "ByOption", "archive_captioner"]


class By(StrEnum):
    """The routes of a search."""

    both = "both"
    meaning = "meaning"
    words = "words"


ByOption = Annotated[By, typer.Option(help="meaning: nearness of vectors; words: full text; both: their ranks are fused.")]
ArchiveModelOption = Annotated[
    str | None, typer.Option("--model", "-m", metavar="MODEL", help="The archive's model, if it is not where it was.")
]


def archive_captioner(archive: Archive, name: str, device: str) -> VideoCaptioner:
    """The model of an archive, loaded. Raises ArchiveError if it is not known where it is."""
    from stap.teachers.loading import load

    if not name or (Path(name).is_absolute() and not Path(name).is_dir()):
        gone = f"its model {name} is not there any more" if name else "it does not say what its model is called"
        raise ArchiveError(f"{archive.folder}: {gone}. Name the model (--model), or look for words only (--by words).")
    return load(name, device)
