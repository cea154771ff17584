"""From the frames of clips to what a captioner of transformers takes. Two routes: models that chat, and models of pictures alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from stap.errors import CheckpointError, ConfigError
from stap.video import Frames
from stap.video.sampling import Sampling

__all__ = ["PROMPT", "Route", "choose_route"]

PROMPT = "Describe what happens in this video in one plain sentence."
CHAT_FRAMES, CHAT_SHORT_SIDE = 8, 384
KEY_FRAMES = 3  # of a clip for a model that knows single pictures


class Route(Protocol):
    """How a model sees a clip."""

    @property
    def sampling(self) -> Sampling:
        """The frames that it takes."""

    @property
    def prompt(self) -> str | None:
        """The question; None of a model that is asked nothing."""

    @property
    def captions_every_frame(self) -> bool:
        """Whether it captions each frame by itself."""

    def inputs(self, clips: Sequence[Frames]) -> dict[str, Tensor]:
        """Tensors for `generate`, a row a clip, or a row a frame with `captions_every_frame`. The clips have equally many frames."""


def choose_route(name: str, processor: Any, config: Any, prompt: str | None) -> Route:
    """The route of a model. Raises ConfigError for a prompt to a model that does not chat, CheckpointError for one that takes no video."""
    if getattr(processor, "chat_template", None):
        if getattr(processor, "video_processor", None) is None:
            raise CheckpointError(f"{name}: chats about single pictures only. Choose a model that takes videos.")
        return ChatRoute(processor, PROMPT if prompt is None else prompt)
    if prompt is not None:
        raise ConfigError(
            f"--prompt: {name} does not chat, so it takes no question. Leave --prompt out, or choose a model that chats."
        )
    if getattr(processor, "image_processor", None) is None:
        raise CheckpointError(f"{name}: its processor takes no pictures. Choose another captioner.")
    return PictureRoute(processor.image_processor, getattr(config, "num_image_with_embedding", None))


class ChatRoute:
    """A model that chats: one video and one question. The prompt that it reads states the presentation time of each frame."""

    captions_every_frame = False

    def __init__(self, processor: Any, prompt: str) -> None:
        self.processor, self.prompt = processor, prompt
        self.sampling = Sampling(CHAT_FRAMES, CHAT_SHORT_SIDE)
        asked = [{"type": "video"}, {"type": "text", "text": prompt}]
        messages = [{"role": "user", "content": asked}]
        self.text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        self.least_frames = getattr(processor.video_processor, "temporal_patch_size", 1)
        # Without it Qwen3-VL spends its budget for a long video on a few frames.
        capped = hasattr(processor.video_processor, "cap_pixels_per_frame")
        self.options = {"cap_pixels_per_frame": True} if capped else {}

    def inputs(self, clips: Sequence[Frames]) -> dict[str, Tensor]:
        """See Route. Prompts of different lengths are padded on the left; a clip of fewer frames than a step of time has shows its last again."""
        clips = [_at_least(clip, self.least_frames) for clip in clips]
        made = self.processor(
            text=[self.text] * len(clips),
            videos=[list(clip.rgb_uint8) for clip in clips],
            video_metadata=[[metadata(clip)] for clip in clips],
            do_sample_frames=False,
            padding=True,
            padding_side="left",
            return_tensors="pt",
            **self.options,
        )
        return dict(made)


class PictureRoute:
    """A model of pictures alone: of a video if it has embeddings of time, otherwise of each key frame."""

    prompt = None

    def __init__(self, image_processor: Any, most_frames: int | None) -> None:
        self.image_processor = image_processor
        self.captions_every_frame = most_frames is None
        sides = [side for side in dict(image_processor.size).values() if side]
        self.sampling = Sampling(most_frames or KEY_FRAMES, max(sides, default=None))

    def inputs(self, clips: Sequence[Frames]) -> dict[str, Tensor]:
        """See Route: (B, T, 3, S, S), or (B * T, 3, S, S) with `captions_every_frame`."""
        pictures = [picture for clip in clips for picture in clip.rgb_uint8]
        pixels = self.image_processor(pictures, return_tensors="pt")["pixel_values"]
        return {"pixel_values": pixels if self.captions_every_frame else pixels.unflatten(0, (len(clips), -1))}


def _at_least(clip: Frames, count: int) -> Frames:
    if len(clip) >= count:
        return clip
    places = [min(place, len(clip) - 1) for place in range(count)]
    return replace(clip, rgb_uint8=clip.rgb_uint8[places], times_seconds=clip.times_seconds[places])


def metadata(clip: Frames) -> dict[str, Any]:
    """The frames' presentation times, as places in a video of 1000 frames a second."""
    milliseconds = np.round(1000 * clip.times_seconds).astype(int).tolist()
    return {
        "total_num_frames": max(len(clip), round(1000 * clip.duration_seconds)),
        "fps": 1000.0,
        "duration": clip.duration_seconds,
        "frames_indices": milliseconds,
    }
