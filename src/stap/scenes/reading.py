"""The claims of a caption: its objects, its events and their order.

Events are found first. Their words are then hidden, so that the "circle" in "moves in a circle" is not taken for an object.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from stap.scenes.patterns import COLOUR_OF, EVENTS, NOUN_PHRASE, SHAPE_OF

__all__ = ["Claim", "NounPhrase", "Reading", "read_caption"]


@dataclass(frozen=True)
class NounPhrase:
    """An object in a caption; None for a colour or shape that it does not name."""

    colour: str | None
    shape: str | None
    start: int


@dataclass(frozen=True)
class Claim:
    """An event in a caption. `reversed_roles`: the actor is named last ("is followed by")."""

    event: str
    start: int
    end: int
    reversed_roles: bool = False


@dataclass(frozen=True)
class Reading:
    """Objects and events in the order of the text. happens_in_order: whether the second event happens later; None if unknown."""

    nouns: tuple[NounPhrase, ...]
    claims: tuple[Claim, ...]
    happens_in_order: bool | None


FILLER = "."


def read_caption(caption: str) -> Reading:
    """Read one caption, in any case and with any punctuation."""
    text = _normalised(caption)
    claims, rest = _claims(text)
    return Reading(_noun_phrases(rest), tuple(claims), _happens_in_order(text, claims))


def _normalised(caption: str) -> str:
    text = re.sub(r"zig[ -]?zag", "zigzag", caption.lower())
    return " ".join(re.sub(r"[^a-z]+", " ", text).split())


def _claims(text: str) -> tuple[list[Claim], str]:
    """The events (repetitions once), and the text with their words hidden."""
    found: list[Claim] = []
    rest = text
    for name, pattern in EVENTS:
        for match in list(pattern.finditer(rest)):
            event, _, role = name.partition("-")
            start, end = match.span("words" if "words" in pattern.groupindex else 0)
            if event:
                found.append(Claim(event, start, end, role == "reversed"))
            rest = rest[:start] + FILLER * (end - start) + rest[end:]
    found.sort(key=lambda claim: claim.start)
    return [next(same) for _, same in itertools.groupby(found, key=lambda claim: claim.event)], rest


def _noun_phrases(text: str) -> tuple[NounPhrase, ...]:
    nouns: list[NounPhrase] = []
    for match in NOUN_PHRASE.finditer(text):
        colours = [COLOUR_OF[word] for word in match["adjectives"].split() if word in COLOUR_OF]
        colour = colours[-1] if colours else COLOUR_OF.get(match["later"] or "")
        noun = NounPhrase(colour, SHAPE_OF.get(match["noun"]), match.start())
        if not any(_same_again(before, noun, match["article"]) for before in nouns):
            nouns.append(noun)
    return tuple(nouns)


def _same_again(before: NounPhrase, noun: NounPhrase, article: str | None) -> bool:
    """Whether a noun phrase refers to an earlier one: "a red ball ..., then the ball ..."."""
    if (before.colour, before.shape) == (noun.colour, noun.shape):
        return True
    fits = noun.colour in (None, before.colour) and noun.shape in (None, before.shape)
    return fits and article in ("the", "this", "that")


def _happens_in_order(text: str, claims: Sequence[Claim]) -> bool | None:
    """Whether the first two events happen in the order of the text; None if they are simultaneous."""
    if len(claims) < 2:
        return None
    before, between = text[: claims[0].start], text[claims[0].end : claims[1].start]
    if re.search(r"\b(?:while|whilst|as it|at the same time)\b", f"{before} {between}"):
        return None
    if re.search(r"\b(?:after(?! (?:that|this|which|wards))|once|having)\b", between):
        return False
    return not re.search(r"\b(?:before|until)\b", before)
