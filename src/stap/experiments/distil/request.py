"""What is asked of `stap distil`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import torch

from stap.decoding.draw import Draws
from stap.errors import ConfigError
from stap.experiments.distil.filter import FilterSettings
from stap.recipes.settings import Recipe, VideoLimits

__all__ = ["Request"]

# The shots of a programme, as PySceneDetect and others name them: news-Scene-012, news_shot12, news.part3.
SHOT = r"(.+?)[ _.-]+(?:scene|shot|clip|part|segment)[ _.-]*\d+"


@dataclass(frozen=True)
class Request:
    """A distillation.

    videos: the folder.   teacher: as `stap.load` takes it.   recipe: of the student; its corpus and store are replaced.
    beam_width, draws: what the teacher is asked for each clip.   captions: human captions, a table or KIND:FOLDER of a corpus.
    human_weight: how often each of them counts in training.   source: a pattern whose group names the source of a clip; a clip that it
    does not match is a source of its own.   output_licence: of what the teacher says.   ablation: train a student without the filter too.
    """

    videos: Path
    teacher: str
    out: Path
    recipe: Recipe
    prompt: str | None = None
    beam_width: int = 4
    draws: Draws = field(default_factory=lambda: Draws(4))
    captions: str | None = None
    human_weight: int = 1
    source: str = SHOT
    filter: FilterSettings = field(default_factory=FilterSettings)
    output_licence: str | None = None
    ablation: bool = True
    limits: VideoLimits = field(default_factory=VideoLimits)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        try:
            groups = re.compile(self.source).groups
        except re.error as error:
            raise ConfigError(
                f"--source {self.source}: not a regular expression ({error}). Expected one with a group."
            ) from error
        if groups != 1:
            raise ConfigError(f"--source {self.source}: has {groups} groups, expected one, which names the source of a clip.")
