"""The caption said most often."""

from raising import error_of
from stap.errors import ScoringError
from stap.scoring.baselines import most_frequent_caption


def test_case_and_spaces_do_not_part_captions():
    assert most_frequent_caption(["a dog", "A man  runs", "a man runs ", "a dog", "a MAN runs"]) == "a man runs"


def test_ties_go_to_the_first_in_the_alphabet():
    assert most_frequent_caption(["b", "c", "a"]) == most_frequent_caption(["a", "b", "c"]) == "a"


def test_no_captions():
    assert (
        error_of(ScoringError, most_frequent_caption, [])
        == "there is no caption to choose from. Give the captions of the training split."
    )
