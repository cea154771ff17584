"""A captioner of transformers: the same to everything above it as one of our own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from stap.captioning.in_batches import BatchCaptioner
from stap.captioning.video_caption import Alternative, Provenance, VideoCaption
from stap.decoding.draw import Draws
from stap.errors import CheckpointError, FeatureError, MissingDependencyError, StapError
from stap.features.device import halved_without_memory, is_out_of_memory
from stap.files import one_line
from stap.recipes.settings import VideoLimits
from stap.teachers.answers import MOST_TOKENS, Answer, answer, quietly
from stap.teachers.model_files import ModelFiles
from stap.teachers.routes import choose_route
from stap.video import Frames, sample_frames
from stap.video.sampling import Sampling

__all__ = ["TransformersCaptioner"]

BEAM_WIDTH = 1  # a wider beam costs as many times as much
CLIPS_PER_CALL_CPU, CLIPS_PER_CALL_GPU = 4, 16


class TransformersCaptioner(BatchCaptioner):
    """A model that writes text about pictures, and its processor. bfloat16 on a GPU, float32 on a processor."""

    def __init__(
        self, files: ModelFiles, device: torch.device, limits: VideoLimits | None = None, *, prompt: str | None = None
    ) -> None:
        """Load the model.   limits: of video files.   prompt: what a model that chats is asked; None for the default question.

        Raises CheckpointError where the files are no whole model, ConfigError for a prompt to a model that takes none.
        """
        self.files, self.device, self.limits = files, device, limits or VideoLimits()
        self.dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
        self.processor, self.model = _load(files, self.dtype)
        self.model.to(device).eval()
        self.route = choose_route(files.name, self.processor, self.model.config, prompt)
        self.clips_per_call = CLIPS_PER_CALL_CPU if device.type == "cpu" else CLIPS_PER_CALL_GPU

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """The model with its weights, its question, the frames and the arithmetic."""
        return {
            "kind": "transformers",
            "model": self.files.name,
            "revision": self.files.revision,
            "weights_sha256": self.files.sha256,
            "prompt": self.route.prompt,
            "frames": self.route.sampling.count,
            "short_side": self.route.sampling.short_side,
            "most_tokens": MOST_TOKENS,
            "beam_width": BEAM_WIDTH,
            "dtype": str(self.dtype).removeprefix("torch."),
            "transformers": transformers.__version__,
        }

    @property
    def licence(self) -> str | None:
        """What the model card states."""
        return self.files.licence

    @property
    def parameters(self) -> int:
        """Of the model."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def samplings(self) -> tuple[Sampling, ...]:
        """Which frames of a clip the model sees."""
        return (self.route.sampling,)

    def _read(self, path: Path, threads: int | None = None) -> Frames:
        sampling = self.route.sampling
        assert sampling.count is not None, "every route counts its frames"
        return sample_frames(path, sampling.count, short_side=sampling.short_side, threads=threads, limits=self.limits)

    def _prepare(self, path: Path, frames: Sequence[Frames]) -> Frames:
        [only] = frames
        return only

    def _frames_seen(self, video: Frames) -> np.ndarray:
        return video.rgb_uint8

    def _describe(
        self, videos: Sequence[tuple[Path, Frames]], beam_width: int | None, draws: Draws | None
    ) -> list[VideoCaption]:
        """The captions of clips. Those with frames of one shape share a batch; of fewer clips where memory runs out."""
        groups: dict[Any, list[int]] = {}
        for number, (_, clip) in enumerate(videos):
            groups.setdefault(clip.rgb_uint8.shape, []).append(number)
        captions: dict[int, VideoCaption] = {}

        def caption(part: Tensor) -> None:
            numbers = part.tolist()
            began = time.perf_counter()
            said = self._ask([videos[number] for number in numbers], beam_width or BEAM_WIDTH, draws)
            seconds = (time.perf_counter() - began) / len(numbers)
            for number, answers in zip(numbers, said, strict=True):
                path, clip = videos[number]
                captions[number] = self._caption(path, clip, answers, seconds)

        for group in groups.values():
            for first in range(0, len(group), self.clips_per_call):
                self._with_memory(caption, torch.tensor(group[first : first + self.clips_per_call]))
        return [captions[number] for number in range(len(videos))]

    def _with_memory(self, caption: Callable[[Tensor], None], numbers: Tensor) -> None:
        try:
            halved_without_memory(caption, numbers)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise FeatureError(
                f"The memory of {self.device} does not hold {self.files.name} and one clip. Use a smaller --beam, a smaller model or another "
                "device."
            ) from error

    def _ask(self, videos: Sequence[tuple[Path, Frames]], beam_width: int, draws: Draws | None) -> list[list[Answer]]:
        """The answers about each clip, the best first or in the order of drawing."""
        inputs = {name: self._placed(tensor) for name, tensor in self.route.inputs([clip for _, clip in videos]).items()}
        rows = len(videos[0][1]) if self.route.captions_every_frame else 1  # of a clip
        names = [f"{path.name}:{row}" if row else path.name for path, _ in videos for row in range(rows)]
        said = answer(self.model, inputs, beam_width=beam_width, draws=draws, names=names)
        clips = [said[first : first + rows] for first in range(0, len(said), rows)]
        # Of the answers about single key frames the one that the model is surest of.
        return [[max(about, key=lambda one: one.score) for about in zip(*clip, strict=True)] for clip in clips]

    def _placed(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else None)

    def _caption(self, path: Path, clip: Frames, answers: Sequence[Answer], seconds: float) -> VideoCaption:
        texts = [self._text(one) for one in answers]
        if not texts[0]:
            raise StapError(
                f"{path}: {self.files.name} answered with no words. Ask otherwise (--prompt), or use another model."
            )
        warnings = list(clip.warnings)
        wanted = self.route.sampling.count or 0
        if len(clip) < wanted:
            warnings.append(f"{path}: has {len(clip)} different frames where {self.files.name} takes {wanted}; it saw those.")
        if not answers[0].is_finished:
            warnings.append(
                f"{path}: the answer of {self.files.name} did not end within {MOST_TOKENS} tokens, and is cut there."
            )
        return VideoCaption(
            path,
            texts[0],
            answers[0].score,
            tuple(texts[0].split()),
            None,
            None,
            torch.from_numpy(clip.times_seconds).float(),
            None,
            tuple(warnings),
            tuple(Alternative(text, one.score) for text, one in zip(texts[1:], answers[1:], strict=True)),
            Provenance(self.files.name, self.files.revision, self.route.prompt, round(seconds, 3)),
        )

    def _text(self, one: Answer) -> str:
        return " ".join(self.processor.tokenizer.decode(one.tokens, skip_special_tokens=True).split())


def _load(files: ModelFiles, dtype: torch.dtype) -> tuple[Any, Any]:
    """The processor and the model. Raises CheckpointError."""
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quietly():
            processor = transformers.AutoProcessor.from_pretrained(files.folder, **options)
            model, found = transformers.AutoModelForImageTextToText.from_pretrained(
                files.folder, use_safetensors=True, dtype=dtype, output_loading_info=True, **options
            )
    except ImportError as error:
        raise MissingDependencyError(f"{files.name}: needs another package: {one_line(error)}") from error
    except Exception as error:  # transformers has no family of errors
        if is_out_of_memory(error):
            raise
        raise CheckpointError(
            f"{files.name}: cannot be loaded ({type(error).__name__}: {one_line(error)[:300]}). Get the model again, or choose another one."
        ) from error
    if missing := sorted(found["missing_keys"]):
        raise CheckpointError(
            f"{files.name}: its weights lack {len(missing)} tensors of the model ({', '.join(missing[:3])} ...). Get the model again."
        )
    if getattr(processor, "tokenizer", None) is None:
        raise CheckpointError(f"{files.name}: has no tokenizer. Get the model again, or choose another one.")
    return processor, model
