"""Retrieval against plain loops, with ties against the model."""

import numpy as np
import pytest

from stap.scoring import retrieval as module
from stap.scoring.retrieval import Ranks, retrieval


def plain_ranks(videos: np.ndarray, sentences: np.ndarray, video_of: np.ndarray) -> tuple[list[int], list[int]]:
    def cosine(one: np.ndarray, other: np.ndarray) -> float:
        return float(one @ other / np.sqrt((one @ one) * (other @ other)))

    by_sentence, by_video = [], []
    for sentence, own in zip(sentences, video_of, strict=True):
        right = cosine(sentence, videos[own])
        wrong = [cosine(sentence, video) for number, video in enumerate(videos) if number != own]
        by_sentence.append(1 + sum(near >= right - 1e-9 for near in wrong))
    for number, video in enumerate(videos):
        right = max(cosine(video, sentence) for sentence, own in zip(sentences, video_of, strict=True) if own == number)
        wrong = [cosine(video, sentence) for sentence, own in zip(sentences, video_of, strict=True) if own != number]
        by_video.append(1 + sum(near >= right - 1e-9 for near in wrong))
    return by_sentence, by_video


@pytest.mark.parametrize("at_a_time", [3, 512])
def test_as_plain_loops(monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    monkeypatch.setattr(module, "QUERIES_AT_A_TIME", at_a_time)
    random = np.random.default_rng(1)
    videos, video_of = random.normal(size=(7, 5)), np.array([0, 0, 1, 2, 2, 2, 3, 4, 5, 6, 6])
    sentences = videos[video_of] + random.normal(size=(11, 5))
    sentences[3] = sentences[8]  # the same sentence of two videos
    found = retrieval(videos, sentences, video_of)
    by_sentence, by_video = plain_ranks(videos, sentences, video_of)
    assert found.sentence_to_video.ranks.tolist() == by_sentence
    assert found.video_to_sentence.ranks.tolist() == by_video
    assert (found.sentence_to_video.candidates, found.video_to_sentence.candidates) == (7, 11)


def test_a_perfect_space() -> None:
    found = retrieval(np.eye(20), np.eye(20)[::-1], np.arange(20)[::-1])
    assert found.to_json() == {
        name: {"R@1": 1.0, "R@5": 1.0, "R@10": 1.0, "median rank": 1.0, "queries": 20, "candidates": 20}
        for name in ("sentence_to_video", "video_to_sentence")
    }


@pytest.mark.parametrize("value", [1.0, 0.0, np.nan])
def test_what_tells_nothing_apart_finds_nothing(value: float) -> None:
    """All alike: every right answer is the last one."""
    found = retrieval(np.full((30, 4), value), np.full((60, 4), value), np.arange(60) // 2)
    assert set(found.sentence_to_video.ranks) == {30}
    assert set(found.video_to_sentence.ranks) == {59}
    assert found.sentence_to_video.scores["R@10"] == 0


def test_scores_of_ranks() -> None:
    assert Ranks(np.array([1, 5, 6, 10, 11]), 99).scores == {"R@1": 0.2, "R@5": 0.4, "R@10": 0.8, "median rank": 6.0}
