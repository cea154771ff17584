"""Feature extractors: their contract, and the extractors of a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from stap.errors import ConfigError
from stap.recipes.settings import Recipe, VideoLimits
from stap.recipes.streams import StreamSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from stap.features.grid import PreparedVideo
    from stap.features.store import VideoFeatures
    from stap.video import Frames
    from stap.video.sampling import Sampling

__all__ = [
    "SECTIONS",
    "Extractor",
    "FrameFedExtractor",
    "PackingExtractor",
    "TwoStepExtractor",
    "build_extractor",
    "build_extractors",
    "features_of_pictures",
    "sections_to_extract",
    "specs_of",
    "weights_files",
]

# The recipe's sections of extractors, with the streams that each can make.
STREAMS: Mapping[str, frozenset[str]] = {
    "features": frozenset({"grid", "frames"}),
    "motion": frozenset({"motion"}),
    "regions": frozenset({"regions"}),
}
# The section that makes each stream.
SECTIONS = {stream: section for section, streams in STREAMS.items() for stream in streams}


class Extractor(Protocol):
    """From a video file to the arrays that are stored of it.

    Further attributes: `has_random_weights`, of one that can have weights that mean nothing yet, which are never stored; `limits`, what
    a video file may cost, set by `build_extractors`.
    """

    @property
    def spec(self) -> StreamSpec:
        """The extracted stream; its name is a key of SECTIONS. Further arrays (times_seconds, boxes ...) are kept for people."""

    @property
    def weights_file(self) -> Path | None:
        """The local weights file, to be copied into model folders; None for published weights."""

    def extract(self, path: str | Path) -> VideoFeatures:
        """Features of one video file. Raises VideoError, or FeatureError where they cannot be stored."""


@runtime_checkable
class TwoStepExtractor(Extractor, Protocol):
    """An extractor whose work on a file can begin in another thread: `extract(path)` is `finish(read(path), name=str(path))`."""

    def read(self, path: str | Path, *, threads: int | None = None) -> Any:
        """The part without the network: decoding and resizing. Raises VideoError. threads: of the decoder; None for one per core."""

    def finish(self, video: Any, *, name: str) -> VideoFeatures:
        """The rest. name: how errors call the video."""


@runtime_checkable
class FrameFedExtractor(TwoStepExtractor, Protocol):
    """An extractor that also takes frames decoded elsewhere: `prepare` of the frames of its sampling is what `read` makes of the file."""

    @property
    def sampling(self) -> Sampling:
        """Which frames it looks at."""

    def prepare(self, frames: Frames) -> Any:
        """What `finish` takes, from the frames of a clip."""


@runtime_checkable
class PackingExtractor(TwoStepExtractor, Protocol):
    """An extractor of pictures, of which several short videos may share a call of the network."""

    @property
    def shares_calls(self) -> bool:
        """Whether they do in extraction: on a GPU, which one of them leaves idle.

        On a processor they do not, so that the bits of a video's features depend on no other video.
        """

    @property
    def images_per_call(self) -> int:
        """The most pictures in a call."""

    def normalise(self, images_uint8: Tensor) -> Tensor:
        """(N, S, S, 3) uint8 of a video that was read, to (N, 3, S, S) as `__call__` wants them."""

    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) to N features."""

    def package(self, features: Tensor, video: PreparedVideo, *, name: str) -> VideoFeatures:
        """The features of a video as they are stored; `finish` does these three steps for one video."""


def features_of_pictures(extractor: PackingExtractor, videos: Sequence[PreparedVideo]) -> tuple[Tensor, ...]:
    """What the network finds in the pictures of each video, from as few calls as they fit into."""
    import torch

    images = torch.cat([video.images_uint8 for video in videos])
    return torch.split(extractor(extractor.normalise(images)), [len(video.images_uint8) for video in videos])


def build_extractors(
    recipe: Recipe, device: torch.device | str = "cpu", limits: VideoLimits | None = None
) -> tuple[Extractor, ...]:
    """The extractors of a recipe's sections `features`, `motion` and `regions`, less those whose stream is imported.

    limits: what a video file may cost; None for the recipe's. An imported grid, or imported frames, take the place of the section `features`. Raises ConfigError, CheckpointError or
    FeatureError, as their constructors do.
    """
    extractors: tuple[Any, ...] = tuple(
        build_extractor(section, getattr(recipe, section), device) for section in sections_to_extract(recipe)
    )
    for extractor in extractors:
        extractor.limits = limits or recipe.corpus.limits
    return extractors


def sections_to_extract(recipe: Recipe) -> tuple[str, ...]:
    """The recipe's sections that features are extracted by, less those whose stream is imported and `features` without a backbone."""
    imported = recipe.features.imported.keys()
    absent = {"features"} if recipe.features.backbone is None else set()
    absent |= {section for section in STREAMS if getattr(recipe, section) is None}
    return tuple(section for section, streams in STREAMS.items() if section not in absent and not imported & streams)


def build_extractor(section: str, settings: Any, device: torch.device | str = "cpu") -> Extractor:
    """The extractor of one section: 'features', 'motion' or 'regions'. Raises ConfigError, CheckpointError or FeatureError."""
    if section == "motion":
        from stap.features.motion import MotionExtractor

        return MotionExtractor(settings, device)
    if section == "regions":
        from stap.features.regions import RegionExtractor

        return RegionExtractor(settings, device)
    from stap.features.grid import GridExtractor

    return GridExtractor(settings, device)


def specs_of(extractors: Iterable[Extractor]) -> dict[str, StreamSpec]:
    """The stream of each extractor, by its name. Raises ConfigError where two make the same stream."""
    found: dict[str, StreamSpec] = {}
    for extractor in extractors:
        stream = extractor.spec.stream
        if stream in found:
            raise ConfigError(f"two extractors make the stream {stream!r}. Leave one of their sections out of the recipe.")
        found[stream] = extractor.spec
    return found


def weights_files(extractors: Iterable[Extractor]) -> dict[str, Path]:
    """The recipe's section to the weights file of its extractor, for those that have one of their own."""
    return {
        SECTIONS[extractor.spec.stream]: extractor.weights_file
        for extractor in extractors
        if extractor.weights_file is not None
    }
