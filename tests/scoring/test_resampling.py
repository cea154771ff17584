"""Intervals and comparisons, against plain loops, all exchanges of a small case, and the formula for a mean."""

import itertools
import math

import numpy as np
import pytest

from raising import error_of
from stap.errors import ScoringError
from stap.scoring.metrics import Scores
from stap.scoring.resampling import compare, intervals
from stap.scoring.sums import bleu, mean


def scores(values, counts=None):
    """Scores of a mean, and of BLEU-2 if counts are given."""
    sums = {"CIDEr": mean(values)} | ({} if counts is None else {"BLEU-2": bleu(counts, 2)})
    corpus = {name: float(one.score_of(one.counts.sum(axis=0))) for name, one in sums.items()}
    per_video = {f"v{k}": dict.fromkeys(sums, value) for k, value in enumerate(values)}
    return Scores(corpus, per_video, sums)


@pytest.fixture
def values():
    return np.random.default_rng(5).gamma(2.0, size=400)


def bleu_counts(rng, videos):
    length = rng.integers(4, 9, videos)
    guessed = np.stack([length - k for k in range(4)], axis=1)
    return np.column_stack([length, rng.integers(4, 9, videos), guessed, rng.integers(0, guessed + 1)]).astype(float)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution(values):
    found = intervals(scores(values), draws=4000)["CIDEr"]
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.12 * half)


def test_every_draw_is_scored_from_the_counts_of_the_videos_drawn():
    counts = bleu_counts(np.random.default_rng(1), 7)
    found = intervals(scores(np.arange(7.0), counts), draws=300, seed=3, level=0.9)
    random = np.random.default_rng(3)
    drawn = [times for size in (250, 50) for times in random.multinomial(7, [1 / 7] * 7, size=size)]
    expected = []
    for times in drawn:
        length, closest, *rest = (sum(t * row[c] for t, row in zip(times, counts, strict=True)) for c in range(10))
        precision = math.prod((rest[4 + k] + 1e-15) / (rest[k] + 1e-9) for k in (0, 1))
        expected.append(math.sqrt(precision) * min(1.0, math.exp(1 - (closest + 1e-9) / (length + 1e-15))))
    assert (found["BLEU-2"].low, found["BLEU-2"].high) == pytest.approx(tuple(np.quantile(expected, [0.05, 0.95])), rel=1e-10)


def test_the_seed_decides(values):
    one = scores(values)
    assert intervals(one, draws=100, seed=1) == intervals(one, draws=100, seed=1) != intervals(one, draws=100, seed=2)


def test_equal_videos_have_no_range():
    found = intervals(scores([0.5] * 9), draws=50)["CIDEr"]
    assert (found.low, found.high) == pytest.approx((0.5, 0.5))


def test_the_p_value_is_that_of_all_exchanges():
    first, second = np.array([5.0, 3, 4, 6, 2, 4, 5, 1]), np.array([4.0, 3, 2, 5, 2.5, 3, 3, 0])
    found = compare(scores(first), scores(second), draws=20_000)["CIDEr"]
    observed = abs((first - second).mean())
    signs = list(itertools.product([1, -1], repeat=8))
    exact = sum(abs((np.array(sign) * (first - second)).mean()) >= observed - 1e-12 for sign in signs) / len(signs)
    assert found.p_value == pytest.approx(exact, abs=0.005)
    assert found.difference.value == pytest.approx(observed)
    assert (found.better, found.equal, found.worse) == (6, 1, 1)


def test_the_range_of_a_difference_is_that_of_the_differences(values):
    noise = np.random.default_rng(6).normal(0.02, 0.05, len(values))
    paired = compare(scores(values + noise), scores(values))["CIDEr"].difference
    half = 1.96 * noise.std() / math.sqrt(len(values))
    assert (paired.low, paired.high) == pytest.approx((noise.mean() - half, noise.mean() + half), abs=0.12 * half)
    alone = intervals(scores(values))["CIDEr"]
    assert paired.high - paired.low < (alone.high - alone.low) / 5  # what pairing is for


def test_a_system_is_as_good_as_itself(values):
    found = compare(scores(values), scores(values), draws=200)["CIDEr"]
    assert (found.p_value, found.difference.low, found.difference.high) == (1.0, 0.0, 0.0)
    assert (found.better, found.equal, found.worse) == (0, 400, 0)


def test_the_order_of_two_systems_changes_signs_only(values):
    counts = [bleu_counts(np.random.default_rng(k), 400) for k in (1, 2)]
    one, other = scores(values, counts[0]), scores(values[::-1], counts[1])
    forth, back = (compare(*pair, draws=300)["BLEU-2"] for pair in ((one, other), (other, one)))
    assert forth.difference.value == -back.difference.value
    assert (forth.better, forth.worse) == (back.worse, back.better)
    assert forth.p_value == pytest.approx(back.p_value, abs=0.1)


def test_what_cannot_be_compared():
    assert error_of(ScoringError, compare, scores([1.0, 2.0]), scores([1.0, 2.0, 3.0])) == (
        "two systems can be compared only where both were scored on the same videos with the same metrics. "
        "Score both with one Scorer."
    )


def test_one_video_has_no_interval():
    error = error_of(ScoringError, intervals, scores([1.0]))
    assert error == "a confidence interval needs at least 2 videos to resample; got 1. Score more videos."


def test_scores_from_a_file_have_no_interval():
    assert error_of(ScoringError, intervals, Scores({"CIDEr": 1.0}, {"a": {"CIDEr": 1.0}, "b": {"CIDEr": 1.0}})) == (
        "these scores do not hold what each video adds to them. Take them from Scorer.score, not from a file."
    )


@pytest.mark.parametrize(("wrong", "name"), [({"level": 1.0}, "level"), ({"draws": 0}, "draws")])
def test_settings_out_of_range(wrong, name):
    with pytest.raises(ValueError, match=f"^{name} must "):
        intervals(scores([1.0, 2.0]), **wrong)
