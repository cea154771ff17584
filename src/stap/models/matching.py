"""Sentences and videos (or frames) in one space: the sentence encoder and the ranking loss.

Used by the captioning models (L-STAP paper, section 3.4) and by pretraining (VSE++).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from stap.models.lstap import LSTAP, Pooled

__all__ = ["SentenceEncoder", "cosine_similarity", "ranking_loss"]


class SentenceEncoder(nn.Module):
    """psi(Y): the state of an LSTM after the sentence's last word.

    An ordinary LSTM is L-STAP over a grid of one location, so the recurrence, which skips padding, is shared.
    """

    def __init__(self, embedding_size: int, hidden_size: int, forget_bias: float = 0.0) -> None:
        super().__init__()
        self.lstm = LSTAP(embedding_size, hidden_size, pooling="mean", forget_bias=forget_bias)

    def forward(self, embedded: Tensor, is_padding: Tensor) -> Tensor:
        """(N, L, E) embedded words and (N, L) bool, True after the sentence's end -> (N, H)."""
        pooled: Pooled = self.lstm(embedded.unsqueeze(2), is_padding)
        return pooled.h


def cosine_similarity(videos: Tensor, sentences: Tensor) -> Tensor:
    """(B, H), (N, H) -> (B, N)."""
    return normalize(videos, dim=1) @ normalize(sentences, dim=1).T


def ranking_loss(
    similarity: Tensor, video_numbers: Tensor, sentence_numbers: Tensor, margin: float, *, hardest: bool = True
) -> Tensor:
    """How far wrong videos and sentences come near the right ones, averaged over the N sentences.

    similarity: (B, N), of videos and sentences.   video_numbers: (B,), sentence_numbers: (N,): which video each row and
    each column is of. A negative always belongs to another video, also where a video occurs twice.

    hardest: the nearest wrong video and the nearest wrong sentence count (equation (27); Faghri et al. 2018, section 2.2).
    Otherwise the mean over all wrong ones, with which training starts more easily (the sum of hinges of Kiros et al. 2014,
    divided by the number of negatives). Without any negative the loss is 0.
    """
    right = video_numbers[:, None] == sentence_numbers[None, :]  # (B, N)
    # The row of each sentence's video. With a video given twice the first row stands for it.
    row = right.to(torch.uint8).argmax(dim=0)  # (N,)
    positive = similarity[row, torch.arange(similarity.shape[1], device=similarity.device)]  # (N,)
    by_video = (margin - positive + similarity).clamp_min(0).masked_fill(right, 0)  # (B, N): sentence n, another video
    # Sentence n's video against every sentence m.
    wrong_sentence = video_numbers[row][:, None] != sentence_numbers[None, :]  # (N, N)
    by_sentence = (margin - positive[:, None] + similarity[row]).clamp_min(0).masked_fill(~wrong_sentence, 0)
    if hardest:
        return (by_video.amax(dim=0) + by_sentence.amax(dim=1)).mean()
    wrong_videos, wrong_sentences = (~right).sum(dim=0).clamp_min(1), wrong_sentence.sum(dim=1).clamp_min(1)
    return (by_video.sum(dim=0) / wrong_videos + by_sentence.sum(dim=1) / wrong_sentences).mean()
