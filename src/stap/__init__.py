"""stap: spatio-temporal attention and pooling for video captioning.

    stap.load("runs/demo").caption("clip.mp4").caption

The names below are the public ones. Each is imported when it is first used, so that `import stap` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stap.captioning.captioner import Captioner
    from stap.captioning.protocol import SampledClip, VideoCaptioner
    from stap.captioning.video_caption import VideoCaption
    from stap.decoding.draw import Draws
    from stap.errors import (
        ArchiveError,
        CheckpointError,
        ConfigError,
        CorpusError,
        FeatureError,
        MissingDependencyError,
        ScoringError,
        ShapeError,
        StapError,
        VideoError,
    )
    from stap.features.grid import GridExtractor
    from stap.models.build import build_model
    from stap.models.caption_model import CaptionModel
    from stap.models.lstap import LSTAP
    from stap.models.stat.decoder import STATAttention
    from stap.recipes.files import load_recipe
    from stap.recipes.settings import Recipe
    from stap.recipes.streams import StreamSpec
    from stap.teachers.loading import load
    from stap.video import Frames, find_videos, sample_frames

__version__ = "0.1.0"

__all__ = [
    "LSTAP",
    "ArchiveError",
    "CaptionModel",
    "Captioner",
    "CheckpointError",
    "ConfigError",
    "CorpusError",
    "Draws",
    "FeatureError",
    "Frames",
    "GridExtractor",
    "MissingDependencyError",
    "Recipe",
    "STATAttention",
    "SampledClip",
    "ScoringError",
    "ShapeError",
    "StapError",
    "StreamSpec",
    "VideoCaption",
    "VideoCaptioner",
    "VideoError",
    "__version__",
    "build_model",
    "find_videos",
    "load",
    "load_recipe",
    "sample_frames",
]

_HOMES = {
    "stap.captioning.captioner": ("Captioner",),
    "stap.captioning.protocol": ("SampledClip", "VideoCaptioner"),
    "stap.teachers.loading": ("load",),
    "stap.decoding.draw": ("Draws",),
    "stap.captioning.video_caption": ("VideoCaption",),
    "stap.recipes.settings": ("Recipe",),
    "stap.recipes.files": ("load_recipe",),
    "stap.recipes.streams": ("StreamSpec",),
    "stap.errors": (
        "ArchiveError",
        "CheckpointError",
        "ConfigError",
        "CorpusError",
        "FeatureError",
        "MissingDependencyError",
        "ScoringError",
        "ShapeError",
        "StapError",
        "VideoError",
    ),
    "stap.features.grid": ("GridExtractor",),
    "stap.models.build": ("build_model",),
    "stap.models.caption_model": ("CaptionModel",),
    "stap.models.lstap": ("LSTAP",),
    "stap.models.stat.decoder": ("STATAttention",),
    "stap.video": ("Frames", "find_videos", "sample_frames"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """The public name, from the module where it lives (PEP 562)."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'stap' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
