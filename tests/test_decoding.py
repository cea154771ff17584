"""Greedy and beam search against an exhaustive search on a model of fixed random tables."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from stap.decoding import Hypothesis, beam_search, forbid, greedy, rank
from stap.errors import CheckpointError
from stap.models.batch import BOS, EOS, PAD, CaptionBatch, VideoBatch
from stap.models.caption_model import CaptionModel, DecoderState, Losses, Memory, Step


class Tables(CaptionModel):
    """The next word depends on the video, the last word and the step, through fixed tables of logits.

    The state counts the steps and carries the row's history as a number, so that a beam that mixes up its rows is seen.
    """

    def __init__(self, tables: Tensor) -> None:
        super().__init__()
        self.tables = tables  # (videos, V, V): logits after the last word
        self.calls: list[int] = []

    def encode(self, batch: VideoBatch) -> Memory:
        return memory_of(batch.video_numbers)

    def start(self, memory: Memory, rows_per_video: int = 1) -> DecoderState:
        start = memory.start.h.repeat_interleave(rows_per_video, dim=0)
        return DecoderState(start, torch.zeros_like(start))

    def step(self, memory: Memory, state: DecoderState, words: Tensor) -> Step:
        self.calls.append(len(words))
        rows_per_video = len(words) // memory.size
        videos = memory.states[:, 0, 0].long().repeat_interleave(rows_per_video)
        history = (state.h[:, 0] * 7 + words.double()) % 1000003
        wobble = torch.sin(history[:, None] * torch.arange(1, self.tables.shape[1] + 1))  # the whole history matters
        logits = self.tables[videos, words] + wobble
        attention = torch.stack([history, words.double(), videos.double()], dim=1)
        return Step(logits, DecoderState(history[:, None], state.c + 1), attention)

    def loss(self, batch: VideoBatch, captions: CaptionBatch) -> Losses:
        raise NotImplementedError


def memory_of(videos: Tensor, frames: int = 3) -> Memory:
    number = videos.double()[:, None]
    states = number[:, :, None].expand(-1, frames, 1)
    return Memory(states, states, torch.zeros(len(videos), frames, dtype=torch.bool), DecoderState(number, number), number)


@pytest.fixture
def model() -> Tables:
    return Tables(torch.randn(4, 7, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 1.5)


def score_of(model: CaptionModel, video: int, words: tuple[int, ...], finished: bool = True) -> float:
    """The sum of log-probabilities, one word after the other."""
    memory = memory_of(torch.tensor([video]))
    state, last, total = model.start(memory), BOS, 0.0
    for word in [*words, EOS] if finished else words:
        given = model.step(memory, state, torch.tensor([last]))
        logits = given.logits[0].tolist()
        total += logits[word] - math.log(sum(math.exp(value) for value in logits))
        state, last = given.state, word
    return total


def exhaustive(model: CaptionModel, video: int, max_words: int, vocabulary_size: int) -> list[tuple[tuple[int, ...], float]]:
    """Every caption of fewer than max_words words and its score, best first; then those that max_words cuts off."""
    ordinary = [word for word in range(vocabulary_size) if word not in (PAD, BOS, EOS)]
    ended = [
        (words, score_of(model, video, words)) for n in range(max_words) for words in itertools.product(ordinary, repeat=n)
    ]
    cut = [(words, score_of(model, video, words, finished=False)) for words in itertools.product(ordinary, repeat=max_words)]
    return sorted(ended, key=lambda item: -item[1]) + sorted(cut, key=lambda item: -item[1])


def as_pairs(hypotheses: list[Hypothesis]) -> list[tuple[tuple[int, ...], float]]:
    return [(one.words, one.score) for one in hypotheses]


def test_beam_that_never_prunes_equals_exhaustive_search(model: Tables) -> None:
    found = beam_search(model, memory_of(torch.arange(4)), width=200, max_words=3)
    for video in range(4):
        expected = exhaustive(model, video, max_words=3, vocabulary_size=7)
        assert len(found[video]) == len(expected) == 1 + 4 + 16 + 64
        assert [words for words, _ in as_pairs(found[video])] == [words for words, _ in expected]
        assert [score for _, score in as_pairs(found[video])] == pytest.approx([score for _, score in expected], abs=1e-12)
        assert [one.is_finished for one in found[video]] == [True] * 21 + [False] * 64


@pytest.mark.parametrize("no_repeat_ngram", [0, 1, 2])
def test_beam_of_width_1_equals_greedy(model: Tables, no_repeat_ngram: int) -> None:
    memory = memory_of(torch.arange(4))
    one = greedy(model, memory, max_words=9, no_repeat_ngram=no_repeat_ngram)
    beam = beam_search(model, memory, width=1, max_words=9, no_repeat_ngram=no_repeat_ngram)
    assert [len(hypotheses) for hypotheses in beam] == [1] * 4
    for expected, [found] in zip(one, beam, strict=True):
        assert (found.words, found.score, found.is_finished) == (expected.words, expected.score, expected.is_finished)
        assert torch.equal(found.attention, expected.attention)
