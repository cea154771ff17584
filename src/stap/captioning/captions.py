"""Captions from features: of the clips in a store, or of one video."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from stap.captioning.batches import read_ahead, read_videos
from stap.decoding.beam import best_captions, ranked_captions
from stap.decoding.draw import Draws, draw
from stap.decoding.steps import Hypothesis
from stap.errors import CheckpointError
from stap.features.device import empty_cache, is_out_of_memory
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.caption_model import CaptionModel, Memory
from stap.recipes.settings import DecodingSettings, TextSettings
from stap.text.rules import TextRules
from stap.text.special_ids import EOS, PAD, UNK
from stap.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from stap.corpora.corpus import Clip
    from stap.features.streams import FeatureStreams

__all__ = ["ClipCaption", "caption_clips", "caption_streams", "draw_streams", "embed_sentences", "id_batches"]

CLIPS_PER_BATCH = 64
SENTENCES_PER_BATCH = 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipCaption:
    """The caption of a clip: text, words, and the decoder's hypothesis with score and attention.

    embedding: (H,) float32, the clip in the model's joint space; None of a model without one.
    """

    caption: str
    words: tuple[str, ...]
    hypothesis: Hypothesis
    embedding: Tensor | None = None


def id_batches(clips: Sequence[Clip]) -> list[list[str]]:
    """The ids of the clips in batches for the encoder."""
    ids = [clip.id for clip in clips]
    return [ids[first : first + CLIPS_PER_BATCH] for first in range(0, len(ids), CLIPS_PER_BATCH)]


@torch.inference_mode()
def caption_clips(
    model: CaptionModel,
    vocabulary: Vocabulary,
    store: FeatureStreams,
    clips: Sequence[Clip],
    decoding: DecodingSettings,
    device: torch.device | str = "cpu",
) -> dict[str, ClipCaption]:
    """The best caption of each clip, by clip id. A beam width of 1 is greedy.

    The model runs in eval mode and returns to its mode afterwards. If memory runs out, fewer clips are captioned at a time.
    Raises FeatureError if features are missing or damaged, CheckpointError that names the clip with NaN word probabilities.
    """
    was_training = model.training
    model.eval()
    captions = {}
    try:
        for part, batch in read_ahead(lambda part: (part, read_videos(store.read, part)), id_batches(clips)):
            found = _best_captions(model, store, part, batch, decoding, device)
            for video_id, (hypothesis, embedding) in zip(part, found, strict=True):
                words = tuple(vocabulary.decode(hypothesis.words))
                captions[video_id] = ClipCaption(" ".join(words), words, hypothesis, embedding)
    finally:
        model.train(was_training)
    return captions


def _best_captions(
    model: CaptionModel,
    store: FeatureStreams,
    ids: Sequence[str],
    batch: VideoBatch,
    decoding: DecodingSettings,
    device: torch.device | str,
) -> list[tuple[Hypothesis, Tensor | None]]:
    """The best caption and the embedding of each clip; of fewer at a time where memory runs out, and to find the one that gives no numbers."""
    try:
        memory = model.encode(batch.to(device))
        embeddings = memory.embedding.float().cpu() if model.has_joint_space else [None] * memory.size
        return list(zip(best_captions(model, memory, decoding), embeddings, strict=True))
    except CheckpointError as error:
        if len(ids) == 1:
            raise CheckpointError(f"{ids[0]}: {error}") from error
    except (RuntimeError, MemoryError) as error:
        if len(ids) == 1 or not is_out_of_memory(error):
            raise
        log.warning(
            "memory ran out: captioning %d clips at a time instead of %d, with the same result", -(-len(ids) // 2), len(ids)
        )
    empty_cache()
    halves = ids[: -(-len(ids) // 2)], ids[-(-len(ids) // 2) :]
    return [
        one for half in halves for one in _best_captions(model, store, half, read_videos(store.read, half), decoding, device)
    ]


@torch.inference_mode()
def caption_streams(
    model: CaptionModel,
    videos: Sequence[Mapping[str, Tensor]],
    decoding: DecodingSettings,
    *,
    beam_width: int | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Memory, list[Hypothesis]]:
    """The model's memory of some videos, each given as its streams, and the best caption of each. The model should be in eval mode.

    beam_width: replaces the one of the settings.
    """
    memory, found = ranked_streams(model, videos, decoding, beam_width=beam_width, device=device)
    return memory, [best for best, *_ in found]


@torch.inference_mode()
def ranked_streams(
    model: CaptionModel,
    videos: Sequence[Mapping[str, Tensor]],
    decoding: DecodingSettings,
    *,
    beam_width: int | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Memory, list[list[Hypothesis]]]:
    """The same with all captions that the search of each video ends with, the best first."""
    if beam_width is not None:
        decoding = decoding.model_copy(update={"beam_width": beam_width})
    memory = _encode(model, videos, device)
    return memory, ranked_captions(model, memory, decoding)


@torch.inference_mode()
def draw_streams(
    model: CaptionModel,
    videos: Sequence[Mapping[str, Tensor]],
    decoding: DecodingSettings,
    draws: Draws,
    names: Sequence[str],
    *,
    device: torch.device | str = "cpu",
) -> tuple[Memory, list[list[Hypothesis]]]:
    """The same with captions drawn at random; see `stap.decoding.draw.draw`. The beam of the settings plays no part."""
    memory = _encode(model, videos, device)
    limits: dict[str, Any] = {name: getattr(decoding, name) for name in ("max_words", "no_repeat_ngram", "forbid_unknown")}
    return memory, draw(model, memory, draws, names, **limits)


@torch.inference_mode()
def embed_sentences(
    model: CaptionModel,
    vocabulary: Vocabulary,
    text: TextSettings,
    sentences: Sequence[str],
    device: torch.device | str = "cpu",
) -> Tensor:
    """(N, H) float32 on the CPU: sentences in the model's joint space; 0 where none of the words is known.

    Raises CheckpointError for a model that was trained without the matching loss. The model should be in eval mode.
    """
    if not model.has_joint_space:
        raise CheckpointError(
            "this model was trained without the matching loss (model.matching_weight), so it cannot compare sentences with videos."
        )
    ids = [torch.tensor(vocabulary.encode(words, text.max_words)) for words in TextRules(text).words(sentences)]
    embedded = []
    for first in range(0, len(ids), SENTENCES_PER_BATCH):
        words = pad_sequence(ids[first : first + SENTENCES_PER_BATCH], batch_first=True, padding_value=PAD)
        is_known = ((words != UNK) & (words != EOS) & (words != PAD)).any(dim=1, keepdim=True)
        embedded.append(model.sentences(CaptionBatch(words.to(device))).float().cpu() * is_known)
    return torch.cat(embedded)


def _encode(model: CaptionModel, videos: Sequence[Mapping[str, Tensor]], device: torch.device | str) -> Memory:
    batch = read_videos(lambda number: dict(videos[int(number)]), [str(number) for number in range(len(videos))])
    return model.encode(batch.to(device))
