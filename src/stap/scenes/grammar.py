"""Sentences about a scene, as several people would write them.

Each reference is one draw from a paraphrasing grammar: synonyms for colours, shapes and events, articles, seven ways to build a
sentence about one event, and ten ways to put two in order. Colour and shape are nearly always named; the size, a
quick event and the background sometimes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stap.scenes.lexicon import (
    COLOUR_WORDS,
    PAIR_PHRASES,
    SHAPE_WORDS,
    SINGLE_PHRASES,
    SIZE_WORDS,
    THING_WORDS,
    inflect,
)
from stap.scenes.plan import Scene

__all__ = ["Reference", "references"]

Rng = np.random.Generator

LEAVES_OUT = 0.05  # of the noun phrases lack their colour or their shape
NAMES_SIZE = 0.3
SAYS_QUICKLY = 0.3  # of the brief events
NAMES_BACKGROUND = 0.04

SINGLE_SENTENCES = {
    "{who} {third}": 9,
    "{who} is {gerund}": 6,
    "there is {who} that {third}": 1,
    "there is {who} {gerund}": 1.5,
    "{who} {gerund}": 1,
    "we see {who} {gerund}": 0.7,
    "{who} can be seen {gerund}": 0.5,
}
SEQUENCE_SENTENCES = {
    "{who} {third} and then {third2}": 6,
    "{who} {third} then {third2}": 3,
    "{who} {third}, then {third2}": 2,
    "{who} first {third} and then {third2}": 2,
    "first {who} {third}, then it {third2}": 1.5,
    "{who} {third} before {gerund2}": 2,
    "after {gerund}, {who} {third2}": 1.5,
    "{who} {third2} after {gerund}": 1.5,
    "{who} is {gerund} and then {gerund2}": 2,
    "there is {who} that {third} and then {third2}": 1,
}
PAIR_SENTENCES = {
    "active": {
        "{who} {third} {whom}": 9,
        "{who} is {gerund} {whom}": 6,
        "there is {who} {gerund} {whom}": 1,
        "{who} {gerund} {whom}": 1,
        "we see {who} {gerund} {whom}": 0.7,
    },
    "passive": {"{whom} is {participle} {who}": 1, "there is {whom} {participle} {who}": 0.2},
    "together": {"{who} and {whom} {base}": 3, "{who} and {whom} are {gerund}": 1, "we see {who} and {whom} {base}": 0.3},
}
VOICES = {"active": 5.0, "passive": 1.5, "together": 2.5}
BACKGROUNDS = {
    "on a grey background": 2,
    "over a noisy background": 1,
    "on a textured background": 1,
    "in front of a moving background": 0.5,
}


@dataclass(frozen=True)
class Reference:
    """A sentence, and which facts it names: for each object whether its colour and its shape are said."""

    sentence: str
    names_colour: tuple[bool, ...]
    names_shape: tuple[bool, ...]


def references(scene: Scene, count: int = 5) -> tuple[Reference, ...]:
    """`count` different sentences about a scene; the same for the same scene."""
    rng = np.random.default_rng([scene.seed, scene.number, 2])
    found: dict[str, Reference] = {}
    while len(found) < count:
        reference = _reference(scene, rng)
        found.setdefault(reference.sentence, reference)
    return tuple(found.values())


def _reference(scene: Scene, rng: Rng) -> Reference:
    nouns = [_noun_phrase(scene, index, rng) for index in range(len(scene.objects))]
    sentence = _pair_sentence(scene, nouns, rng) if scene.kind == "pair" else _single_sentence(scene, nouns[0], rng)
    if rng.random() < NAMES_BACKGROUND:
        sentence = f"{sentence} {_drawn(BACKGROUNDS, rng)}"
    return Reference(sentence, tuple(n.names_colour for n in nouns), tuple(n.names_shape for n in nouns))


@dataclass(frozen=True)
class NounPhrase:
    """One object in words."""

    text: str
    names_colour: bool
    names_shape: bool


def _noun_phrase(scene: Scene, index: int, rng: Rng) -> NounPhrase:
    thing = scene.objects[index]
    others = [other for other in scene.objects if other is not thing]
    says_colour, says_shape = True, True
    if rng.random() < LEAVES_OUT:
        if rng.random() < 0.5:
            says_colour = any(other.shape == thing.shape for other in others)  # where the shape alone would be unclear
        else:
            says_shape = any(other.colour == thing.colour for other in others)
    changes_size = any(event.event in ("grow", "shrink") for event in scene.events)
    says_size = rng.random() < NAMES_SIZE and not changes_size and thing.size in SIZE_WORDS and bool(SIZE_WORDS[thing.size])
    words = [
        _drawn(SIZE_WORDS[thing.size], rng) if says_size else "",
        _drawn(COLOUR_WORDS[thing.colour], rng) if says_colour else "",
        _drawn(SHAPE_WORDS[thing.shape] if says_shape else THING_WORDS, rng),
    ]
    text = " ".join(word for word in words if word)
    article = "the" if rng.random() < 0.15 else "an" if text[0] in "aeiou" else "a"
    return NounPhrase(f"{article} {text}", says_colour, says_shape)


def _single_sentence(scene: Scene, who: NounPhrase, rng: Rng) -> str:
    phrases = [_drawn(SINGLE_PHRASES[event.event], rng) for event in scene.events]
    if scene.brief and scene.events[0].event != "flash" and rng.random() < SAYS_QUICKLY:
        phrases[0] = f"quickly {phrases[0]}"
    template = _drawn(SINGLE_SENTENCES if len(phrases) == 1 else SEQUENCE_SENTENCES, rng)
    first, last = phrases[0], phrases[-1]
    return template.format(
        who=who.text,
        third=inflect(first, "third"),
        gerund=inflect(first, "gerund"),
        third2=inflect(last, "third"),
        gerund2=inflect(last, "gerund"),
    )


def _pair_sentence(scene: Scene, nouns: Sequence[NounPhrase], rng: Rng) -> str:
    voices = PAIR_PHRASES[scene.events[0].event]
    voice = _drawn({voice: VOICES[voice] for voice in voices}, rng)
    phrase = _drawn(voices[voice], rng)
    who, whom = (noun.text for noun in nouns)
    if scene.events[0].event == "collide" and rng.random() < 0.5:
        who, whom = whom, who  # both do it
    template = _drawn(PAIR_SENTENCES[voice], rng)
    forms = {form: inflect(phrase, form) for form in ("base", "third", "gerund")}
    return template.format(who=who, whom=whom, participle=phrase, **forms)


def _drawn(weights: Mapping[str, float], rng: Rng) -> str:
    """One of the keys, as often as its weight says."""
    total = rng.random() * sum(weights.values())
    for text, weight in weights.items():
        total -= weight
        if total < 0:
            return text
    return text
