"""A video file -> its caption with the frames that the model saw and what it looked at, as the report and the figures draw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stap.captioner import Captioner
from stap.scoring.report import ClipReport, Grid

__all__ = ["watch"]


def watch(
    captioner: Captioner,
    path: Path,
    *,
    video_id: str | None = None,
    references: Sequence[str] = (),
    extra: Mapping[str, str] | None = None,
    beam_width: int | None = None,
) -> ClipReport:
    """Caption a video file and keep the frames and the weights.

    video_id: its name in the report; the file's, if not given.   extra: what else is worth knowing about the clip.
    Raises VideoError if no frame of the file can be had.
    """
    found = captioner.caption(path, beam_width)
    weights = found.pooling_weights
    return ClipReport(
        video_id=video_id or path.stem,
        caption_words=found.words,
        references=tuple(references),
        rgb_uint8=captioner.extractor.read(path).images_uint8.numpy(),
        times_seconds=found.times_seconds.numpy(),
        word_attention=found.attention.numpy(),
        spatial_weights=None if weights is None else weights.numpy(),
        places=None if weights is None else Grid(*captioner.extractor.grid_size),
        score=found.score,
        extra=extra or {},
    )
