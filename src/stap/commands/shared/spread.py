"""What the workers of `--cluster` do: the calls that a command makes when it works alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stap.commands.shared.caption_options import WordOptions, load_captioner
from stap.commands.shared.cluster import Cluster, File
from stap.errors import StapError, VideoError

if TYPE_CHECKING:
    from stap.features.extract import ExtractionReport
    from stap.programmes.caption_files import CaptionPlan, Progress
    from stap.programmes.folders import Content
    from stap.programmes.timed import CaptionedVideo
    from stap.recipes.settings import Recipe, VideoLimits

    Captioned = tuple[Path, CaptionedVideo | StapError, Content | None]

__all__ = ["Captioning", "Extraction", "captioned"]


@dataclass
class Extraction:
    """The features of a recipe, into its store.   workers: threads that decode."""

    settings: Recipe
    limits: VideoLimits
    device: str
    workers: int
    _extractors: Sequence[Any] = field(default=(), init=False)

    def begin(self) -> None:
        """Build the extractors."""
        from stap.features.device import choose_device
        from stap.features.extractor import build_extractors

        self._extractors = build_extractors(self.settings, choose_device(self.device), self.limits)

    def __call__(self, files: Sequence[File]) -> list[ExtractionReport]:
        """Of each stream."""
        from stap.features.extract import extract
        from stap.features.store import FeatureStore

        items = [(file.name, file.path) for file in files]
        stores = [FeatureStore(self.settings.features.store, one.spec.fingerprint) for one in self._extractors]
        return [extract(items, one, store, workers=self.workers) for one, store in zip(self._extractors, stores, strict=True)]


@dataclass
class Captioning:
    """Captions of files."""

    model: str | None
    device: str
    limits: VideoLimits
    words: WordOptions
    plan: CaptionPlan
    _captioner: Any = field(default=None, init=False)

    def begin(self) -> None:
        """Load the captioner."""
        from stap.captioning.in_batches import BatchCaptioner

        self._captioner = load_captioner(self.model, self.device, self.limits, self.words)
        if isinstance(self._captioner, BatchCaptioner):
            self._captioner.pictures = self.plan.pictures

    def __call__(self, files: Sequence[File]) -> list[Captioned]:
        """The captions of each with the content of its file, or why it has none."""
        from stap.programmes.caption_files import caption_files
        from stap.programmes.folders import Content

        contents: dict[Path, Content] = {}
        done: list[Captioned] = []
        for file in files:
            try:
                contents[file.path] = Content.of(file.path)  # first: what replaces the file meanwhile is another video
            except OSError as error:
                done.append((file.path, VideoError(f"{file.path}: cannot be read ({error.strerror})."), None))
        captions = caption_files(list(contents), self._captioner, self.plan, self.limits)
        return done + [(path, found, contents[path]) for path, found in captions]


def captioned(
    cluster: Cluster,
    work: Captioning,
    marks: Path,
    paths: Sequence[Path],
    on_progress: Callable[[Progress], None],
    progress: Progress,
) -> Iterator[Captioned]:
    """As `caption_files`, with the content of each file."""
    for files, found in cluster.run(work, [File(str(path), path) for path in paths], marks):
        for path, one, content in [(files[0].path, found, None)] if isinstance(found, StapError) else found:
            progress.shots += 0 if isinstance(one, StapError) else len(one.captions)
            progress.end(path, 0.0 if isinstance(one, StapError) else one.duration_seconds)
            on_progress(progress)
            yield path, one, content
