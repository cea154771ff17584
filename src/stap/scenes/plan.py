"""The content of each scene: objects, events and their order, and the combinations held out for the test.

A combination is (colour, shape, event). For every event each colour loses one shape, so that a seventh of all combinations
(a fifth where only five shapes can spin) is kept for the test: see `held_out_combinations`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from stap.scenes.dials import SceneDials
from stap.scenes.lexicon import COLOURS, PAIR_EVENTS, SEQUENCE_EVENTS, SHAPES, SINGLE_EVENTS, SPINNING_SHAPES

__all__ = ["Combination", "Scene", "SceneEvent", "SceneObject", "combinations", "held_out_combinations", "plan_scenes"]

Kind = Literal["single", "sequence", "pair"]
Split = Literal["train", "validation", "test"]
SIZES = ("small", "medium", "large")


@dataclass(frozen=True, order=True)
class Combination:
    """A coloured shape that takes part in an event."""

    colour: str
    shape: str
    event: str


@dataclass(frozen=True)
class SceneObject:
    """An object that captions describe."""

    colour: str
    shape: str
    size: str


@dataclass(frozen=True)
class SceneEvent:
    """Something that happens; `objects` are indices, the one that acts first."""

    event: str
    objects: tuple[int, ...]


@dataclass(frozen=True)
class Scene:
    """A whole scene, in words. How it looks in detail (places, speeds, background) follows from `seed` and `number`."""

    number: int
    seed: int
    split: Split
    kind: Kind
    objects: tuple[SceneObject, ...]
    events: tuple[SceneEvent, ...]
    brief: bool
    distractors: int

    def facts(self) -> dict[str, Any]:
        """What can be said about the scene, as facts.json keeps it."""
        return {
            "kind": self.kind,
            "objects": [asdict(thing) for thing in self.objects],
            "events": [{"event": event.event, "objects": list(event.objects)} for event in self.events],
            "brief": self.brief,
            "small": any(thing.size == "small" for thing in self.objects),
            "distractors": self.distractors,
            "held_out": self.split == "test",
        }


def combinations(event: str) -> list[Combination]:
    """All combinations of an event that can be seen."""
    shapes = SPINNING_SHAPES if event == "spin" else SHAPES
    return [Combination(colour, shape, event) for colour in COLOURS for shape in shapes]


def held_out_combinations(seed: int) -> frozenset[Combination]:
    """The combinations that only test scenes show: one shape for each event and colour.

    Shapes are dealt to the colours from a shuffled deck, so each is held out once or twice an event. Thus every colour with
    every shape, every colour with every event and every shape with every event stay in training. Seeds for which a coloured
    shape would lose more than half of the events are dealt again.
    """
    for attempt in itertools.count():
        rng = np.random.default_rng([seed, 7, attempt])
        held_out = [_dealt(rng, event) for event in (*SINGLE_EVENTS, *PAIR_EVENTS)]
        flat = frozenset(itertools.chain.from_iterable(held_out))
        losses = [sum(c.colour == colour and c.shape == shape for c in flat) for colour in COLOURS for shape in SHAPES]
        if max(losses) <= (len(SINGLE_EVENTS) + len(PAIR_EVENTS)) // 2:
            return flat
    raise AssertionError("unreachable")


def _dealt(rng: np.random.Generator, event: str) -> list[Combination]:
    shapes = Deck(SPINNING_SHAPES if event == "spin" else SHAPES, rng)
    colours = [str(colour) for colour in rng.permutation(list(COLOURS))]
    return [Combination(colour, shapes.draw(), event) for colour in colours]


def plan_scenes(videos: int, seed: int, dials: SceneDials) -> list[Scene]:
    """The scenes of a corpus: training, then validation (a twelfth), then test (an eighth; at least one scene each).

    Training and validation scenes hold no held-out combination; test scenes hold nothing else: both objects of a pair, both
    events of a sequence. Single, sequence and pair scenes have the same shares in each split.
    """
    held_out = held_out_combinations(seed)
    everything = [c for event in (*SINGLE_EVENTS, *PAIR_EVENTS) for c in combinations(event)]
    test, validation = max(1, round(videos / 8)), max(1, round(videos / 12))
    sizes: dict[Split, int] = {"train": videos - validation - test, "validation": validation, "test": test}
    rng = np.random.default_rng([seed, 11])
    seen = Combiner([c for c in everything if c not in held_out], rng)
    kept = Combiner([c for c in everything if c in held_out], rng)
    scenes: list[Scene] = []
    for split, size in sizes.items():
        combiner = kept if split == "test" else seen
        for kind in _kinds(size, dials, rng):
            scenes.append(_scene(len(scenes), seed, split, kind, combiner, dials, rng))
    return scenes


def _kinds(size: int, dials: SceneDials, rng: np.random.Generator) -> list[Kind]:
    pairs, sequences = round(size * dials.two_object_share), round(size * dials.sequence_share)
    sequences = min(sequences, size - pairs)
    counts: dict[Kind, int] = {"pair": pairs, "sequence": sequences, "single": size - pairs - sequences}
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    return [kinds[index] for index in rng.permutation(size)]


def _scene(
    number: int, seed: int, split: Split, kind: Kind, combiner: Combiner, dials: SceneDials, rng: np.random.Generator
) -> Scene:
    chosen = combiner.draw(kind)
    sizes = [_size(dials, rng) for _ in range(2)]
    if chosen[0].event == "behind":
        sizes.sort(key=SIZES.index)  # the one in front must be able to hide the other
    things = chosen if kind == "pair" else chosen[:1]
    objects = tuple(SceneObject(c.colour, c.shape, size) for c, size in zip(things, sizes, strict=False))
    if kind == "pair":
        events: tuple[SceneEvent, ...] = (SceneEvent(chosen[0].event, (0, 1)),)
    else:
        events = tuple(SceneEvent(c.event, (0,)) for c in chosen)
    brief = bool(rng.random() < dials.brief_share) or events[0].event == "flash"
    distractors = int(rng.integers(0, max(0, dials.max_distractors - (kind == "pair")) + 1))
    return Scene(number, seed, split, kind, objects, events, brief, distractors)


def _size(dials: SceneDials, rng: np.random.Generator) -> str:
    if rng.random() < dials.small_share:
        return "small"
    return "medium" if rng.random() < 0.5 else "large"


Card = TypeVar("Card")


class Deck(Generic[Card]):
    """Cards drawn without replacement from a shuffled deck; an empty one is shuffled again. All cards come equally often."""

    def __init__(self, cards: Iterable[Card], rng: np.random.Generator) -> None:
        self._cards = list(cards)
        self._rng = rng
        self._left: list[Card] = []

    def draw(self) -> Card:
        """The next card."""
        if not self._left:
            self._left = [self._cards[index] for index in self._rng.permutation(len(self._cards))]
        return self._left.pop()


class Combiner:
    """Draws combinations for scenes, events evenly and the combinations of an event evenly."""

    def __init__(self, allowed: Sequence[Combination], rng: np.random.Generator) -> None:
        of_event = {event: [c for c in allowed if c.event == event] for event in (*SINGLE_EVENTS, *PAIR_EVENTS)}
        self._singles = Deck(SINGLE_EVENTS, rng)
        self._pairs = Deck(PAIR_EVENTS, rng)
        self._of_event = {event: Deck(cards, rng) for event, cards in of_event.items()}
        self._sequences = Deck(_sequences(allowed), rng)
        self._of_sequence = {order: Deck(things, rng) for order, things in _things_of_sequences(allowed).items()}

    def draw(self, kind: Kind) -> tuple[Combination, ...]:
        """One combination for a single event; two of one coloured shape for a sequence; two of one event for a pair."""
        if kind == "single":
            return (self._of_event[self._singles.draw()].draw(),)
        if kind == "pair":
            deck = self._of_event[self._pairs.draw()]
            first, second = deck.draw(), deck.draw()
            while second == first:  # only where the deck was shuffled again in between
                second = deck.draw()
            return first, second
        order = self._sequences.draw()
        colour, shape = self._of_sequence[order].draw()
        return Combination(colour, shape, order[0]), Combination(colour, shape, order[1])


def _sequences(allowed: Sequence[Combination]) -> list[tuple[str, str]]:
    return list(_things_of_sequences(allowed))


def _things_of_sequences(allowed: Sequence[Combination]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """For each ordered pair of events, the coloured shapes that may do both."""
    things: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for first, second in itertools.permutations(SEQUENCE_EVENTS, 2):
        firsts = {(c.colour, c.shape) for c in allowed if c.event == first}
        both = sorted(firsts & {(c.colour, c.shape) for c in allowed if c.event == second})
        if both:
            things[first, second] = both
    return things
