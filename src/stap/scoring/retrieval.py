"""How well sentences find their videos and videos their sentences, by vectors in one space: recall at 1, 5 and 10, and the median rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Ranks", "Retrieval", "retrieval"]

DEPTHS = (1, 5, 10)
QUERIES_AT_A_TIME = 512  # rows of the matrix of cosines that is in memory
TIE = 1e-5  # cosines in float32 that are nearer than this are equal


@dataclass(frozen=True, eq=False)
class Ranks:
    """The rank of the first right answer to each query, (Q,) int from 1, among so many candidates."""

    ranks: np.ndarray
    candidates: int

    @property
    def scores(self) -> Mapping[str, float]:
        """'R@1', 'R@5', 'R@10': the part of the queries whose rank is at most that; 'median rank'."""
        recall = {f"R@{depth}": float((self.ranks <= depth).mean()) for depth in DEPTHS}
        return {**recall, "median rank": float(np.median(self.ranks))}

    def to_json(self) -> dict[str, Any]:
        """The scores, and of how many."""
        return {**self.scores, "queries": len(self.ranks), "candidates": self.candidates}


@dataclass(frozen=True)
class Retrieval:
    """Both directions. A sentence looks for its video; a video for any of its sentences."""

    sentence_to_video: Ranks
    video_to_sentence: Ranks

    def to_json(self) -> dict[str, Any]:
        """Both as JSON."""
        return {name: ranks.to_json() for name, ranks in vars(self).items()}


def retrieval(videos: np.ndarray, sentences: np.ndarray, video_of: np.ndarray) -> Retrieval:
    """Rank by cosine. A wrong answer that is as near as the right one, or NaN, stands before it.

    videos: (N, H), sentences: (M, H) float.   video_of: (M,) int, the row of each sentence's video; every video has a sentence.
    """
    videos, sentences, own = _unit(videos), _unit(sentences), np.arange(len(videos))
    return Retrieval(
        Ranks(_ranks(sentences, videos, lambda rows: video_of[rows, None] == own), len(videos)),
        Ranks(_ranks(videos, sentences, lambda rows: own[rows, None] == video_of), len(sentences)),
    )


def _ranks(queries: np.ndarray, candidates: np.ndarray, is_right: Callable[[slice], np.ndarray]) -> np.ndarray:
    """(Q,): 1 + how many wrong candidates are not clearly further away than the nearest right one."""
    ranks = []
    for first in range(0, len(queries), QUERIES_AT_A_TIME):
        rows = slice(first, first + QUERIES_AT_A_TIME)
        near, right = queries[rows] @ candidates.T, is_right(rows)
        best = np.where(right, near, -np.inf).max(axis=1, keepdims=True)
        ranks.append(1 + (~right & ~(near < best - TIE)).sum(axis=1))
    return np.concatenate(ranks)


def _unit(rows: np.ndarray) -> np.ndarray:
    """The rows in float32 at unit length; a row of 0 stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)
