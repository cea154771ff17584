"""Sentences and videos (or frames) in one space: the sentence encoder and the ranking loss.

Used by the captioning models (L-STAP paper, section 3.4) and by pretraining (VSE++).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.gathering import gathered, is_shared
from stap.models.implementation import trains_with_cpu_kernels
from stap.models.lstap import LSTAP, Pooled
from stap.recipes.settings import ModelSettings

__all__ = ["Negatives", "SentenceEncoder", "caption_matching_loss", "cosine_similarity", "matching_loss", "ranking_loss"]

Negatives = Literal["hardest", "all", "violations"]
NEAR_ZERO = 1e-6


class SentenceEncoder(nn.Module):
    """psi(Y): the state of an LSTM after the sentence's last word.

    An ordinary LSTM is L-STAP over a grid of one location, so the weights are L-STAP's. In training on a processor no padding is computed
    (`packed_lstm.py`).
    """

    def __init__(self, embedding_size: int, hidden_size: int, forget_bias: float = 0.0) -> None:
        super().__init__()
        self.lstm = LSTAP(embedding_size, hidden_size, pooling="mean", forget_bias=forget_bias)

    def forward(self, embedded: Tensor, is_padding: Tensor) -> Tensor:
        """(N, L, E) embedded words and (N, L) bool, True after the sentence's end -> (N, H)."""
        if not trains_with_cpu_kernels(embedded) or torch.is_autocast_enabled("cpu"):
            pooled: Pooled = self.lstm(embedded.unsqueeze(2), is_padding)
            return pooled.h
        from stap.models.packed_lstm import last_states  # imports numba

        weights = self.lstm.input_weight, self.lstm.input_bias, self.lstm.recurrent_weight
        start, c = self.lstm.start(len(embedded))
        words = (~is_padding).sum(dim=1)
        # A sentence without words is given one, which is not looked at.
        last = last_states(embedded, words.clamp_min(1), start, c, *weights)
        return torch.where(words.unsqueeze(1) > 0, last, start)


def cosine_similarity(videos: Tensor, sentences: Tensor) -> Tensor:
    """(B, H), (N, H) -> (B, N)."""
    return normalize(videos, dim=1) @ normalize(sentences, dim=1).T


def caption_matching_loss(
    videos: Tensor, sentences: Tensor, batch: VideoBatch, captions: CaptionBatch, settings: ModelSettings
) -> Tensor:
    """Equation (27) for the captions of a batch: videos (B, H) and encoded captions (B * K, H)."""
    numbers = batch.video_numbers
    sentence_numbers = numbers.repeat_interleave(captions.captions_per_video)
    return matching_loss(videos, sentences, numbers, sentence_numbers, settings.margin, negatives=settings.negatives)


def matching_loss(
    videos: Tensor,
    sentences: Tensor,
    video_numbers: Tensor,
    sentence_numbers: Tensor,
    margin: float,
    *,
    negatives: Negatives = "hardest",
) -> Tensor:
    """`ranking_loss` of the cosines of videos (or frames) and sentences, (B, H) and (N, H) in one space.

    Where several processes train on parts of one batch, the wrong videos and sentences come from all parts, and the loss is that
    of the sentences here.
    """
    if not is_shared():
        return ranking_loss(cosine_similarity(videos, sentences), video_numbers, sentence_numbers, margin, negatives=negatives)
    (videos, _), (sentences, here) = gathered(videos), gathered(sentences)
    (video_numbers, _), (sentence_numbers, _) = gathered(video_numbers), gathered(sentence_numbers)
    similarity = cosine_similarity(videos, sentences)
    return ranking_loss(similarity, video_numbers, sentence_numbers, margin, negatives=negatives, counted=here)


def ranking_loss(
    similarity: Tensor,
    video_numbers: Tensor,
    sentence_numbers: Tensor,
    margin: float,
    *,
    negatives: Negatives = "hardest",
    counted: slice = slice(None),
) -> Tensor:
    """The ranking loss: a wrong video or sentence should be less similar than the right one by the margin.

    similarity: (B, N), of videos (or frames) and sentences.   video_numbers: (B,), sentence_numbers: (N,): which video each row and
    each column is of. Every sentence has a row of its video; where it has several, as with several frames of a video, its loss is
    the mean over these. A negative always belongs to another video. The loss is averaged over the N sentences.

    negatives: which hinges over wrong videos count, and likewise over wrong sentences.
    'hardest': the largest (equation (27); VSE++: Faghri et al. 2018, "Emphasis on hard negatives").
    'all': the mean, with which training starts more easily (the sum of Kiros et al. 2014, divided by the number of negatives).
    'violations': the root of the sum of squares, between the two: the mean hardly feels the last few violations, the hardest one alone.
    Without any negative the loss is 0.
    counted: of which sentences the mean is taken; the others are only negatives.
    """
    right = video_numbers[:, None] == sentence_numbers[None, :]  # (B, N)
    is_counted = torch.zeros_like(sentence_numbers, dtype=torch.bool)
    is_counted[counted] = True
    row, column = (right & is_counted).nonzero(as_tuple=True)  # (P,): every pair of a row and a counted sentence of its video
    positive = similarity[row, column]  # (P,)
    too_near = margin - positive[:, None]
    by_video = (too_near + similarity.T[column]).clamp_min(0).masked_fill(right.T[column], 0)  # (P, B)
    by_sentence = (too_near + similarity[row]).clamp_min(0).masked_fill(right[row], 0)  # (P, N)
    each = _counted(by_video, ~right.T[column], negatives) + _counted(by_sentence, ~right[row], negatives)  # (P,)
    return (each / right.sum(dim=0)[column]).sum() / is_counted.sum()


def _counted(hinges: Tensor, is_negative: Tensor, negatives: Negatives) -> Tensor:
    """(P, M), 0 where it is no negative -> (P,)."""
    if negatives == "hardest":
        return hinges.amax(dim=1)
    if negatives == "all":
        return hinges.sum(dim=1) / is_negative.sum(dim=1).clamp_min(1)
    # The gradient of a root grows without bound near 0.
    return (hinges.square().sum(dim=1) + NEAR_ZERO).sqrt() - math.sqrt(NEAR_ZERO)
