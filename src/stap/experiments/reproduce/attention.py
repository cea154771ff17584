"""The effective number of frames and of places that attention covers (perplexity)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from stap.captioning.batches import pad_words, read_videos
from stap.captioning.captions import ClipCaption, id_batches
from stap.corpora.corpus import Clip
from stap.features.streams import FeatureStreams
from stap.models.caption_model import CaptionModel, attentions_of
from stap.text.special_ids import EOS

__all__ = ["effective_number", "effective_numbers"]


def effective_number(weights: Tensor) -> Tensor:
    """exp of the entropy of the last axis (perplexity), (..., N) -> (...): N if all weights are equal, 1 if one is all.

    Weights of 0 (padding) add nothing; a row of zeros gives 1.
    """
    entropy: Tensor = torch.special.entr(weights.double()).sum(dim=-1)
    return entropy.exp()


@torch.inference_mode()
def effective_numbers(
    model: CaptionModel,
    store: FeatureStreams,
    clips: Sequence[Clip],
    captions: Mapping[str, ClipCaption],
    device: torch.device | str = "cpu",
) -> dict[str, float | None]:
    """The mean effective number of frames and of places of a frame, over the words of these captions.

    'frames': over all words. 'places': STAT's models: over all words, the end included, and frames; L-STAP, whose encoder pools:
    over all frames. None for models that do not choose among places, and where no caption has a word.
    """
    frames = [effective_number(captions[clip.id].hypothesis.attention.weights) for clip in clips]
    places = [number for ids in id_batches(clips) for number in _of_places(model, store, ids, captions, device)]
    return {"frames": _mean(frames), "places": _mean(places)}


def _of_places(
    model: CaptionModel,
    store: FeatureStreams,
    ids: Sequence[str],
    captions: Mapping[str, ClipCaption],
    device: torch.device | str,
) -> Iterator[Tensor]:
    """The effective numbers of each clip, flat; none where the model does not choose."""
    memory = model.encode(read_videos(store.read, ids).to(device))
    said = [[*captions[video_id].hypothesis.words, EOS] for video_id in ids]
    attentions = attentions_of(model, memory, pad_words(said).to(device)).values()
    over_places = [attention for attention in attentions if attention.places is not None]
    for b, own in enumerate(said):
        for attention in over_places:
            places = attention.of_video(b).places
            assert places is not None
            yield effective_number(places[: len(own)]).flatten()  # (L, F, R)
        if memory.pooling_weights is not None and not over_places:
            yield effective_number(memory.pooling_weights[b, ~memory.positions.is_padding[b]])


def _mean(parts: Sequence[Tensor]) -> float | None:
    together = torch.cat([torch.empty(0), *parts])
    return float(together.mean()) if len(together) else None
