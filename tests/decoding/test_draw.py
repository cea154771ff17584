"""Captions drawn at random: by the model's probabilities, the same for the same seed and name, whatever shares the batch."""

from __future__ import annotations

import pytest
import torch

from raising import error_of
from stap.decoding.draw import Draws, draw
from stap.decoding.greedy import greedy
from stap.text.special_ids import BOS, EOS, PAD, UNK

from .test_beam import Tables, memory_of

V = 7


def tables(videos: int) -> Tables:
    torch.manual_seed(3)
    return Tables(torch.randn(videos, V, V, dtype=torch.float64))


def test_each_word_is_drawn_by_its_probability() -> None:
    """The first words of 4,000 captions against the softmax over the words that are allowed."""
    model, draws = tables(1), Draws(4000, temperature=0.8, seed=1)
    [found] = draw(model, memory_of(torch.tensor([0])), draws, ["a"], max_words=1, forbid_unknown=True)
    logits = model.step(memory_of(torch.tensor([0])), model.start(memory_of(torch.tensor([0]))), torch.tensor([BOS])).logits[0]
    logits[[PAD, BOS, UNK]] = -torch.inf
    expected = (logits / 0.8).softmax(0)
    first = torch.tensor([one.words[0] if one.words else EOS for one in found])
    counted = torch.bincount(first, minlength=V) / 4000
    assert float((counted - expected).abs().max()) < 4 * 0.5 / 4000**0.5
    assert counted[[PAD, BOS, UNK]].tolist() == [0, 0, 0]


def test_scores_are_the_model_s_own_log_probabilities() -> None:
    model = tables(2)
    memory = memory_of(torch.tensor([0, 1]))
    for video, found in enumerate(draw(model, memory, Draws(5, temperature=2.0), ["a", "b"], max_words=4)):
        alone = memory_of(torch.tensor([video]))
        for one in found:
            state, total, last = model.start(alone), 0.0, BOS
            for word in [*one.words, *([EOS] if one.is_finished else [])]:
                said = model.step(alone, state, torch.tensor([last]))
                said.logits[:, [PAD, BOS]] = -torch.inf
                # `forbid` leaves the probabilities of the others as they are
                free = model.step(alone, state, torch.tensor([last])).logits.log_softmax(1)
                total, state, last = total + float(free[0, word]), said.state, word
            assert one.score == pytest.approx(total, abs=1e-9)


def test_seed_and_name_decide_and_neither_batch_nor_count() -> None:
    model = tables(3)
    names = ["a", "b", "c"]
    together = draw(model, memory_of(torch.arange(3)), Draws(4, seed=9), names, max_words=6)
    for video, name in enumerate(names):
        [alone] = draw(model, memory_of(torch.tensor([video])), Draws(2, seed=9), [name], max_words=6)
        assert [one.words for one in alone] == [one.words for one in together[video][:2]]
    [other] = draw(model, memory_of(torch.tensor([0])), Draws(4, seed=8), ["a"], max_words=6)
    assert [one.words for one in other] != [one.words for one in together[0]]
    assert len({one.words for one in together[0]}) > 1


def test_no_temperature_is_greedy() -> None:
    model, memory = tables(2), memory_of(torch.arange(2))
    cold = draw(model, memory, Draws(1, temperature=1e-6), ["a", "b"], max_words=6)
    assert [found[0].words for found in cold] == [one.words for one in greedy(model, memory, max_words=6)]


def test_what_cannot_be_drawn() -> None:
    assert error_of(ValueError, Draws, 0) == "count is 0, expected 1 or more."
    assert error_of(ValueError, Draws, 1, 0.0) == "temperature is 0.0, expected more than 0."
