"""What everything above captioning knows of a captioner: L-STAP, STAT and a captioner of the Hugging Face Hub are the same to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from stap.captioning.video_caption import VideoCaption
from stap.decoding.draw import Draws
from stap.errors import StapError
from stap.video import Frames
from stap.video.sampling import Sampling

__all__ = ["SampledClip", "VideoCaptioner"]


@dataclass(frozen=True)
class SampledClip:
    """A clip, or a shot of a longer video, that was decoded elsewhere.

    path: how its caption and errors call it.
    frames: for each of the captioner's `samplings`, in their order, the frames that it asks for. Their times count from the start of
    the clip, as if the clip were a file of its own.
    """

    path: Path
    frames: tuple[Frames, ...]


class VideoCaptioner(Protocol):
    """From a video to a sentence. The same video gets the same caption by each of the three ways, and in any batch (scores to rounding)."""

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """What its captions depend on, as JSON: the model, its weights, how words are chosen."""

    @property
    def samplings(self) -> tuple[Sampling, ...]:
        """Which frames of a clip it looks at. Raises FeatureError of a model whose features need the file itself."""

    @property
    def licence(self) -> str | None:
        """What its model card states; None where it states none."""

    @property
    def parameters(self) -> int:
        """How many numbers all its networks have."""

    def caption(self, path: str | Path, beam_width: int | None = None, *, draws: Draws | None = None) -> VideoCaption:
        """The caption of a video file. Raises VideoError if no frame of it decodes.

        beam_width: None for the captioner's own; 1 is greedy.   draws: captions drawn at random instead of a search; the first is the
        caption, the others are its alternatives.
        """

    def caption_many(
        self,
        paths: Iterable[str | Path],
        *,
        beam_width: int | None = None,
        draws: Draws | None = None,
        on_error: Callable[[Path, StapError], None] | None = None,
    ) -> Iterator[VideoCaption]:
        """The captions in order, files decoded ahead and captioned in batches; see `BatchCaptioner.caption_many`."""

    def caption_frames(
        self, clips: Sequence[SampledClip], *, beam_width: int | None = None, draws: Draws | None = None
    ) -> list[VideoCaption | StapError]:
        """The caption of each clip, or the reason why it has none; the clips share batches of the networks."""
