"""Scoring captions by the facts they recall: colours, shapes, events and their order.

A scene's facts are the colour and the shape of each described object, each event, and the order where there are two. A caption
may be any sentence. Listing does not pay: of what it claims, only the first objects and the first events count, as many as
the scene has.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from stap.scenes.reading import Claim, NounPhrase, Reading, read_caption

__all__ = ["KINDS", "facts_recalled"]

KINDS = ("colour", "shape", "event", "order")


def facts_recalled(caption: str, facts: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """For each kind of fact, how many the caption recalls and how many the scene has: {"colour": (1, 2), ...}.

    facts: an entry of facts.json. A colour counts if the noun phrase that fits an object best names it, so "a red star and a
    blue ball" earns no colour in a scene with a blue star and a red ball. Who follows whom is part of the event: it is lost
    if the caption names both objects and exchanges their roles. The order counts if the caption has both events in the
    right one; it is (0, 0) for a single event.
    """
    objects, events = facts["objects"], facts["events"]
    reading = read_caption(caption)
    nouns, claims = reading.nouns[: len(objects)], reading.claims[: len(events)]
    aligned = _alignment(nouns, objects)
    claimed = [claim.event for claim in claims]
    recalled = [event for event in events if event["event"] in claimed and _roles_agree(event, claims, nouns, objects)]
    ordered = len(events) == 2 and [event["event"] for event in events] == _in_time(claimed, reading)
    return {
        "colour": (sum(noun.colour == thing["colour"] for noun, thing in aligned), len(objects)),
        "shape": (sum(noun.shape == thing["shape"] for noun, thing in aligned), len(objects)),
        "event": (len(recalled), len(events)),
        "order": (int(ordered), int(len(events) == 2)),
    }


def _in_time(events: Sequence[str], reading: Reading) -> list[str]:
    if reading.happens_in_order is None:
        return []
    return list(events) if reading.happens_in_order else list(events)[::-1]


Pairing = list[tuple[NounPhrase, Mapping[str, Any]]]


def _alignment(nouns: Sequence[NounPhrase], objects: Sequence[Mapping[str, Any]]) -> Pairing:
    """Each noun phrase with its own object, so that most colours and shapes agree; the order of the scene if several do."""
    candidates = [list(zip(nouns, chosen, strict=True)) for chosen in itertools.permutations(objects, len(nouns))]
    return max(candidates, key=_agreement)  # the first of the best


def _agreement(pairing: Pairing) -> int:
    return sum((noun.colour == thing["colour"]) + (noun.shape == thing["shape"]) for noun, thing in pairing)


def _roles_agree(
    event: Mapping[str, Any], claims: Sequence[Claim], nouns: Sequence[NounPhrase], objects: Sequence[Mapping[str, Any]]
) -> bool:
    """False if a caption clearly names the wrong object as the actor."""
    if event["event"] not in ("follow", "behind", "orbit") or len(nouns) < 2:
        return True
    claim = next(claim for claim in claims if claim.event == event["event"])
    if not nouns[0].start < claim.start < nouns[1].start:
        return True  # "a star and a ball follow each other": no actor
    actor, other = (objects[index] for index in event["objects"])
    named = [nouns[1], nouns[0]] if claim.reversed_roles else list(nouns)
    right = _agreement(list(zip(named, (actor, other), strict=True)))
    return right >= _agreement(list(zip(named, (other, actor), strict=True)))
