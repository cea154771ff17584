"""`stap index`: videos, or captions that were made of them, into an archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stap.commands.shared.caption_options import FileOptions, ShotOptions, SubtitleOptions, WordOptions, load_captioner
from stap.commands.shared.caption_progress import caption_progress
from stap.commands.shared.cluster import MARKS
from stap.commands.shared.console import complain, interruptible, say, warn
from stap.commands.shared.limits import LimitOptions
from stap.commands.shared.machines import MachineOptions, Shard
from stap.commands.shared.option_groups import with_option_groups
from stap.commands.shared.options import ArchiveOption, CaptionerOption, DeviceOption
from stap.commands.shared.spread import Captioning, captioned
from stap.errors import ConfigError, StapError

if TYPE_CHECKING:
    from stap.archive.indexing import Indexing
    from stap.commands.shared.cluster import Cluster
    from stap.programmes.caption_files import CaptionPlan, Progress
    from stap.programmes.timed import CaptionedVideo
    from stap.recipes.settings import VideoLimits


@with_option_groups
def index(
    archive: ArchiveOption,
    limits: LimitOptions,
    words: WordOptions,
    shots: ShotOptions,
    machines: MachineOptions,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="Video files, folders to search for them, and files that `stap caption --format json` wrote. Of a folder without videos "
            "its .json files.",
        ),
    ],
    model: CaptionerOption = None,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Remove videos whose file is gone or changed; shots with a corrected caption stay."),
    ] = False,
    device: DeviceOption = "auto",
) -> None:
    """Caption videos as `stap caption` does, and keep their shots in an archive to be searched.

    What is in the archive is left alone, so the same line continues an interrupted run. A video that is not in it is reported on stderr
    with the reason, and the exit status is 1.
    """
    from stap.archive.database import import_lancedb
    from stap.archive.indexing import Indexing, space_for
    from stap.archive.store import Archive

    import_lancedb()  # before the work, and not after it
    allowed = limits.limits(paths)
    plan = shots.plan(words, SubtitleOptions(), FileOptions().jobs, has_pictures=True)
    shard, report = machines.part(model), Failures()
    if forget and shard is not None:
        raise ConfigError("--forget: a part does not know what the others find. Give it without --shard, after all parts.")
    videos, results = _sources(paths, shard, report)
    if shard is not None and not videos and not results:
        say(f"stap: part {shard}: no videos.")
        return report.exit()
    captioner = load_captioner(model, machines.device_here(device), allowed, words) if videos else None
    of_all = results if shard is None else _sources(paths, None, lambda error: None)[1]  # parts agree on the space
    space = space_for(captioner, _read(of_all, allowed, lambda error: None), _name(model))
    with (
        interruptible("What is done is in the archive. Run the same line again."),
        machines.connected(device) as cluster,
        (Archive.open_or_create if shard is None else Archive.shared)(archive, space) as opened,
    ):
        opened.note(roots=[path.absolute() for path in paths if path.is_dir()] if videos else [])
        with Indexing(opened, report, is_part=shard is not None) as indexing:
            indexing.add(_read(results, allowed, report))
            if captioner is not None:
                with caption_progress(is_quiet=False) as on_progress:
                    work = Captioning(model, device, allowed, words, plan)
                    elsewhere = partial(_without_contents, cluster, work, archive / MARKS) if cluster else None
                    indexing.caption(videos, captioner, plan, allowed, on_progress, elsewhere)
        if forget:
            opened.forget([video.content for video in indexing.lost])
        _say_what_was_done(archive, opened.count(), indexing, forget)
    report.exit()


def _name(model: str | None) -> str:
    """By which it is loaded again, from any folder."""
    return str(Path(model).absolute()) if model and Path(model).is_dir() else model or ""


class Failures:
    """Files that are not in the archive: the reason is said, and they are counted."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, error: StapError) -> None:
        """One more."""
        complain(str(error))
        self._count += 1

    def exit(self) -> None:
        """Exit with 1 if there were some."""
        if self._count:
            complain(f"{self._count} files are not in the archive; the reasons are above.")
            raise typer.Exit(1)


def _without_contents(
    cluster: Cluster,
    work: Captioning,
    marks: Path,
    plan: CaptionPlan,
    paths: Sequence[Path],
    on_progress: Callable[[Progress], None],
    progress: Progress,
) -> Iterator[tuple[Path, CaptionedVideo | StapError]]:
    """By the workers of a cluster."""
    for path, found, _ in captioned(cluster, replace(work, plan=plan), marks, paths, on_progress, progress):
        yield path, found


def _sources(paths: list[Path], shard: Shard | None, report: Callable[[StapError], None]) -> tuple[list[Path], list[Path]]:
    """The videos and the results that the paths stand for, or those of a part of all."""
    from stap.archive.results import find_results
    from stap.programmes.folders import named_videos

    names: dict[Path, tuple[Path, str]] = {}  # by the absolute path: the video, and its name, the first that is given
    results = dict[Path, None]()
    for path in paths:
        found = find_results(path)
        try:
            if path.is_dir() or not found:
                for video, below in named_videos(path):
                    names.setdefault(video.absolute(), (video, below.as_posix()))
                continue
        except StapError as error:
            if not found and (shard is None or shard.holds(path.name)):
                report(error)
        results.update((one, None) for one in found if shard is None or shard.holds(one.name))
    return [video for video, name in names.values() if shard is None or shard.holds(name)], list(results)


def _read(results: list[Path], limits: VideoLimits, report: Callable[[StapError], None]) -> Iterator[CaptionedVideo]:
    from stap.archive.results import read_results

    for path in results:
        for found in read_results(path, limits):
            if isinstance(found, StapError):
                report(found)
            else:
                yield found


def _say_what_was_done(folder: Path, shots: int, indexing: Indexing, forget: bool) -> None:
    counted = ", ".join(
        f"{indexing.counts[what]} {what}" for what in ("added", "unchanged", "moved", "failed") if indexing.counts[what]
    )
    say(f"stap: {folder}: {shots} shots. Videos: {counted or 'nothing to do'}.")
    if lost := indexing.lost:
        what = f"{len(lost)} videos are not as they were indexed, the first: {lost[0].path} ({lost[0].state})"
        remedy = "They are removed." if forget else "Index the folder where they are now, or remove them: --forget."
        (say if forget else warn)(f"stap: {what}. {remedy}" if forget else f"{what}. {remedy}")
