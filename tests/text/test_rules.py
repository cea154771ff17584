"""The text section of a recipe at work."""

from pathlib import Path

import pytest

from stap.corpora.corpus import Clip
from stap.corpora.loading import load_annotations
from stap.errors import CorpusError
from stap.recipes.settings import CorpusSettings, TextSettings
from stap.text.rules import TextRules
from stap.text.vocabulary import SPECIAL_WORDS, Vocabulary


def rules(**settings) -> TextRules:
    return TextRules(TextSettings(**settings))


def vocabulary(of: TextRules, clips) -> Vocabulary:
    return of.vocabulary(of.tokenized(clips))


CAPTIONS = ["A Man's t-shirt.", "...", "一个 Man"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, [["a", "man's", "t", "shirt"], [], ["一个", "man"]]),
        ({"special_characters": "remove"}, [["a", "mans", "tshirt"], [], ["一个", "man"]]),
        ({"lowercase": False}, [["A", "Man's", "t", "shirt"], [], ["一个", "Man"]]),
        ({"tokenizer": "characters"}, [["a", "man's", "t", "shirt"], [], ["一", "个", "man"]]),
        ({"tokenizer": "ptb"}, [["a", "man", "'s", "t-shirt"], [], ["一个", "man"]]),  # as the scorers see it
    ],
)
def test_words(settings, words):
    assert rules(**settings).words(CAPTIONS) == words


def test_ptb_words_are_those_of_the_usual_scorers_tokenizer():
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    captions = ["The man isn't 3.5 feet tall (or is he?)", 'A dog; a U.S. cat -- "playing"...', "someone can't do it's"]
    expected = PTBTokenizer().tokenize({number: [{"caption": caption}] for number, caption in enumerate(captions)})
    assert rules(tokenizer="ptb").words(captions) == [expected[number][0].split() for number in range(3)]


@pytest.mark.parametrize(
    ("too_long", "words"),
    [("cut", [[["a", "b"], ["c"]], [["d", "e"]]]), ("drop", [[["a", "b"], ["c"]], []])],
)
def test_captions_that_are_too_long_are_cut_or_dropped(too_long, words):
    rules_ = rules(max_words=2, too_long=too_long)
    path = Path("clip.mp4")
    given = [Clip("1", path, "train", ("a b", "!", "c")), Clip("2", path, "train", ("d e f", "..."))]
    tokenized = rules_.tokenized(given)
    assert [one.clip for one in tokenized] == given
    assert [list(one.training_words) for one in tokenized] == words
    assert [list(one.words) for one in tokenized] == [[["a", "b"], [], ["c"]], [["d", "e", "f"], []]]
    assert [rules_.is_too_long(line) for line in (["a", "b"], ["a", "b", "c"])] == [False, True]


def clips():
    path = Path("clip.mp4")
    return [
        Clip("1", path, "train", ("a b b", "a a")),
        Clip("2", path, "validation", ("c",)),
        Clip("3", path, "test", ("c d c",)),
    ]


def test_the_vocabulary_comes_from_training_captions_unless_a_recipe_wants_all():
    assert vocabulary(rules(), clips()).words[4:] == ("a", "b")
    assert vocabulary(rules(vocabulary_from="all"), clips()).words[4:] == ("a", "c", "b", "d")
    assert vocabulary(rules(vocabulary_from="all", vocabulary_size=3), clips()).words[4:] == ("a", "c", "b")
    assert vocabulary(rules(min_count=3), clips()).words[4:] == ("a",)


def test_words_after_the_cut_are_in_the_vocabulary():
    assert vocabulary(rules(max_words=1, too_long="drop"), clips()).words[4:] == ("a", "b")


def test_a_corpus_without_training_words_is_refused():
    with pytest.raises(CorpusError, match="the captions hold no word that is seen 1 times or more"):
        vocabulary(rules(), clips()[1:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "train", "every_split"),
    [
        ({}, 9_593, 12_747),
        ({"special_characters": "remove"}, 9_717, 12_979),
        ({"tokenizer": "ptb"}, 9_728, 12_990),
        ({"lowercase": False}, 11_829, 15_884),
    ],
)
def test_the_vocabulary_of_msvd_is_as_the_manual_says(stap_data, settings, train, every_split):
    msvd = load_annotations(CorpusSettings(kind="msvd", root=stap_data / "msvd")).clips
    sizes = [len(vocabulary(rules(vocabulary_from=part, **settings), msvd)) - len(SPECIAL_WORDS) for part in ("train", "all")]
    assert sizes == [train, every_split]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "train", "every_split"),
    [({"special_characters": "remove"}, 23_302, 28_786), ({"tokenizer": "ptb"}, 23_463, 29_019)],
)
def test_the_vocabulary_of_msrvtt_is_as_the_manual_says(stap_data, settings, train, every_split):
    msrvtt = load_annotations(CorpusSettings(kind="msrvtt", root=stap_data / "msrvtt")).clips
    one = rules(vocabulary_from="all", **settings)
    every, trained = vocabulary(one, msrvtt), vocabulary(one, [clip for clip in msrvtt if clip.split == "train"])
    assert [len(trained) - len(SPECIAL_WORDS), len(every) - len(SPECIAL_WORDS)] == [train, every_split]


@pytest.mark.parametrize(
    ("kind", "at_spaces", "stripped", "repeated"),
    [("msvd", (13_084, 17_581), (9_934, 13_300), 9_697), ("msrvtt", (23_666, 29_322), (23_666, 29_321), 14_632)],
)
@pytest.mark.slow
def test_what_the_manual_compares_with(stap_data, kind, at_spaces, stripped, repeated):
    clips = load_annotations(CorpusSettings(kind=kind, root=stap_data / kind)).clips
    for expected, off in ((at_spaces, ""), (stripped, ".,!?\"'")):
        words = {split: set() for split in ("train", "validation", "test")}
        for clip in clips:
            words[clip.split].update(
                word.strip(off) if off else word for line in clip.captions for word in line.lower().split()
            )
        assert (len(words["train"]), len(set.union(*words.values()))) == expected
    assert sum(len(clip.captions) - len(set(clip.captions)) for clip in clips) == repeated
