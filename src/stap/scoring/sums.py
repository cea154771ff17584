"""Corpus scores as functions of sums over videos, for resampling.

A mean is the sum of its values over their number. BLEU and METEOR are no means: they add up counts of all captions first and
compute one score from the sums, so resampling adds up the counts of the videos drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Sums", "bleu", "mean", "meteor"]

Floats = NDArray[np.float64]

# METEOR 1.5 for English, ranking task (Denkowski & Lavie 2014, table 1), which is what pycocoevalcap's options choose: weights of
# exact, stem, synonym and paraphrase matches.
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])


@dataclass(frozen=True)
class Sums:
    """What each video adds, and the score of any such sum."""

    counts: Floats  # (N, S), a row per video
    score_of: Callable[[Floats], Floats]  # (..., S) sums -> (...) scores


def mean(values: Sequence[float]) -> Sums:
    """The mean of one value a video."""
    counts = np.column_stack([np.asarray(values, dtype=np.float64), np.ones(len(values))])
    return Sums(counts, lambda sums: sums[..., 0] / sums[..., 1])


def bleu(counts: Floats, n: int) -> Sums:
    """BLEU-n (Papineni et al. 2002, section 2.3) as the COCO scorer smooths it, by 1e-15 and 1e-9.

    counts: (N, 10), a row per video: its length, the closest reference length, n-grams of four orders, and those that match.
    """

    def score(sums: Floats) -> Floats:
        length, closest, guessed, correct = sums[..., 0], sums[..., 1], sums[..., 2:6], sums[..., 6:10]
        precision = (correct[..., :n] + 1e-15) / (guessed[..., :n] + 1e-9)
        ratio = (length + 1e-15) / (closest + 1e-9)
        brevity = np.exp(np.minimum(0.0, 1 - 1 / ratio))
        return np.asarray(precision.prod(axis=-1) ** (1 / n) * brevity)

    return Sums(counts, score)


def meteor(counts: Floats) -> Sums:
    """METEOR 1.5 from the statistics that its process writes (Denkowski & Lavie 2014, section 2).

    counts: (N, 23), a row per video: words of caption and reference; function words of both; for each of four kinds of match,
    matched content words of both and matched function words of both; chunks; matched words of both.

    A caption that matches its reference whole, in one chunk, has no penalty: its chunk counts nowhere, as in METEOR's own sums.
    """
    whole = (counts[:, 21:23] == counts[:, 0:2]).all(axis=1) & (counts[:, 20] == 1)
    counts = counts.copy()
    counts[whole, 20] = 0
    return Sums(counts, _meteor_score)


def _meteor_score(sums: Floats) -> Floats:
    length, function_words, matched = sums[..., 0:2], sums[..., 2:4], sums[..., 21:23]  # of the caption, of the reference
    matches = sums[..., 4:20].reshape(
        *sums.shape[:-1], 4, 2, 2
    )  # (..., kind of match, content or function, caption or reference)
    content, function = np.moveaxis(matches, -2, 0)  # (..., 4, 2) each
    weighted = np.einsum("...kc,k->...c", _DELTA * content + (1 - _DELTA) * function, _WEIGHTS)
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = weighted / (_DELTA * (length - function_words) + (1 - _DELTA) * function_words)
        f_mean = 1 / ((1 - _ALPHA) / fraction[..., 0] + _ALPHA / fraction[..., 1])
        fragments = sums[..., 20] / (matched.sum(axis=-1) / 2)
        score = f_mean * (1 - _GAMMA * fragments**_BETA)
    return np.asarray(np.maximum(0.0, np.nan_to_num(score, nan=0.0)))
