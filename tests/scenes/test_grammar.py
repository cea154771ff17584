import re
from collections import Counter

import pytest

from stap.scenes.dials import SceneDials
from stap.scenes.grammar import references
from stap.scenes.lexicon import COLOUR_WORDS, SHAPE_WORDS, inflect
from stap.scenes.plan import Scene, SceneEvent, SceneObject, plan_scenes


@pytest.fixture(scope="module")
def scenes():
    return plan_scenes(1000, 2, SceneDials())


@pytest.fixture(scope="module")
def sentences(scenes):
    return [reference.sentence for scene in scenes for reference in references(scene)]


@pytest.mark.parametrize(
    ("phrase", "third", "gerund"),
    [
        ("move~ left", "moves left", "moving left"),
        ("go~ around in circles", "goes around in circles", "going around in circles"),
        ("crash~ into", "crashes into", "crashing into"),
        ("spin~", "spins", "spinning"),
        ("get~ bigger", "gets bigger", "getting bigger"),
        ("zigzag~", "zigzags", "zigzagging"),
        ("collide~ with", "collides with", "colliding with"),
        ("appear~ and disappear~", "appears and disappears", "appearing and disappearing"),
        ("quickly rise~", "quickly rises", "quickly rising"),
    ],
)
def test_verbs_are_inflected(phrase, third, gerund):
    assert inflect(phrase, "third") == third
    assert inflect(phrase, "gerund") == gerund
    assert inflect(phrase, "base") == phrase.replace("~", "")


def test_five_different_references_the_same_each_time(scenes):
    for scene in scenes[:200]:
        found = references(scene)
        assert len({reference.sentence for reference in found}) == 5
        assert found == references(scene)


def test_sentences_are_plain_lowercase_words(sentences):
    for sentence in sentences:
        assert re.fullmatch(r"[a-z]+(,? [a-z]+)*", sentence), sentence


def test_a_goes_before_consonants_and_an_before_vowels(sentences):
    assert any(" an orange " in f" {sentence} " for sentence in sentences)
    for sentence in sentences:
        assert not re.search(r"\ba [aeiou]", sentence), sentence
        assert not re.search(r"\ban [^aeiou]", sentence), sentence


def test_the_vocabulary_is_limited_but_real(sentences):
    words = Counter(word for sentence in sentences for word in sentence.replace(",", "").split())
    assert 120 <= len(words) <= 170
    assert {word for words in COLOUR_WORDS.values() for word in words} <= set(words)
    assert {word.split()[0] for words in SHAPE_WORDS.values() for word in words} <= set(words)


def test_people_word_the_same_scene_differently(sentences):
    lengths = [len(sentence.split()) for sentence in sentences]
    assert min(lengths) >= 3
    assert max(lengths) <= 22
    assert len(set(sentences)) > len(sentences) * 0.85


def test_colour_and_shape_are_named_nearly_always(scenes):
    found = [reference for scene in scenes for reference in references(scene)]
    for names in ("names_colour", "names_shape"):
        said = [value for reference in found for value in getattr(reference, names)]
        assert 0.95 < sum(said) / len(said) < 0.99
    assert all(any(colour or shape for colour, shape in zip(r.names_colour, r.names_shape, strict=True)) for r in found)


def test_nothing_is_left_out_that_would_make_two_objects_alike(scenes):
    for scene in scenes:
        if scene.kind == "pair":
            first, second = scene.objects
            for reference in references(scene):
                if first.shape == second.shape:
                    assert all(reference.names_colour)
                if first.colour == second.colour:
                    assert all(reference.names_shape)


def test_roles_and_order_are_told_as_they_are():
    objects = (SceneObject("red", "star", "medium"), SceneObject("blue", "heart", "medium"))
    follow = Scene(5, 1, "train", "pair", objects, (SceneEvent("follow", (0, 1)),), False, 0)
    for reference in references(follow, 40):
        if all(reference.names_colour):
            red_first = reference.sentence.index("red") < reference.sentence.index("blue")
            assert red_first == (" by " not in reference.sentence)
    events = (SceneEvent("grow", (0,)), SceneEvent("left", (0,)))
    sequence = Scene(5, 1, "train", "sequence", objects[:1], events, False, 0)
    for reference in references(sequence, 60):
        grows = re.search(r"grow|bigger|larger", reference.sentence).start()
        reverse = re.search(r" after ", f" {reference.sentence[4:]} ")
        assert (grows < reference.sentence.index("left")) == (reverse is None), reference.sentence


def test_distractors_and_background_colours_are_not_told(scenes):
    for scene in scenes[:300]:
        told = {colour for colour, words in COLOUR_WORDS.items() for word in words for reference in references(scene)
                if re.search(rf"\b{word}\b", reference.sentence)}  # fmt: skip
        assert told <= {thing.colour for thing in scene.objects}
