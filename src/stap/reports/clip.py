"""A clip for the report: its caption, the frames that the model saw, and the attention for each word."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stap.captioning.captions import caption_streams
from stap.captioning.model_folder import Run
from stap.decoding.steps import Hypothesis
from stap.errors import FeatureError, ShapeError
from stap.models.caption_model import Attention, attentions_of
from stap.recipes.streams import StreamSpec
from stap.reports.places import Boxes, Grid, Places
from stap.video import sample_frames

if TYPE_CHECKING:
    from stap.captioning.captioner import Captioner

__all__ = ["Arrays", "ClipReport", "clip_from_features", "clip_from_file"]

Arrays = Mapping[str, Mapping[str, Tensor]]
"""Stream -> all that is kept of it for a video: the stream itself, times_seconds, boxes, labels."""

_SHORT_SIDE = 256  # pixels, at most: of pictures for people


@dataclass(frozen=True, eq=False)
class ClipReport:
    """One clip with its caption and the model's attention. T frames, L words, R places in a frame.

    spatial_weights: what each place weighs in each frame, the same for all words (T, R), or for each word (L, T, R).
    places: what the R places are, a grid or boxes; given exactly when spatial_weights are.
    """

    video_id: str
    caption_words: tuple[str, ...]  # (L,)
    references: tuple[str, ...]
    rgb_uint8: npt.NDArray[np.uint8]  # (T, height, width, 3)
    times_seconds: npt.NDArray[np.floating[Any]]  # (T,)
    word_attention: npt.NDArray[np.floating[Any]]  # (L, T): what each frame weighs for each word
    spatial_weights: npt.NDArray[np.floating[Any]] | None = None
    places: Places | None = None
    score: float | None = None
    """Log-probability of the caption."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Whatever else is worth knowing about the clip: name -> text, such as facts and which of them the caption recalls."""

    def __post_init__(self) -> None:
        """Raise ShapeError if the parts do not fit together, ValueError for weights that are no weights."""
        T, L = len(self.rgb_uint8), len(self.caption_words)
        if self.rgb_uint8.ndim != 4 or self.rgb_uint8.shape[3] != 3 or self.rgb_uint8.dtype != np.uint8 or T == 0:
            raise ShapeError(
                f"clip {self.video_id}: rgb_uint8 must be (T, height, width, 3) of uint8 with at least one frame, "
                f"not {self.rgb_uint8.shape} of {self.rgb_uint8.dtype}."
            )
        self._check("times_seconds", self.times_seconds, (T,))
        self._check("word_attention", self.word_attention, (L, T))
        if (self.spatial_weights is None) != (self.places is None):
            raise ShapeError(
                f"clip {self.video_id}: spatial_weights and the places that they lie on belong together; one is missing."
            )
        if self.spatial_weights is not None and self.places is not None:
            R = self.places.fit(T)
            self._check("spatial_weights", self.spatial_weights, (L, T, R) if self.spatial_weights.ndim == 3 else (T, R))
        for name in ("word_attention", "spatial_weights"):
            weights = getattr(self, name)
            if weights is not None and not (np.isfinite(weights).all() and (weights >= 0).all()):
                raise ValueError(f"clip {self.video_id}: {name} must be finite and at least 0.")

    def _check(self, name: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
        if np.shape(array) != shape:
            T, L = len(self.rgb_uint8), len(self.caption_words)
            raise ShapeError(
                f"clip {self.video_id}: {name} must be {shape} for {T} frames and {L} words, not {np.shape(array)}."
            )


def clip_from_file(
    captioner: Captioner,
    path: Path,
    *,
    video_id: str | None = None,
    references: Sequence[str] = (),
    extra: Mapping[str, str] | None = None,
    beam_width: int | None = None,
) -> ClipReport:
    """Caption a video file and keep its frames and the attention; see `clip_from_features`.

    video_id: its name in the report; the file's, if not given. Raises VideoError or FeatureError where it cannot be captioned.
    """
    arrays: dict[str, Mapping[str, Tensor]] = {}
    for extractor in captioner.extractors:
        arrays[extractor.spec.stream] = extractor.extract(path).arrays
    return clip_from_features(
        captioner.run,
        arrays,
        path,
        video_id=video_id or path.stem,
        references=references,
        extra=extra,
        beam_width=beam_width,
        device=captioner.device,
    )


def clip_from_features(
    run: Run,
    arrays: Arrays,
    path: Path,
    *,
    video_id: str,
    references: Sequence[str] = (),
    extra: Mapping[str, str] | None = None,
    beam_width: int | None = None,
    device: torch.device | str = "cpu",
) -> ClipReport:
    """Caption a video from its features, and keep the frames that they were made of and the attention.

    Of L-STAP: its attention over the frames and its pooling weights. Of STAT: the attention over the places of a frame, and over
    the frames in which these are. extra: what else is worth knowing about the clip.
    Raises FeatureError if the file does not give as many frames as its features are of, VideoError if it cannot be read.
    """
    best, attention, places_weights = _attention(run, arrays, beam_width, device)
    stream, order = attention.positions.stream, attention.positions.indices[0].numpy()
    spec, kept = run.streams[stream], arrays[stream]
    rgb_uint8, times = _frames(path, spec, len(kept[stream]))
    times = kept["times_seconds"].numpy() if "times_seconds" in kept else times
    places = None if places_weights is None else _places(spec, kept, order)
    return ClipReport(
        video_id=video_id,
        caption_words=tuple(run.vocabulary.decode(best.words)),
        references=tuple(references),
        rgb_uint8=np.ascontiguousarray(rgb_uint8[order]),
        times_seconds=times[order],
        word_attention=attention.weights.numpy(),
        spatial_weights=None if places_weights is None or places is None else places_weights.numpy(),
        places=places,
        score=best.score,
        extra=extra or {},
    )


def _attention(
    run: Run, arrays: Arrays, beam_width: int | None, device: torch.device | str
) -> tuple[Hypothesis, Attention, Tensor | None]:
    """The caption, the attention to show, and the weights of the places: (L, F, R), or (F, R) where an encoder pools them, or None.

    Shown is the attention that weighs places too, where there is one; otherwise the main one.
    """
    streams = {name: found[name] for name, found in arrays.items()}
    memory, [best] = caption_streams(run.model, [streams], run.recipe.decoding, beam_width=beam_width, device=device)
    if best.words:
        words = torch.tensor([best.words], dtype=torch.int64, device=device)
        for attention in attentions_of(run.model, memory, words).values():
            if attention.places is not None:
                shown = attention.of_video(0)
                return best, shown, shown.places
    pooling = None if memory.pooling_weights is None else memory.pooling_weights[0].float().cpu()
    return best, best.attention, pooling


def _places(spec: StreamSpec, kept: Mapping[str, Tensor], order: npt.NDArray[np.int64]) -> Places | None:
    """The cells or boxes of the places; None if unknown, as for imported regions without boxes."""
    if spec.grid is not None and len(spec.grid) == 2:
        return Grid(*spec.grid)
    if "boxes" not in kept:
        return None
    names: tuple[tuple[str, ...], ...] = ()
    if "labels" in kept and spec.labels is not None:
        from stap.features.regions import category_name

        names = tuple(tuple(category_name(label, spec.labels) for label in row) for row in kept["labels"][order].tolist())
    return Boxes(kept["boxes"][order].float().numpy(), names)


def _frames(path: Path, spec: StreamSpec, count: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """The frames that features were made of, (T, height, width, 3) uint8, as the network saw them; and their times."""
    size, crop = spec.image_size or _SHORT_SIDE, spec.crop
    short_side = min(_SHORT_SIDE, math.floor(size / (crop or 1) + 1e-6))
    frames = sample_frames(path, spec.frames or count, short_side=short_side)
    if len(frames.rgb_uint8) != count:
        raise FeatureError(
            f"{path}: gives {len(frames.rgb_uint8)} frames, and its features are of {count}. "
            "They were made of another file or in another way, so its frames cannot be shown."
        )
    return frames.rgb_uint8 if crop is None else _centre(frames.rgb_uint8, round(crop * short_side)), frames.times_seconds


def _centre(rgb_uint8: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """The central square of the frames, as the grid's extractor cuts it."""
    _, height, width, _ = rgb_uint8.shape
    top, left = round((height - side) / 2), round((width - side) / 2)
    return rgb_uint8[:, top : top + side, left : left + side]
