"""CIDEr-D for training equals pycocoevalcap's, with the document frequencies of the references."""

from __future__ import annotations

import random

import numpy as np
import pytest

from stap.scoring.cider_d import CiderD
from stap.scoring.measures import pycocoevalcap


def coco_scores(references: list[list[str]], captions: list[str]) -> list[float]:
    scorer = pycocoevalcap("cider.cider_scorer").CiderScorer(n=4, sigma=6.0)
    for group, caption in zip(references, captions, strict=True):
        scorer.cook_append(caption, group)
    _, each = scorer.compute_score()
    return np.asarray(each).tolist()


def test_it_equals_the_coco_scorer() -> None:
    drawn = random.Random(3)
    words = ["a", "man", "dog", "runs", "sits", "on", "the", "mat", "<eos>"]

    def sentence() -> str:
        return " ".join(drawn.choices(words, k=drawn.randint(1, 12)))

    references = [[sentence() for _ in range(drawn.randint(1, 5))] for _ in range(30)]
    captions = [group[0] if number % 3 == 0 else sentence() for number, group in enumerate(references)]
    captions[1] = ""
    captions[2] = "unheard of words"
    reward = CiderD([[reference.split() for reference in group] for group in references])
    found = [reward.score(video, caption.split()) for video, caption in enumerate(captions)]
    assert found == pytest.approx(coco_scores(references, captions), abs=1e-12)
    assert max(found) > 1 > min(found) == 0


def test_a_video_without_references_scores_nothing() -> None:
    assert CiderD([[], [["a"]]]).score(0, ["a"]) == 0.0
