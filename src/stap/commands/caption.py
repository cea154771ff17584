"""`stap caption`: video files -> captions on stdout, in a file, or in a file for each video."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stap.commands.shared.caption_folder import FilePerVideo, say_what_was_done
from stap.commands.shared.caption_options import (
    FileOptions,
    Format,
    LiveOptions,
    ShotOptions,
    SubtitleOptions,
    WordOptions,
    load_captioner,
)
from stap.commands.shared.caption_progress import caption_progress
from stap.commands.shared.console import complain, interruptible, warn
from stap.commands.shared.limits import LimitOptions
from stap.commands.shared.machines import MachineOptions, Shard
from stap.commands.shared.option_groups import with_option_groups
from stap.commands.shared.options import CaptionerOption, DeviceOption
from stap.commands.shared.outputs import JSON_LIST, LINES, Form, Rows, growing_rows
from stap.commands.shared.profile import CaptionProfileOption, profiled
from stap.commands.shared.spread import Captioning
from stap.errors import ConfigError, StapError

if TYPE_CHECKING:
    from stap.captioning.protocol import VideoCaptioner
    from stap.programmes.caption_files import CaptionPlan
    from stap.programmes.documents import DocumentRules
    from stap.programmes.live import LiveSource
    from stap.programmes.timed import CaptionedVideo
    from stap.recipes.settings import VideoLimits


@with_option_groups
def caption(
    limits: LimitOptions,
    words: WordOptions,
    shots: ShotOptions,
    subtitles: SubtitleOptions,
    files: FileOptions,
    machines: MachineOptions,
    live: LiveOptions,
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="Video files, and folders to search for them.")
    ] = None,
    model: CaptionerOption = None,
    output_format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="text: a line 'file<TAB>caption' for each video, with times for each shot of a long one; json: also scores, words and "
            "attention; jsonl, csv: a record a caption; srt, vtt, ttml: subtitles of one video; html: a page with its player and shots.",
        ),
    ] = Format.text,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="File to write instead of stdout.")] = None,
    device: DeviceOption = "auto",
    profile: CaptionProfileOption = False,
) -> None:
    """Caption video files: short ones as one clip, long ones shot by shot.

    A file that cannot be captioned is reported on stderr with the reason. The others are captioned, and the exit status is 1.
    """
    from stap.programmes.extra import import_extra

    allowed, plan = limits.limits(paths or ()), shots.plan(words, subtitles, files.jobs, output_format is Format.html)
    shard = machines.part(model)
    load = partial(load_captioner, model, machines.device_here(device), allowed, words)
    if output_format in (Format.srt, Format.vtt, Format.html):
        import_extra("pysubs2", "writing subtitles")  # before the work, and not after it
    _check_together(paths, live, files, machines, out)
    if live.live:
        with interruptible("The captions made until then are written."):
            _caption_live(live, live.source(allowed), load, plan, output_format, out)
        return
    assert paths, "checked above"
    if files.are_one_a_video:
        each = FilePerVideo(plan, output_format, subtitles.rules(), files, allowed, shard)
        with (
            interruptible("What is done is in the manifest. Run the same line again."),
            profiled(profile),
            nullcontext() if files.dry_run else machines.connected(device) as cluster,
        ):
            failed, total = each.run(paths, load, cluster, Captioning(model, device, allowed, words, plan))
    else:
        with interruptible("The captions made until then are written."), profiled(profile):
            failed, total = _caption_to_one(paths, load, plan, output_format, subtitles.rules(), allowed, out, shard)
    if failed:
        complain(f"{failed} of {total} files could not be captioned; the reasons are above.")
        raise typer.Exit(1)


def _check_together(
    paths: list[Path] | None, live: LiveOptions, files: FileOptions, machines: MachineOptions, out: Path | None
) -> None:
    """Raise ConfigError for options that contradict each other; BadParameter without a source."""
    if bool(paths) == bool(live.live):
        raise typer.BadParameter("expected video files or folders (PATH), or one source (--live SOURCE).")
    if live.live and machines.shard is not None:
        raise ConfigError("--shard: expected video files or folders, whose parts these are. --live is one source.")
    if machines.cluster is not None and not files.are_one_a_video:
        raise ConfigError("--cluster: expected --beside or --into DIR, which write a file for each video.")
    if files.are_one_a_video and out is not None and not live.live:
        raise ConfigError("--out is one file, and --beside and --into write one for each video. Give one of them.")


def _caption_live(
    live: LiveOptions,
    source: LiveSource,
    load: Callable[[], VideoCaptioner],
    plan: CaptionPlan,
    output_format: Format,
    out: Path | None,
) -> None:
    """A record for each shot, written as soon as the shot has ended and is captioned."""
    from stap.programmes.live import caption_live
    from stap.programmes.timed import CaptionedVideo

    if output_format not in (Format.text, Format.jsonl, Format.csv):
        raise ConfigError(f"--live writes a record a shot. Expected --format text, jsonl or csv, got {output_format.value}.")
    with _growing(out, output_format) as rows:
        for caption in caption_live(source, load(), plan, live.live_rate):
            _add(rows, CaptionedVideo(source.name, 0.0, (caption,)), output_format)
    for sentence in source.warnings:
        warn(sentence)


def _caption_to_one(
    paths: list[Path],
    load: Callable[[], VideoCaptioner],
    plan: CaptionPlan,
    output_format: Format,
    rules: DocumentRules,
    limits: VideoLimits,
    out: Path | None,
    shard: Shard | None,
) -> tuple[int, int]:
    """All captions on stdout or in a file. Returns how many files failed, of how many."""
    from stap.programmes.caption_files import caption_files
    from stap.programmes.documents import document

    failures: list[Path] = []

    def report(path: Path, error: StapError) -> None:
        complain(str(error))
        failures.append(path)

    with _growing(out, output_format) as rows:
        videos = _videos(paths, report, shard)
        total = len(videos) + len(failures)
        if output_format.is_of_one_video and len(videos) > 1:
            raise ConfigError(
                f"--format {output_format.value} is a file of one video, and {len(videos)} were given. Give one, or say where the files go: "
                "--beside, or --into DIR."
            )
        with caption_progress(is_quiet=True) as on_progress:
            captioned = caption_files(videos, load(), plan, limits, on_progress) if videos else iter(())
            for path, found in captioned:
                if isinstance(found, StapError):
                    report(path, found)
                    continue
                say_what_was_done(found, plan, output_format)
                if output_format.is_of_one_video:
                    text, remarks = document(found, output_format.value, rules, None if out is None else out.parent)
                    rows.add(text)
                    for sentence in remarks:
                        warn(sentence)
                else:
                    _add(rows, found, output_format)
    return len(failures), total


@contextmanager
def _growing(out: Path | None, output_format: Format) -> Iterator[Rows]:
    """Rows of this format on stdout or in the file; a subtitle file is a single row."""
    from stap.programmes.writers import ROWS

    form = Form() if output_format.is_of_one_video else JSON_LIST if output_format is Format.json else LINES
    with growing_rows(out, form) as rows:
        if form is LINES:
            for line in ROWS[output_format.value][0]:
                rows.add(line)
        yield rows


def _add(rows: Rows, video: CaptionedVideo, output_format: Format) -> None:
    from stap.programmes.writers import ROWS, json_object

    for row in [json_object(video)] if output_format is Format.json else ROWS[output_format.value][1](video):
        rows.add(row)


def _videos(paths: list[Path], report: Callable[[Path, StapError], None], shard: Shard | None) -> list[Path]:
    from stap.programmes.folders import named_videos

    videos: list[Path] = []
    for path in paths:
        try:
            videos += [video for video, below in named_videos(path) if shard is None or shard.holds(below.as_posix())]
        except StapError as error:
            if shard is None or shard.holds(path.name):
                report(path, error)
    for path, times in Counter(videos).items():
        if times > 1:
            warn(f"{path}: is given {times} times, and is captioned as often.")
    return videos
