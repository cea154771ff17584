"""Timed captions: what was said of each shot of a video, and the rules that join them or leave some out."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stap.captioning.video_caption import VideoCaption
    from stap.programmes.shots import Shot
    from stap.video import Frames

__all__ = ["CaptionedVideo", "TimedCaption", "marked", "merged", "one_line_of", "timed_caption", "without_uncertain"]


@dataclass(frozen=True)
class TimedCaption:
    """A sentence about a part of a video, from `start_seconds` to `end_seconds` by the clock of a player.

    score: log-probability of the caption and its end.   confidence: the geometric mean of its words' probabilities, 0 to 1.
    words: each word with the time of the frame that it attends to most, None without attention.
    frame_seconds: of the frames that were seen.   alternatives: further captions and their scores, the best first.   picture: the frame
    that all words together attend to most, as JPEG; empty where none was kept.   answer: the captioner's own, where the plan keeps it.
    """

    start_seconds: float
    end_seconds: float
    text: str
    score: float = 0.0
    confidence: float = 1.0
    words: tuple[tuple[str, float | None], ...] = ()
    frame_seconds: tuple[float, ...] = ()
    alternatives: tuple[tuple[str, float], ...] = ()
    picture: bytes = field(default=b"", repr=False)
    answer: VideoCaption | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """For JSON, with times to a microsecond."""
        return {
            "start_seconds": round(self.start_seconds, 6),
            "end_seconds": round(self.end_seconds, 6),
            "caption": self.text,
            "score": round(self.score, 4),
            "confidence": round(self.confidence, 4),
            "words": [{"word": word, "attends_seconds": None if at is None else round(at, 6)} for word, at in self.words],
            "frame_seconds": [round(at, 6) for at in self.frame_seconds],
            "alternatives": [{"caption": text, "score": round(score, 4)} for text, score in self.alternatives],
            **self.embedding_json(),
        }

    def embedding_json(self) -> dict[str, list[float]]:
        """The vector in the joint space, to six digits, where the captioner's answer was kept and has one."""
        if self.answer is None or self.answer.embedding is None:
            return {}
        return {"embedding": [float(f"{value:.6g}") for value in self.answer.embedding.tolist()]}

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> TimedCaption:
        """What `to_json` made."""
        return TimedCaption(
            found["start_seconds"],
            found["end_seconds"],
            found["caption"],
            found["score"],
            found["confidence"],
            tuple((word["word"], word["attends_seconds"]) for word in found["words"]),
            tuple(found["frame_seconds"]),
            tuple((other["caption"], other["score"]) for other in found["alternatives"]),
        )


@dataclass(frozen=True)
class CaptionedVideo:
    """A video and its timed captions, in order.

    path: or the address of a live source.   made_by: the captioner and the rules, as JSON.   whole: the caption, of a video that was
    captioned as one clip.   not_placed: captions of an audio description for which there was no pause.
    """

    path: Path | str
    duration_seconds: float
    captions: tuple[TimedCaption, ...]
    made_by: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    whole: VideoCaption | None = None
    not_placed: tuple[TimedCaption, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The object of `stap caption --format json`; of a video that was captioned as one clip that of its caption."""
        if self.whole is not None and self.captions:
            [only] = self.captions
            made = {} if only.answer is None else {"made_by": dict(self.made_by), **only.embedding_json()}
            return {**self.whole.to_json(), "caption": only.text, **made}
        return {
            "path": str(self.path),
            "duration_seconds": round(self.duration_seconds, 6),
            "made_by": dict(self.made_by),
            "shots": [caption.to_json() for caption in self.captions],
            **({"not_placed": [caption.to_json() for caption in self.not_placed]} if self.not_placed else {}),
            "warnings": list(self.warnings),
        }


def timed_caption(shot: Shot, caption: VideoCaption, frames: Frames | None = None) -> TimedCaption:
    """The caption of a shot, with times in the whole video.   frames: that were seen, to keep a picture."""
    from stap.captioning.video_caption import key_frame

    seen = tuple(shot.start_seconds + at for at in caption.times_seconds.tolist())
    attended: Sequence[float | None] = [None] * len(caption.words)
    if caption.attention is not None:
        attended = [seen[int(weights.argmax())] for weights in caption.attention]
    tokens = len(caption.words) + 1 if caption.provenance is None else 1  # a captioner of the Hub gives the mean already
    return TimedCaption(
        shot.start_seconds,
        shot.end_seconds,
        caption.caption,
        caption.score,
        math.exp(min(0.0, caption.score) / tokens),
        tuple(zip(caption.words, attended, strict=True)),
        seen,
        tuple((one.caption, one.score) for one in caption.alternatives),
        caption.picture if frames is None else key_frame(caption, frames.rgb_uint8),
    )


def merged(captions: Iterable[TimedCaption]) -> list[TimedCaption]:
    """Neighbours that say the same as one caption: the surest of them, for all their time."""
    joined: list[TimedCaption] = []
    for caption in captions:
        if joined and joined[-1].text == caption.text:
            sure = max(joined[-1], caption, key=lambda one: one.confidence)
            joined[-1] = replace(
                sure,
                start_seconds=joined[-1].start_seconds,
                end_seconds=caption.end_seconds,
                frame_seconds=joined[-1].frame_seconds + caption.frame_seconds,
            )
        else:
            joined.append(caption)
    return joined


def marked(captions: Iterable[TimedCaption], least: float) -> list[TimedCaption]:
    """Captions of a confidence below `least` with a question mark in brackets before them."""
    return [caption if caption.confidence >= least else replace(caption, text=f"(?) {caption.text}") for caption in captions]


def without_uncertain(captions: Iterable[TimedCaption], least: float) -> list[TimedCaption]:
    """The captions whose confidence is at least `least`."""
    return [caption for caption in captions if caption.confidence >= least]


def one_line_of(text: str) -> str:
    """The text in a line, without characters that no subtitle may hold: control characters, line ends, halves of characters."""
    kept = "".join(" " if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") else char for char in text)
    return " ".join(kept.replace("\ufffe", " ").replace("\uffff", " ").split())
