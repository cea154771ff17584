"""`stap caption`: video files -> captions on stdout, in a file, or in a file for each video."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stap.commands.shared.caption_options import FileOptions, Format, LiveOptions, ShotOptions, SubtitleOptions, WordOptions
from stap.commands.shared.caption_progress import caption_progress
from stap.commands.shared.console import complain, interruptible, say, warn
from stap.commands.shared.limits import LimitOptions
from stap.commands.shared.option_groups import with_option_groups
from stap.commands.shared.options import CaptionerOption, DeviceOption
from stap.commands.shared.outputs import JSON_LIST, LINES, Form, Rows, growing_rows, writable_folder
from stap.commands.shared.profile import CaptionProfileOption, profiled
from stap.errors import ConfigError, StapError
from stap.files import printable, sha256_of_file, write_atomically

if TYPE_CHECKING:
    from stap.captioning.protocol import VideoCaptioner
    from stap.programmes.caption_files import CaptionPlan, Progress
    from stap.programmes.documents import DocumentRules
    from stap.programmes.folders import Entry, Job, Manifest
    from stap.programmes.live import LiveSource
    from stap.programmes.timed import CaptionedVideo
    from stap.recipes.settings import VideoLimits

FILES_AT_A_TIME = 64  # of a folder, between two looks at what is done


@with_option_groups
def caption(
    limits: LimitOptions,
    words: WordOptions,
    shots: ShotOptions,
    subtitles: SubtitleOptions,
    files: FileOptions,
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

    def load() -> VideoCaptioner:
        from torch.profiler import record_function

        with record_function("loading the model"):
            return _captioner(model, device, allowed, words)

    if output_format in (Format.srt, Format.vtt, Format.html):
        import_extra("pysubs2", "writing subtitles")  # before the work, and not after it
    if bool(paths) == bool(live.live):
        raise typer.BadParameter("expected video files or folders (PATH), or one source (--live SOURCE).")
    if live.live:
        with interruptible("The captions made until then are written."):
            _caption_live(live, live.source(allowed), load, plan, output_format, out)
        return
    assert paths, "checked above"
    if files.are_one_a_video:
        if out is not None:
            raise ConfigError("--out is one file, and --beside and --into write one for each video. Give one of them.")
        with interruptible("What is done is in the manifest. Run the same line again."), profiled(profile):
            failed, total = _FilePerVideo(plan, output_format, subtitles.rules(), files, allowed).run(paths, load)
    else:
        with interruptible("The captions made until then are written."), profiled(profile):
            failed, total = _caption_to_one(paths, load, plan, output_format, subtitles.rules(), allowed, out)
    if failed:
        complain(f"{failed} of {total} files could not be captioned; the reasons are above.")
        raise typer.Exit(1)


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
) -> tuple[int, int]:
    """All captions on stdout or in a file. Returns how many files failed, of how many."""
    from stap.programmes.caption_files import caption_files
    from stap.programmes.documents import document

    failures: list[Path] = []

    def report(path: Path, error: StapError) -> None:
        complain(str(error))
        failures.append(path)

    with _growing(out, output_format) as rows:
        videos = _videos(paths, report)
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
                _say_what_was_done(found, plan, output_format)
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


def _say_what_was_done(video: CaptionedVideo, plan: CaptionPlan, output_format: Format) -> None:
    for sentence in video.warnings:
        warn(sentence)
    seconds = f"{video.duration_seconds:.1f} seconds"
    if video.whole is None:
        say(f"{video.path}: {seconds}, captioned shot by shot ({plan.rules.detector}): {len(video.captions)} captions.")
    elif plan.whole is None and output_format.is_of_one_video:
        say(f"{video.path}: {seconds}, captioned as one clip. --shots divides it.")


def _captioner(model: str | None, device: str, limits: VideoLimits, words: WordOptions) -> VideoCaptioner:
    from stap.teachers.loading import load, suggested

    if model is None:
        chosen = suggested(device)
        say(f"stap: {chosen}")
        model = chosen.name
    return load(model, device, limits, prompt=words.prompt, alternatives=words.keep_alternatives)


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


class _FilePerVideo:
    """A file of captions for each video, and a manifest of what became of each."""

    def __init__(
        self, plan: CaptionPlan, output_format: Format, rules: DocumentRules, files: FileOptions, limits: VideoLimits
    ) -> None:
        self.plan, self.format, self.rules, self.files, self.limits = plan, output_format, rules, files, limits
        self.counts: Counter[str] = Counter()

    def run(self, paths: list[Path], load: Callable[[], VideoCaptioner]) -> tuple[int, int]:
        """Returns how many files failed, of how many."""
        from stap.programmes.caption_files import Progress
        from stap.programmes.folders import Manifest, jobs_of

        jobs = jobs_of(paths, self.format.suffix, self.files.into, self.files.include or (), self.files.exclude or ())
        manifest = Manifest(self.files.manifest_of(paths))
        if not self.files.dry_run:
            writable_folder(manifest.path.parent)
            writable_folder(self.files.into or manifest.path.parent)
        captioner = load()
        with caption_progress(is_quiet=False) as on_progress:
            progress, following = Progress(len(jobs)), iter(jobs)
            while some := list(islice(following, FILES_AT_A_TIME)):
                self._caption_some(some, captioner, manifest, progress, on_progress)
        counted = ", ".join(f"{number} {status}" for status, number in sorted(self.counts.items()))
        say(f"stap: {len(jobs)} videos: {counted or 'nothing to do'}. Manifest: {manifest.path}")
        return self.counts["failed"], len(jobs)

    def _caption_some(
        self,
        jobs: list[Job],
        captioner: VideoCaptioner,
        manifest: Manifest,
        progress: Progress,
        on_progress: Callable[[Progress], None],
    ) -> None:
        from stap.programmes.caption_files import caption_files
        from stap.programmes.documents import document

        wanted: dict[Path, tuple[Job, str]] = {}
        for job in jobs:
            key = self._left_to_do(job, captioner, manifest)
            if key is None:
                progress.end(job.video, 0.0)
            else:
                wanted[job.video] = job, key
        if self.files.dry_run:
            return
        begun = time.perf_counter()
        for path, found in caption_files(list(wanted), captioner, self.plan, self.limits, on_progress, progress):
            job, key = wanted[path]
            seconds, begun = time.perf_counter() - begun, time.perf_counter()
            if isinstance(found, StapError):
                self._fail(job, manifest, str(found), seconds)
                continue
            _say_what_was_done(found, self.plan, self.format)
            text, remarks = document(found, self.format.value, self.rules, job.output.parent)
            for sentence in remarks:
                warn(sentence)
            self._write(job, manifest, text, key, seconds)

    def _left_to_do(self, job: Job, captioner: VideoCaptioner, manifest: Manifest) -> str | None:
        """The key of a video that is to be captioned; None of one that was dealt with here."""
        from stap.programmes.folders import Entry, key_of

        made_by = {"captioner": dict(captioner.fingerprint), "plan": self.plan.to_json(), "rules": asdict(self.rules)}
        try:
            key = key_of(job.video, {**made_by, "format": self.format.value})
        except OSError as error:
            self._fail(job, manifest, f"{job.video}: cannot be read ({error.strerror}).", 0.0)
            return None
        if manifest.is_done(job, key):
            self._note(Entry(str(job.video), "skipped", str(job.output), "done already"), manifest)
            return None
        if not manifest.may_replace(job):
            reason = "is there already, and is not as `stap caption` wrote it. Move it away, or write --into another folder."
            self._fail(job, manifest, f"{job.output}: {reason}", 0.0)
            return None
        same = manifest.same_elsewhere(key)
        if same is not None and not self.format.names_the_video and not self.files.dry_run:
            text = Path(same.output).read_text(encoding="utf-8")
            self._write(job, manifest, text, key, 0.0, f"the same content as {same.input}")
            return None
        if self.files.dry_run:
            self.counts["to caption"] += 1
            print(f"caption\t{printable(job.video)}\t{printable(job.output)}")
        return key

    def _write(self, job: Job, manifest: Manifest, text: str, key: str, seconds: float, reason: str = "") -> None:
        from stap.programmes.folders import Entry

        try:
            job.output.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(job.output, text.encode("utf-8", "backslashreplace"))
            sha256 = sha256_of_file(job.output)
        except OSError as error:
            self._fail(job, manifest, f"{job.output}: cannot be written ({error.strerror}).", seconds)
            return
        self._note(Entry(str(job.video), "done", str(job.output), reason, round(seconds, 3), key, sha256), manifest)

    def _fail(self, job: Job, manifest: Manifest, reason: str, seconds: float) -> None:
        from stap.programmes.folders import Entry

        complain(reason)
        self._note(Entry(str(job.video), "failed", str(job.output), reason, round(seconds, 3)), manifest)

    def _note(self, entry: Entry, manifest: Manifest) -> None:
        self.counts[entry.status] += 1
        if not self.files.dry_run:
            manifest.add(entry)
        elif entry.status == "skipped":
            print(f"skip\t{printable(entry.input)}\t{printable(entry.output)}")
