"""A generated corpus of real video files, with captions and facts, for learning, demonstration and diagnosis."""

from stap.scenes.dials import SceneDials
from stap.scenes.facts import facts_recalled
from stap.scenes.generate import write_scenes

__all__ = ["SceneDials", "facts_recalled", "write_scenes"]
