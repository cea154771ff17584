"""The settings of the generated corpus: the share of each difficulty, and the size of the videos."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from stap.errors import CorpusError

__all__ = ["SceneDials"]


@dataclass(frozen=True)
class SceneDials:
    """Settings of a generated corpus. The defaults are a balanced mixture.

    pixels: side of the square videos.
    seconds: mean length of a video; each is up to a tenth shorter or longer.
    frame_rate: frames per second.
    two_object_share: part of the scenes in which two objects meet (collide, follow, pass behind, orbit).
    sequence_share: part of the scenes in which one object does two things, one after the other.
    small_share: part of the described objects that are small; the others are medium or large, as often.
    brief_share: part of the scenes whose event takes only about a quarter of the time (objects that appear for a
        moment are always brief).
    max_distractors: small extra objects that no caption mentions, 0 to this many a scene (one fewer in a scene of two objects).
    noise: standard deviation of the camera noise, in grey levels of 255, new in every frame.
    texture: standard deviation of the background's texture, in grey levels of 255.
    """

    pixels: int = 96
    seconds: float = 3.5
    frame_rate: int = 12
    two_object_share: float = 0.28
    sequence_share: float = 0.30
    small_share: float = 1 / 3
    brief_share: float = 0.25
    max_distractors: int = 2
    noise: float = 6.0
    texture: float = 18.0

    def __post_init__(self) -> None:
        problems = [f"{name} is {value}, expected {wanted}" for name, value, wanted in self._wrong()]
        if problems:
            raise CorpusError(f"These scenes cannot be made: {'; '.join(problems)}. Change the dials.")

    def _wrong(self) -> list[tuple[str, float, str]]:
        wrong: list[tuple[str, float, str]] = []
        if self.pixels < 48 or self.pixels % 2:
            wrong.append(("pixels", self.pixels, "an even number of at least 48"))
        if self.seconds * self.frame_rate < 10 or self.frame_rate < 1:
            wrong.append(("seconds x frame_rate", self.seconds * self.frame_rate, "at least 10 frames"))
        for name in ("two_object_share", "sequence_share", "small_share", "brief_share"):
            if not 0 <= getattr(self, name) <= 1:
                wrong.append((name, getattr(self, name), "0 to 1"))
        if self.two_object_share + self.sequence_share > 1:
            both = self.two_object_share + self.sequence_share
            wrong.append(("two_object_share + sequence_share", both, "at most 1"))
        if self.max_distractors < 0:
            wrong.append(("max_distractors", self.max_distractors, "0 or more"))
        for name in ("noise", "texture"):
            if not 0 <= getattr(self, name) <= 40:
                wrong.append((name, getattr(self, name), "0 to 40"))
        return wrong

    def to_dict(self) -> dict[str, Any]:
        """The dials as JSON keeps them."""
        return asdict(self)
