"""What captions are like, people against people, and where systems differ: counted by hand."""

import pytest

from raising import error_of
from stap.errors import ScoringError
from stap.scoring.diagnosis import human_captions, largest_differences, score_humans, variety
from stap.scoring.metrics import Scorer, Scores

CAPTIONS = ["a man runs", "a dog", "a man runs", "", "a man is a man"]


def test_variety_counted_by_hand():
    found = variety(CAPTIONS, most=2)
    assert (found.captions, found.without_words, found.shortest, found.longest, found.mean_words) == (5, 1, 0, 5, 13 / 5)
    assert (found.distinct_captions, found.distinct_words) == (4, 5)
    assert found.distinct_1 == 5 / 13
    assert found.distinct_2 == 5 / 9  # a man, man runs, a dog, man is, is a
    assert found.most_frequent == (("a man runs", 2), ("", 1))
    assert (found.novel, found.vocabulary, found.vocabulary_used) == (None, None, None)


def test_sentences_that_break_off():
    found = variety(["a man is in the", "a man with", "the man", "", "a dog and a", "on a mat"])
    assert found.bad_endings == 3


def test_variety_beside_the_training_captions():
    found = variety(CAPTIONS, ["a man runs", "a cat", "the dog"])
    assert (found.novel, found.vocabulary, found.vocabulary_used) == (3, 6, 4)  # a, man, runs, dog of these and cat, the


def test_no_captions():
    assert error_of(ScoringError, variety, []) == "there is no caption to count in. Give at least one."
    assert variety([""]).distinct_2 == 0.0


def test_one_person_is_drawn_and_the_others_stay():
    references = {"a": ["x", "y", "x"], "b": ["only one"], "c": ["p", "q"]}
    drawn, rest = human_captions(references, seed=4)
    assert drawn.keys() == rest.keys() == {"a", "c"}
    assert all(sorted([drawn[video], *rest[video]]) == sorted(references[video]) for video in drawn)
    assert human_captions(references, seed=4) == (drawn, rest)
    assert {human_captions(references, seed)[0]["c"] for seed in range(20)} == {"p", "q"}


def test_people_cannot_be_compared_alone():
    assert error_of(ScoringError, human_captions, {"a": ["x"]}) == (
        "no video has two references, so people cannot be scored against each other. Leave that row out."
    )


def test_people_who_agree_score_full_marks():
    references = {"a": ["a man runs fast"] * 3, "b": ["two dogs are playing"] * 2}
    with Scorer(references, ["rouge", "bleu"]) as scorer:
        found = score_humans(scorer)
    assert found.corpus == pytest.approx(dict.fromkeys(["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L"], 1.0))


def test_where_systems_differ_most():
    def scores(**values):
        return Scores({"CIDEr": 0.0}, {video: {"CIDEr": value} for video, value in values.items()})

    first, second = scores(a=1.0, b=0.5, c=0.0, d=2.0), scores(a=0.0, b=0.5, c=0.7, d=0.5)
    found = largest_differences(first, second, most=1)
    assert [(one.video_id, one.first, one.second) for one in found] == [("d", 2.0, 0.5), ("c", 0.0, 0.7)]
    assert [one.video_id for one in largest_differences(first, second)] == ["d", "a", "c"]
    error = error_of(ScoringError, largest_differences, first, second, "METEOR")
    assert error == "there is no score 'METEOR' of both systems; there are CIDEr. Choose one of these."
