"""The tokenizer and the vocabulary."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, strategies

from raising import error_of
from stap.errors import CheckpointError, CorpusError
from stap.text.special_ids import BOS, EOS, PAD, UNK
from stap.text.vocabulary import SPECIAL_WORDS, Vocabulary
from stap.text.words import split_characters, tokenize
from vocabularies import vocabulary_of


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man is Playing, a guitar!", ["a", "man", "is", "playing", "a", "guitar"]),
        ("the man's dog & the dogs' man", ["the", "man's", "dog", "the", "dogs", "man"]),
        ("It’s a 'quoted' t-shirt", ["it's", "a", "quoted", "t", "shirt"]),
        ("some_snake 3.5 litres", ["some", "snake", "3", "5", "litres"]),
        ("saute\u0301ing caf\u00e9", ["saut\u00e9ing", "caf\u00e9"]),  # composed
        ("एक लड़का", ["एक", "लड़का"]),  # vowel signs stay
        ("a\u0085b\u2028c\ufeffd\td", ["a", "b", "c", "d", "d"]),  # what Java takes for line ends
        ("<unk> <eos>", ["unk", "eos"]),
        ("", []),
        (" ... '' - ' ", []),
    ],
)
def test_tokenize(caption: str, words: list[str]) -> None:
    assert tokenize(caption) == words


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man’s t-shirt, 3.5 litres", ["a", "mans", "tshirt", "35", "litres"]),
        ("a\u0085b\u2028c\ufeffd\te", ["a", "b", "cd", "e"]),  # white space stays white space
        (" ... '' - ' ", []),
    ],
)
def test_removed_characters_leave_no_gap(caption: str, words: list[str]) -> None:
    assert tokenize(caption, special_characters="remove") == words


def test_capitals_stay_where_the_recipe_wants_them() -> None:
    assert tokenize("A man's T-shirt", lowercase=False) == ["A", "man's", "T", "shirt"]


def test_chinese_characters_are_words_of_their_own() -> None:
    assert split_characters(["一个男人", "t恤", "running", "\U00020000\U0003134a"]) == [
        "一", "个", "男", "人", "t", "恤", "running", "\U00020000", "\U0003134a",
    ]  # fmt: skip


@given(strategies.text())
def test_words_of_words_are_the_same(caption: str) -> None:
    words = tokenize(caption)
    assert tokenize(" ".join(words)) == words
    assert all(word and not any(character.isspace() for character in word) for word in words)


def test_vocabulary_is_ordered_by_frequency_then_alphabet() -> None:
    vocabulary = vocabulary_of(["b a c", "b c", "d B."])
    assert vocabulary.words == ("<pad>", "<bos>", "<eos>", "<unk>", "b", "c", "a", "d")
    assert [vocabulary.words[number] for number in (PAD, BOS, EOS, UNK)] == list(SPECIAL_WORDS)
    assert len(vocabulary) == 8
    assert vocabulary_of(["b a c", "b c", "d B."], size=3).words[4:] == ("b", "c", "a")
    assert vocabulary_of(["b a c", "b c", "d B."], min_count=2).words[4:] == ("b", "c")
    assert Vocabulary.from_counts({"a": 1, "B": 2}).words[4:] == ("B", "a")


def test_captions_without_frequent_words_are_refused() -> None:
    assert error_of(CorpusError, vocabulary_of, ["a b", "c"], min_count=2) == (
        "the captions hold no word that is seen 2 times or more (3 words in all). "
        "Check the captions of the training split and text.min_count."
    )


def test_encode_cuts_long_captions_and_ends_all() -> None:
    vocabulary = vocabulary_of(["a b b"])
    assert vocabulary.words[4:] == ("b", "a")
    assert vocabulary.encode(["a", "b", "zebra"], 30) == [5, 4, UNK, EOS]
    assert vocabulary.encode(["a", "b", "zebra"], 2) == [5, 4, EOS]
    assert vocabulary.encode([], 2) == [EOS]


def test_decode_stops_at_the_end() -> None:
    vocabulary = vocabulary_of(["a b b"])
    assert vocabulary.decode([BOS, 5, 4, UNK, EOS, 4, PAD]) == ["a", "b", "<unk>"]
    assert vocabulary.decode([5, 4]) == ["a", "b"]


@given(strategies.lists(strategies.text(min_size=1), min_size=1).filter(lambda texts: any(map(tokenize, texts))))
def test_json_and_back(captions: list[str]) -> None:
    vocabulary = vocabulary_of(captions)
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary
    for caption in captions:
        assert vocabulary.decode(vocabulary.encode(tokenize(caption), 1000)) == tokenize(caption)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('["a"]', 'v.json: expected {"words": [...]} with one string per word. Copy the file again.'),
        ('{"words": ["<pad>", 3]}', 'v.json: expected {"words": [...]} with one string per word. Copy the file again.'),
        (
            '{"words": ["a", "b"]}',
            "v.json: a vocabulary must begin with <pad>, <bos>, <eos>, <unk>; this one begins with a, b.",
        ),
        (
            json.dumps({"words": [*SPECIAL_WORDS, "a", "b", "a"]}),
            "v.json: a vocabulary must hold each word once; this one repeats a.",
        ),
        (
            "{",
            "v.json: not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)). "
            "Copy the file again from where the model was trained.",
        ),
    ],
)
def test_unusable_vocabularies_are_refused(content: str, message: str) -> None:
    assert error_of(CheckpointError, Vocabulary.from_json, content, source="v.json") == message


@pytest.mark.skipif("STAP_DATA" not in os.environ, reason="STAP_DATA names no folder of real data")
def test_size_of_the_vocabulary_of_msvd() -> None:
    lines = (Path(os.environ["STAP_DATA"]) / "msvd/AllVideoDescriptions.txt").read_text(encoding="utf-8").split("\n")
    captions = [line.partition(" ")[2] for line in lines if line and not line.startswith("#")]
    vocabulary = vocabulary_of(captions)
    assert 12_000 < len(vocabulary) < 14_500  # "about 14k" (paper, section 4.1)
    assert vocabulary.words[4:7] == ("a", "is", "the")
