"""Options for the limits of video files: what one may cost, and whether it may name others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stap.errors import ConfigError

if TYPE_CHECKING:
    from stap.recipes.settings import VideoLimits

__all__ = ["AllowPlaylistsOption", "IsolateOption", "LimitOptions", "with_playlists"]

AllowPlaylistsOption = Annotated[
    bool,
    typer.Option(
        "--allow-playlists", help="Read playlists (HLS, DASH, concat scripts) whose files are in their own folder or below it."
    ),
]
IsolateOption = Annotated[
    bool | None,
    typer.Option(
        "--isolate/--no-isolate",
        help="Decode in a process of its own, which a hostile or damaged file may end without harm. Default: for folders, and for corpora "
        "of 100 videos or more.",
    ),
]


@dataclass(frozen=True)
class LimitOptions:
    """The limits of each video file."""

    allow_playlists: AllowPlaylistsOption = False
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="NAME=VALUE",
            help="A limit of each video file instead of its default: seconds, pixels, aspect, frames or memory_mib; may be given several "
            "times.",
        ),
    ] = None

    isolate: IsolateOption = None

    def limits(self, paths: Iterable[Path] = ()) -> VideoLimits:
        """The limits for these files and folders. Raises ConfigError for a name or a value that is none."""
        from pydantic import ValidationError

        from stap.recipes.settings import VideoLimits

        isolate = any(path.is_dir() for path in paths) if self.isolate is None else self.isolate
        given = [one.partition("=")[::2] for one in self.limit or []]
        try:
            return VideoLimits.model_validate({"playlists": self.allow_playlists, "isolate": isolate, **dict(given)})
        except ValidationError as problem:
            [name, *_] = problem.errors()[0]["loc"]
            raise ConfigError(
                f"--limit {name}={dict(given).get(str(name), '')}: {problem.errors()[0]['msg']}. "
                f"Expected one of {', '.join(VideoLimits.model_fields)} and a number, for example --limit seconds=600."
            ) from None


def with_playlists(overrides: list[str] | None, allow_playlists: bool) -> list[str]:
    """The recipe's overrides, with that for playlists if they are allowed."""
    return [*(overrides or []), *(["corpus.limits.playlists=true"] if allow_playlists else [])]
