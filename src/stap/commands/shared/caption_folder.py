"""`stap caption --beside` and `--into`: a file of captions for each video, and a manifest of what became of each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from stap.commands.shared.caption_options import FileOptions, Format
from stap.commands.shared.caption_progress import caption_progress
from stap.commands.shared.console import complain, say, warn
from stap.commands.shared.outputs import writable_folder
from stap.errors import StapError
from stap.files import printable, sha256_of_file, write_atomically

if TYPE_CHECKING:
    from stap.captioning.protocol import VideoCaptioner
    from stap.commands.shared.machines import Shard
    from stap.programmes.caption_files import CaptionPlan, Progress
    from stap.programmes.documents import DocumentRules
    from stap.programmes.folders import Content, Entry, Job, Manifest
    from stap.programmes.timed import CaptionedVideo
    from stap.recipes.settings import VideoLimits

__all__ = ["FilePerVideo", "say_what_was_done"]

FILES_AT_A_TIME = 64  # between two looks at what is done


class FilePerVideo:
    """A file of captions for each video, and a manifest of what became of each."""

    def __init__(
        self,
        plan: CaptionPlan,
        output_format: Format,
        rules: DocumentRules,
        files: FileOptions,
        limits: VideoLimits,
        shard: Shard | None = None,
    ) -> None:
        self.plan, self.format, self.rules, self.files, self.limits = plan, output_format, rules, files, limits
        self.shard = shard
        self.counts: Counter[str] = Counter()

    def run(self, paths: list[Path], load: Callable[[], VideoCaptioner]) -> tuple[int, int]:
        """Returns how many files failed, of how many."""
        from stap.programmes.caption_files import Progress
        from stap.programmes.folders import Manifest, jobs_of

        jobs = jobs_of(paths, self.format.suffix, self.files.into, self.files.include or (), self.files.exclude or ())
        if self.shard is not None:
            jobs = [job for job in jobs if self.shard.holds(job.name)]
        manifest = Manifest(self.files.manifest_of(paths), self.shard.as_name if self.shard else "")
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

        wanted: dict[Path, tuple[Job, Content, str]] = {}
        for job in jobs:
            left = self._left_to_do(job, captioner, manifest)
            if left is None:
                progress.end(job.video, 0.0)
            else:
                wanted[job.video] = job, *left
        if self.files.dry_run:
            return
        begun = time.perf_counter()
        for path, found in caption_files(list(wanted), captioner, self.plan, self.limits, on_progress, progress):
            job, content, key = wanted[path]
            seconds, begun = time.perf_counter() - begun, time.perf_counter()
            if isinstance(found, StapError):
                self._fail(job, manifest, str(found), seconds)
                continue
            say_what_was_done(found, self.plan, self.format)
            text, remarks = document(found, self.format.value, self.rules, job.output.parent)
            for sentence in remarks:
                warn(sentence)
            self._write(job, manifest, text, content, key, seconds)

    def _left_to_do(self, job: Job, captioner: VideoCaptioner, manifest: Manifest) -> tuple[Content, str] | None:
        """The content and the key of a video that is to be captioned; None of one that was dealt with here."""
        from stap.programmes.folders import Entry, key_of

        made_by = {"captioner": dict(captioner.fingerprint), "plan": self.plan.to_json(), "rules": asdict(self.rules)}
        try:
            content = manifest.content_of(job.video)
        except OSError as error:
            self._fail(job, manifest, f"{job.video}: cannot be read ({error.strerror}).", 0.0)
            return None
        key = key_of(content, {**made_by, "format": self.format.value})
        if manifest.is_done(job, key):
            self._note(Entry(str(job.video), "skipped", str(job.output), "done already", content=content), manifest)
            return None
        if not manifest.may_replace(job):
            reason = "is there already, and is not as `stap caption` wrote it. Move it away, or write --into another folder."
            self._fail(job, manifest, f"{job.output}: {reason}", 0.0)
            return None
        same = manifest.same_elsewhere(key)
        if same is not None and not self.format.names_the_video and not self.files.dry_run:
            text = Path(same.output).read_text(encoding="utf-8")
            self._write(job, manifest, text, content, key, 0.0, f"the same content as {same.input}")
            return None
        if self.files.dry_run:
            self.counts["to caption"] += 1
            print(f"caption\t{printable(job.video)}\t{printable(job.output)}")
        return content, key

    def _write(
        self, job: Job, manifest: Manifest, text: str, content: Content, key: str, seconds: float, reason: str = ""
    ) -> None:
        from stap.programmes.folders import Entry

        try:
            job.output.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(job.output, text.encode("utf-8", "backslashreplace"))
            sha256 = sha256_of_file(job.output)
        except OSError as error:
            self._fail(job, manifest, f"{job.output}: cannot be written ({error.strerror}).", seconds)
            return
        self._note(Entry(str(job.video), "done", str(job.output), reason, round(seconds, 3), key, sha256, content), manifest)

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


def say_what_was_done(video: CaptionedVideo, plan: CaptionPlan, output_format: Format) -> None:
    """Warnings on stderr, and whether a video was divided."""
    for sentence in video.warnings:
        warn(sentence)
    seconds = f"{video.duration_seconds:.1f} seconds"
    if video.whole is None:
        say(f"{video.path}: {seconds}, captioned shot by shot ({plan.rules.detector}): {len(video.captions)} captions.")
    elif plan.whole is None and output_format.is_of_one_video:
        say(f"{video.path}: {seconds}, captioned as one clip. --shots divides it.")
