"""`stap caption --beside` and `--into`: a file of captions for each video, and a manifest of what became of each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stap.commands.shared.caption_options import FileOptions, Format
from stap.commands.shared.caption_progress import caption_progress
from stap.commands.shared.cluster import MARKS
from stap.commands.shared.console import complain, say, warn
from stap.commands.shared.outputs import writable_folder
from stap.commands.shared.spread import captioned
from stap.errors import StapError
from stap.files import printable, sha256_of_file, write_atomically

if TYPE_CHECKING:
    from stap.captioning.protocol import VideoCaptioner
    from stap.commands.shared.cluster import Cluster
    from stap.commands.shared.machines import Shard
    from stap.commands.shared.spread import Captioned, Captioning
    from stap.programmes.caption_files import CaptionPlan, Progress
    from stap.programmes.documents import DocumentRules
    from stap.programmes.folders import Content, Entry, Job, Manifest
    from stap.programmes.timed import CaptionedVideo
    from stap.recipes.settings import VideoLimits

    Caption = Callable[..., Iterator[Captioned]]  # of paths, on_progress and progress

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
        self._made_by: dict[str, Any] = {}

    def run(
        self,
        paths: list[Path],
        load: Callable[[], VideoCaptioner],
        cluster: Cluster | None = None,
        work: Captioning | None = None,
    ) -> tuple[int, int]:
        """Returns how many files failed, of how many.   cluster: whose workers do the work, in place of this process."""
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
        self._made_by = {"captioner": dict(captioner.fingerprint), "plan": self.plan.to_json(), "rules": asdict(self.rules)}
        caption: Caption = partial(_caption_here, captioner, self.plan, self.limits)
        if cluster is not None and work is not None:
            caption = partial(captioned, cluster, work, manifest.path.parent / MARKS)
        with caption_progress(is_quiet=False) as on_progress:
            progress, following = Progress(len(jobs)), iter(jobs)
            while some := list(islice(following, len(jobs) if cluster else FILES_AT_A_TIME)):
                self._caption_some(some, caption, manifest, progress, on_progress, reads=cluster is None)
        counted = ", ".join(f"{number} {status}" for status, number in sorted(self.counts.items()))
        say(f"stap: {len(jobs)} videos: {counted or 'nothing to do'}. Manifest: {manifest.path}")
        return self.counts["failed"], len(jobs)

    def _caption_some(
        self,
        jobs: list[Job],
        caption: Caption,
        manifest: Manifest,
        progress: Progress,
        on_progress: Callable[[Progress], None],
        *,
        reads: bool,
    ) -> None:
        """reads: videos whose content is not known are read before they are captioned; otherwise by their workers."""
        from stap.programmes.documents import document

        wanted: dict[Path, Job] = {}
        contents: dict[Path, Content] = {}
        for job in jobs:
            if self._is_left(job, manifest, contents, reads=reads):
                wanted[job.video] = job
            else:
                progress.end(job.video, 0.0)
        if self.files.dry_run:
            return
        begun = time.perf_counter()
        for path, found, read in caption(list(wanted), on_progress=on_progress, progress=progress):
            job, content = wanted[path], read or contents.get(path)
            seconds, begun = (
                time.perf_counter() - begun if reads else 0.0,
                time.perf_counter(),
            )  # workers do several at the same time
            if isinstance(found, StapError) or content is None:
                self._fail(job, manifest, str(found), seconds)
                continue
            say_what_was_done(found, self.plan, self.format)
            text, remarks = document(found, self.format.value, self.rules, job.output.parent)
            for sentence in remarks:
                warn(sentence)
            self._write(job, manifest, text, content, seconds)

    def _key(self, content: Content) -> str:
        from stap.programmes.folders import key_of

        return key_of(content, {**self._made_by, "format": self.format.value})

    def _is_left(self, job: Job, manifest: Manifest, contents: dict[Path, Content], *, reads: bool) -> bool:
        """Whether a video is to be captioned, and was not dealt with here.   contents: its own is added, if it is known."""
        from stap.programmes.folders import Content, Entry

        try:
            content = manifest.known_content(job.video) or (Content.of(job.video) if reads else None)
        except OSError as error:
            self._fail(job, manifest, f"{job.video}: cannot be read ({error.strerror}).", 0.0)
            return False
        if content is not None:
            contents[job.video] = content
            if manifest.is_done(job, self._key(content)):
                self._note(Entry(str(job.video), "skipped", str(job.output), "done already", content=content), manifest)
                return False
        if not manifest.may_replace(job):
            reason = "is there already, and is not as `stap caption` wrote it. Move it away, or write --into another folder."
            self._fail(job, manifest, f"{job.output}: {reason}", 0.0)
            return False
        same = None if content is None else manifest.same_elsewhere(self._key(content))
        if content is not None and same is not None and not self.format.names_the_video and not self.files.dry_run:
            text = Path(same.output).read_text(encoding="utf-8")
            self._write(job, manifest, text, content, 0.0, f"the same content as {same.input}")
            return False
        if self.files.dry_run:
            self.counts["to caption"] += 1
            print(f"caption\t{printable(job.video)}\t{printable(job.output)}")
        return True

    def _write(self, job: Job, manifest: Manifest, text: str, content: Content, seconds: float, reason: str = "") -> None:
        from stap.programmes.folders import Entry

        try:
            job.output.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(job.output, text.encode("utf-8", "backslashreplace"))
            sha256 = sha256_of_file(job.output)
        except OSError as error:
            self._fail(job, manifest, f"{job.output}: cannot be written ({error.strerror}).", seconds)
            return
        self._note(
            Entry(str(job.video), "done", str(job.output), reason, round(seconds, 3), self._key(content), sha256, content),
            manifest,
        )

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


def _caption_here(
    captioner: VideoCaptioner,
    plan: CaptionPlan,
    limits: VideoLimits,
    paths: list[Path],
    on_progress: Callable[[Progress], None],
    progress: Progress,
) -> Iterator[Captioned]:
    from stap.programmes.caption_files import caption_files

    for path, found in caption_files(paths, captioner, plan, limits, on_progress, progress):
        yield path, found, None
