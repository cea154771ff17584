"""A small student of a large captioner, for one's own videos: `stap distil` (sequence-level distillation, Kim & Rush 2016)."""

from stap.experiments.distil.filter import FilterSettings
from stap.experiments.distil.request import Request
from stap.experiments.distil.run import distil

__all__ = ["FilterSettings", "Request", "distil"]
