"""The cross-entropy of captions, over their words only: padding never reaches an output layer."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from stap.models.batch import CaptionBatch
from stap.models.caption_model import Losses

__all__ = ["caption_losses", "select_words"]


def select_words(values: Tensor, captions: CaptionBatch) -> Tensor:
    """What belongs to the W words of all captions, EOS included, caption by caption: (N, L, ...) -> (W, ...)."""
    return values[~captions.is_padding]


def caption_losses(logits: Tensor, words: Tensor, captions: int, label_smoothing: float) -> Losses:
    """Cross-entropy summed over the words of a caption and averaged over captions.

    logits: (W, V).   words: (W,) int64, the column of each right word.   captions: their number.
    parts: 'caption', the total, and, for reading only, 'word': the cross-entropy of a word.
    """
    summed = cross_entropy(logits, words, reduction="sum", label_smoothing=label_smoothing)
    caption = summed / captions
    return Losses(caption, {"caption": caption, "word": summed.detach() / len(words)})
