"""Every error that stap raises on purpose.

    StapError
    ├── VideoError              a file that gives no usable frames
    ├── CorpusError             captions, splits or videos that do not fit together
    ├── ConfigError             a recipe or a setting
    ├── FeatureError            features that are missing, damaged or do not match
    ├── CheckpointError         a model folder or a weights file
    ├── ScoringError            predictions and references that do not fit together, or a scorer that failed
    ├── ArchiveError            an archive that cannot be used, or a query to it
    ├── MissingDependencyError  a package or program that is not installed
    └── ShapeError              a tensor of the wrong shape; also a ValueError

A message has three parts: what was given, what was expected, what to do next. A caller may show it as it is.
"""

__all__ = [
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
]


class StapError(Exception):
    """The root: catching it catches everything that stap raises on purpose."""


class VideoError(StapError):
    """A file that gives no usable frames."""


class CorpusError(StapError):
    """Captions, splits or videos that do not fit together."""


class ConfigError(StapError):
    """A recipe or a setting that cannot be used."""


class FeatureError(StapError):
    """Features that are missing, damaged or have another fingerprint than the model expects."""


class CheckpointError(StapError):
    """A model folder or a weights file that cannot be used."""


class ScoringError(StapError):
    """Predictions and references that do not fit together, or a scorer that failed."""


class ArchiveError(StapError):
    """An archive that cannot be used, or a query to it that cannot be answered."""


class MissingDependencyError(StapError):
    """A package or a program that is needed and not installed."""


class ShapeError(StapError, ValueError):
    """A tensor whose shape does not fit the others."""
