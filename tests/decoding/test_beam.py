"""Greedy and beam search against an exhaustive search on a model of fixed random tables."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from stap.decoding.beam import beam_search, best_captions, rank
from stap.decoding.greedy import greedy
from stap.decoding.steps import Hypothesis, forbid
from stap.errors import CheckpointError
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.caption_model import Attention, CaptionModel, DecoderState, Losses, Memory, Positions, Step
from stap.recipes.settings import DecodingSettings
from stap.text.special_ids import BOS, EOS, PAD, UNK


class Tables(CaptionModel):
    """The next word depends on the video, the last word and the step, through fixed tables of logits.

    The state counts the steps and carries the row's history as a number, so that a beam that mixes up its rows is seen.
    """

    def __init__(self, tables: Tensor, wobble: float = 1.0) -> None:
        super().__init__()
        self.tables = tables  # (videos, V, V): logits after the last word
        self.wobble = wobble  # how much the words before it matter
        self.calls: list[int] = []

    def encode(self, batch: VideoBatch) -> Memory:
        return memory_of(batch.video_numbers)

    def start(self, memory: Memory, rows_per_video: int = 1) -> DecoderState:
        start = memory.start.h.repeat_interleave(rows_per_video, dim=0)
        return DecoderState(start, torch.zeros_like(start))

    def step(self, memory: Memory, state: DecoderState, words: Tensor) -> Step:
        self.calls.append(len(words))
        rows_per_video = len(words) // memory.size
        videos = memory.embedding[:, 0].long().repeat_interleave(rows_per_video)
        history = (state.h[:, 0] * 7 + words.double()) % 1000003
        wobble = torch.sin(history[:, None] * torch.arange(1, self.tables.shape[1] + 1))
        logits = self.tables[videos, words] + self.wobble * wobble
        attention = torch.stack([history, words.double(), videos.double()], dim=1)
        attentions = {"frames": Attention(memory.positions, attention)}
        return Step(logits, DecoderState(history[:, None], state.c + 1), attentions, main="frames")

    def loss(self, batch: VideoBatch, captions: CaptionBatch) -> Losses:
        raise NotImplementedError


def memory_of(videos: Tensor, frames: int = 3) -> Memory:
    number = videos.double()[:, None]
    return Memory(
        Positions.all_of("grid", torch.zeros(len(videos), frames, dtype=torch.bool)), DecoderState(number, number), number
    )


@pytest.fixture
def model() -> Tables:
    return Tables(torch.randn(4, 7, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 1.5)


def plain_beam(
    model: CaptionModel, video: int, width: int, max_words: int, alpha: float = 0.0, ngram: int = 0
) -> list[tuple[tuple[int, ...], float]]:
    """Beam search as its manual describes it, one video, in lists, without stopping early."""
    memory = memory_of(torch.tensor([video]))
    live = [((), 0.0, model.start(memory))]
    finished: list[tuple[float, int, tuple[int, ...], float]] = []
    for length in range(1, max_words + 1):
        continued = []
        for row, (words, score, state) in enumerate(live):
            given = model.step(memory, state, torch.tensor([words[-1] if words else BOS]))
            for word, gain in enumerate(given.logits.log_softmax(1)[0].tolist()):
                seen = {words[i : i + ngram] for i in range(len(words) - ngram + 1)} if ngram else set()
                if word not in (PAD, BOS) and (word == EOS or (*words, word)[-ngram:] not in seen):
                    continued.append((-(score + gain), row, word, given.state))
        continued.sort(key=lambda item: item[:3])
        for negative, row, word, _ in continued[:width]:
            if word == EOS:
                finished.append((negative / length**alpha, len(finished), live[row][0], -negative))
        going_on = [item for item in continued if item[2] != EOS][:width]
        live = [((*live[row][0], word), -negative, state) for negative, row, word, state in going_on]
    ranked = [(words, score) for _, _, words, score in sorted(finished)]
    return (ranked + sorted([(words, score) for words, score, _ in live], key=lambda item: -item[1]))[:width]


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
        assert torch.equal(found.attention.weights, expected.attention.weights)


@pytest.mark.parametrize("width", [1, 2, 3, 5])
@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.5])
@pytest.mark.parametrize("ngram", [0, 2])
def test_beam_equals_a_plain_beam_of_lists(model: Tables, width: int, alpha: float, ngram: int) -> None:
    memory = memory_of(torch.arange(4))
    found = beam_search(model, memory, width=width, max_words=6, length_normalisation=alpha, no_repeat_ngram=ngram)
    for video in range(4):
        expected = plain_beam(model, video, width, 6, alpha, ngram)
        assert [one.words for one in found[video]] == [words for words, _ in expected]
        assert [one.score for one in found[video]] == pytest.approx([score for _, score in expected], abs=1e-12)


def plain_shrinking_beam(model: CaptionModel, video: int, width: int, max_words: int) -> list[tuple[tuple[int, ...], float]]:
    """One video, in lists, step by step: of all continuations of the live captions the best (width - finished) stay."""
    memory = memory_of(torch.tensor([video]))
    live: list[tuple[tuple[int, ...], float, DecoderState]] = [((), 0.0, model.start(memory))]
    finished: list[tuple[tuple[int, ...], float]] = []
    for _ in range(max_words):
        continued = []
        for words, cost, state in live:
            given = model.step(memory, state, torch.tensor([words[-1] if words else BOS]))
            logits = given.logits[0].tolist()
            total = math.log(sum(math.exp(value) for value in logits))
            continued += [(cost + total - logits[w], words, w, given.state) for w in range(len(logits)) if w not in (PAD, BOS)]
        best = sorted(continued, key=lambda item: item[0])[: width - len(finished)]
        finished += [(words, cost) for cost, words, word, _ in best if word == EOS]
        live = [((*words, word), cost, state) for cost, words, word, state in best if word != EOS]
        if len(finished) == width or not live:
            break
    everything = finished + [(words, cost) for words, cost, _ in live]
    return [(words, -cost) for words, cost in sorted(everything, key=lambda item: item[1])]


@pytest.mark.parametrize(("width", "max_words"), [(1, 6), (2, 6), (3, 2), (5, 8), (7, 4)])
def test_shrinking_beam_equals_a_plain_loop(model: Tables, width: int, max_words: int) -> None:
    found = beam_search(model, memory_of(torch.arange(4)), width=width, max_words=max_words, shrinking=True)
    for video in range(4):
        expected = plain_shrinking_beam(model, video, width, max_words)
        assert [one.words for one in found[video]] == [words for words, _ in expected]
        assert [one.score for one in found[video]] == pytest.approx([score for _, score in expected], abs=1e-12)


def test_shrinking_beam_of_width_one_is_greedy(model: Tables) -> None:
    memory = memory_of(torch.arange(4))
    found = beam_search(model, memory, width=1, max_words=6, shrinking=True)
    assert [as_pairs(video) for video in found] == [as_pairs([one]) for one in greedy(model, memory, max_words=6)]


def test_a_shrinking_beam_misses_captions_that_a_beam_finds() -> None:
    tables = 2 * torch.randn(20, 7, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    tables[:, :, EOS] = 1.0
    model, memory = Tables(tables), memory_of(torch.arange(20))
    full = beam_search(model, memory, width=3, max_words=8)
    shrinking = beam_search(model, memory, width=3, max_words=8, shrinking=True)
    finished = [theirs[0].is_finished for theirs in shrinking]
    gains = [ours[0].score - theirs[0].score for ours, theirs in zip(full, shrinking, strict=True)]
    assert all(gain >= 0 for gain, is_finished in zip(gains, finished, strict=True) if is_finished)
    assert any(gain > 0.1 for gain, is_finished in zip(gains, finished, strict=True) if is_finished)


def test_a_caption_cut_off_is_ranked_among_finished_ones_by_the_shrinking_beam() -> None:
    tables = torch.zeros(1, 7, 7, dtype=torch.float64)
    tables[:, :, EOS] = -2.0
    tables[:, :, 5] = 9.0
    memory = memory_of(torch.tensor([0]))
    model = Tables(tables, wobble=0.0)
    [found] = beam_search(model, memory, width=200, max_words=3, shrinking=True)
    assert (found[0].words, found[0].is_finished) == ((5, 5, 5), False)
    assert found[1].score > found[-1].score
    assert beam_search(model, memory, width=200, max_words=3)[0][0].is_finished


def test_a_recipe_s_settings_choose_the_search(model: Tables) -> None:
    memory = memory_of(torch.arange(4))
    searched = {
        DecodingSettings(beam_width=1, max_words=6): [[one] for one in greedy(model, memory, max_words=6)],
        DecodingSettings(beam_width=3, max_words=6, length_normalisation=0.7, no_repeat_ngram=2): beam_search(
            model, memory, width=3, max_words=6, length_normalisation=0.7, no_repeat_ngram=2
        ),
        DecodingSettings(beam_width=4, max_words=3, shrinking_beam=True): beam_search(
            model, memory, width=4, max_words=3, shrinking=True
        ),
    }
    for settings, expected in searched.items():
        assert as_pairs(best_captions(model, memory, settings)) == [as_pairs(video)[0] for video in expected]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [7, 40])
def test_ties_go_to_the_lower_row_and_the_lower_word(size: int, seed: int) -> None:
    tables = torch.randint(0, 2, (1, size, size), generator=torch.Generator().manual_seed(seed)).double()
    model = Tables(tables, wobble=0.0)
    [found] = beam_search(model, memory_of(torch.tensor([0])), width=4, max_words=4)
    assert [one.words for one in found] == [words for words, _ in plain_beam(model, 0, 4, 4)]


def test_all_words_equally_probable() -> None:
    model = Tables(torch.zeros(1, 7, 7, dtype=torch.float64), wobble=0.0)
    memory = memory_of(torch.tensor([0]))
    assert [one.words for one in greedy(model, memory, max_words=3)] == [()]  # EOS has the lowest id of all that may come
    # UNK (3) and 4 follow in the first step; then row 0 (UNK) ends before row 1 does.
    assert [one.words for one in beam_search(model, memory, width=3, max_words=3)[0]] == [(), (3,), (3, 3)]


def test_batch_equals_its_videos_one_by_one(model: Tables) -> None:
    order = torch.tensor([2, 0, 3, 3, 1])
    together = beam_search(model, memory_of(order), width=3, max_words=8)
    for video, hypotheses in zip(order, together, strict=True):
        [alone] = beam_search(model, memory_of(video[None]), width=3, max_words=8)
        assert as_pairs(hypotheses) == as_pairs(alone)
        assert all(torch.equal(a.attention.weights, b.attention.weights) for a, b in zip(hypotheses, alone, strict=True))
    for video, one in zip(order, greedy(model, memory_of(order)), strict=True):
        assert as_pairs([one]) == as_pairs(greedy(model, memory_of(video[None])))


def test_each_word_has_its_own_attention_over_frames_that_are_there(model: Tables) -> None:
    memory = memory_of(torch.arange(4))
    padding = torch.zeros(4, 3, dtype=torch.bool)
    padding[1, 2] = True
    found = beam_search(model, replace(memory, positions=Positions.all_of("grid", padding)), width=3, max_words=6)
    assert any(len(one.words) > 2 for one in found[1])
    for video, hypotheses in enumerate(found):
        for one in hypotheses:
            last_words = [BOS, *one.words][: len(one.words)]  # what the step of each word was given
            history = [float(video)]
            for word in last_words:
                history.append((history[-1] * 7 + word) % 1000003)
            expected = torch.tensor(
                [*zip(history[1:], last_words, [video] * len(last_words), strict=True)], dtype=torch.float64
            )
            assert torch.equal(one.attention.weights, expected.view(-1, 3)[:, : 2 if video == 1 else 3])
            assert one.attention.positions.indices.tolist() == [[0, 1] if video == 1 else [0, 1, 2]]


def test_scores_are_log_probabilities_of_the_caption_and_its_end(model: Tables) -> None:
    for video, one in enumerate(greedy(model, memory_of(torch.arange(4)), max_words=5)):
        assert one.score == pytest.approx(score_of(model, video, one.words, one.is_finished), abs=1e-12)


def test_stops_when_nothing_can_enter_the_list_any_more() -> None:
    tables = torch.full((1, 7, 7), -10.0, dtype=torch.float64)
    tables[:, :, EOS] = 10.0
    model = Tables(tables, wobble=0.0)
    beam_search(model, memory_of(torch.tensor([0])), width=1, max_words=30)
    greedy(model, memory_of(torch.tensor([0])), max_words=30)
    assert model.calls == [1, 1]
    beam_search(model, memory_of(torch.tensor([0])), width=3, max_words=30)
    assert model.calls == [1, 1, 1, 3]  # EOS alone; then the three that begin with another word end


def test_finished_videos_and_hopeless_rows_are_not_computed() -> None:
    tables = torch.full((8, 9, 9), -9.0, dtype=torch.float64)
    tables[:, :, EOS] = 9.0
    tables[5, :, EOS] = -30.0  # only this video goes on
    tables[5, :, 6] = 9.0
    model = Tables(tables, wobble=0.0)
    together = beam_search(model, memory_of(torch.arange(8)), width=2, max_words=4)
    assert model.calls == [8, 16, 2, 2]
    assert [one.words for one in together[5]] == [words for words, _ in plain_beam(model, 5, 2, 4)]


def test_a_caption_that_max_words_cuts_off_is_kept_unfinished() -> None:
    tables = torch.zeros(1, 7, 7, dtype=torch.float64)
    tables[:, :, EOS] = -50.0
    tables[:, :, 5] = 1.0
    [one] = greedy(Tables(tables, wobble=0.0), memory_of(torch.tensor([0])), max_words=4)
    assert (one.words, one.is_finished) == ((5, 5, 5, 5), False)
    assert one.attention.weights.shape == (4, 3)


def test_no_ngram_comes_twice() -> None:
    tables = torch.zeros(1, 7, 7, dtype=torch.float64)
    tables[:, :, EOS] = -50.0
    tables[:, :, 5] = 1.0
    model, memory = Tables(tables, wobble=0.0), memory_of(torch.tensor([0]))
    assert greedy(model, memory, max_words=6, no_repeat_ngram=1)[0].words == (5, 3, 4, 6)  # then only EOS is left
    assert greedy(model, memory, max_words=6, no_repeat_ngram=2)[0].words == (5, 5, 3, 5, 4, 5)
    assert greedy(model, memory, max_words=6, no_repeat_ngram=3)[0].words == (5, 5, 5, 3, 5, 5)


@pytest.mark.parametrize("width", [1, 3])
def test_the_unknown_word_may_be_forbidden(width: int) -> None:
    tables = torch.zeros(1, 7, 7, dtype=torch.float64)
    tables[:, :, UNK], tables[:, :, 5], tables[:, :, EOS] = 9.0, 1.0, -50.0
    model, memory = Tables(tables, wobble=0.0), memory_of(torch.tensor([0]))
    settings = DecodingSettings(beam_width=width, max_words=3)
    assert best_captions(model, memory, settings)[0].words == (UNK, UNK, UNK)
    [best] = best_captions(model, memory, settings.model_copy(update={"forbid_unknown": True}))
    assert best.words == (5, 5, 5)
    assert best.score == pytest.approx(3 * float(tables[0, 0].log_softmax(0)[5]))  # the others are not renormalised


def test_forbid_leaves_other_probabilities_alone() -> None:
    before = torch.randn(2, 7, dtype=torch.float64)
    after = before.clone()
    forbid(after, torch.tensor([[4, 5, 4], [4, 4, 5]]), no_repeat_ngram=2)
    forbidden = torch.zeros(2, 7, dtype=torch.bool)
    forbidden[:, [PAD, BOS]] = True
    forbidden[0, 5] = True  # 4 5 was there
    assert torch.equal(after.isneginf(), forbidden)
    assert torch.equal(after[~forbidden], before[~forbidden])


def test_rank_puts_unfinished_captions_last_and_divides_by_length() -> None:
    nothing = Attention(Positions.all_of("grid", torch.zeros(1, 3, dtype=torch.bool)), torch.zeros(0, 3))
    short, long = Hypothesis((4,), -2.0, nothing), Hypothesis((4, 5, 6), -3.0, nothing)
    cut, equal = Hypothesis((4,) * 9, -0.1, nothing, is_finished=False), Hypothesis((5,), -2.0, nothing)
    assert rank([cut, long, short, equal]) == [short, equal, long, cut]
    assert rank([cut, long, short, equal], length_normalisation=1.0) == [long, short, equal, cut]  # -3/4 before -2/2
    assert rank([long, short, cut], unfinished_last=False) == [cut, short, long]


def test_probabilities_that_are_not_numbers_are_refused(model: Tables) -> None:
    model.tables[0, BOS, 4] = float("nan")
    message = (
        "the model gave a word probability that is not a number. Its weights are damaged or its training diverged: "
        "copy the model folder again, or train with a lower learning rate."
    )
    for decode in (greedy, beam_search):
        with pytest.raises(CheckpointError) as caught:
            decode(model, memory_of(torch.arange(4)), max_words=3)
        assert str(caught.value) == message


def test_half_precision_models_are_scored_in_float32(model: Tables) -> None:
    half = Tables(model.tables.bfloat16(), wobble=0.0)
    memory = memory_of(torch.arange(4))
    [[one, *_], *_] = beam_search(
        half, replace(memory, start=DecoderState(memory.start.h.bfloat16(), memory.start.c.bfloat16())), width=2, max_words=4
    )
    expected = score_of(Tables(half.tables.double(), wobble=0.0), 0, one.words, one.is_finished)
    assert one.score == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("setting", [{"width": 0}, {"max_words": 0}])
def test_settings_below_one_are_refused(model: Tables, setting: dict[str, int]) -> None:
    [name] = setting
    with pytest.raises(ValueError, match=f"^{name} is 0, expected 1 or more.$"):
        beam_search(model, memory_of(torch.arange(4)), **setting)
