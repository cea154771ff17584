"""CIDEr-D of many captions of a few videos, as a reward in training: the references' weights are computed once.

The formula is that of `stap.scoring.cider` (Vedantam et al. 2015, equation 4, as the COCO caption scorer computes it), over any tokens that
can be hashed, such as numbers of words. A caption costs as much as its own n-grams have places in the references, not as much as the references
are long, as with pycocoevalcap, which weighs all references again for each caption.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

__all__ = ["CiderD"]

LONGEST = 4  # words of an n-gram
SIGMA = 6.0
Ngram = tuple[Hashable, ...]


class CiderD:
    """Scores tokenized captions against a video's references, with the document frequencies of all these references."""

    def __init__(self, references: Sequence[Sequence[Sequence[Hashable]]]) -> None:
        """references: of each video, each as its tokens. A video counts as one document."""
        counted = [[_ngrams(reference) for reference in group] for group in references]
        documents: Counter[Ngram] = Counter()
        for group in counted:
            documents.update({ngram for reference in group for ngram in reference})
        self._log_videos = math.log(max(1, len(references)))
        self._rarity = {ngram: self._log_videos - math.log(count) for ngram, count in documents.items()}
        self._videos = [self._weighed(group) for group in counted]

    def score(self, video: int, caption: Sequence[Hashable]) -> float:
        """CIDEr-D of a caption of the video with this number; about 1 where people agree well, at most 10."""
        places, norms, lengths = self._videos[video]
        if not lengths:
            return 0.0
        dots = [[0.0] * len(lengths) for _ in range(LONGEST)]
        squares = [0.0] * LONGEST
        ngrams = _ngrams(caption)
        for ngram, count in ngrams.items():
            order = len(ngram) - 1
            weight = count * self._rarity.get(ngram, self._log_videos)
            squares[order] += weight * weight
            of_order = dots[order]
            for reference, known in places.get(ngram, ()):
                of_order[reference] += min(weight, known) * known
        own, length = [math.sqrt(square) for square in squares], _length(ngrams)
        total = 0.0
        for reference, other in enumerate(lengths):
            cosines = sum(
                dots[order][reference] / (own[order] * norms[reference][order])
                for order in range(LONGEST)
                if dots[order][reference]
            )
            total += cosines * math.exp(-((length - other) ** 2) / (2 * SIGMA**2))
        return 10 * total / LONGEST / len(lengths)

    def _weighed(
        self, references: Sequence[Counter[Ngram]]
    ) -> tuple[dict[Ngram, list[tuple[int, float]]], list[list[float]], list[int]]:
        """Of a video: where each n-gram is, with its weight there; each reference's norm for each order; each reference's length."""
        places: dict[Ngram, list[tuple[int, float]]] = {}
        norms = []
        for number, reference in enumerate(references):
            squares = [0.0] * LONGEST
            for ngram, count in reference.items():
                weight = count * self._rarity[ngram]
                squares[len(ngram) - 1] += weight * weight
                if weight:
                    places.setdefault(ngram, []).append((number, weight))
            norms.append([math.sqrt(square) for square in squares])
        return places, norms, [_length(reference) for reference in references]


def _ngrams(tokens: Sequence[Hashable]) -> Counter[Ngram]:
    return Counter(
        tuple(tokens[first : first + order]) for order in range(1, LONGEST + 1) for first in range(len(tokens) - order + 1)
    )


def _length(ngrams: Counter[Ngram]) -> int:
    """What the COCO scorer takes for a caption's length: its pairs of words."""
    return sum(count for ngram, count in ngrams.items() if len(ngram) == 2)
