"""The facts of generated scenes that captions state, counted by kind of fact and by sort of scene."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stap.corpora.corpus import Clip
from stap.scenes.facts import facts_recalled

__all__ = ["FACT_COLUMNS", "Counts", "count_facts", "recall_facts", "share"]

Counts = tuple[int, int]  # recalled, in all
Facts = Mapping[str, Any]
KINDS = ("colour", "shape", "event", "order")
SCENES: Mapping[str, Callable[[Facts], bool]] = {
    "two objects": lambda facts: facts["kind"] == "pair",
    "small": lambda facts: facts["small"],
    "large": lambda facts: not facts["small"],
    "brief": lambda facts: facts["brief"],
    "long": lambda facts: not facts["brief"],
}
FACT_COLUMNS = ("facts", *KINDS, *SCENES)


def recall_facts(clips: Sequence[Clip], captions: Mapping[str, str]) -> dict[str, Counts]:
    """Facts of the clips that their captions state: kind -> (recalled, in all); empty where no clip has facts."""
    recalled, total = Counter[str](), Counter[str]()
    for clip in clips:
        if clip.facts is not None:
            for kind, (found, present) in facts_recalled(captions[clip.id], clip.facts).items():
                recalled[kind] += found
                total[kind] += present
    return {kind: (recalled[kind], total[kind]) for kind in total}


def count_facts(clips: Sequence[Clip], captions: Mapping[str, str]) -> dict[str, Counts]:
    """The same by FACT_COLUMNS: all facts, those of each kind, and those of each sort of scene; empty where no clip has facts."""
    scenes = [(clip, clip.facts) for clip in clips if clip.facts is not None]
    if not scenes:
        return {}
    by_kind = recall_facts(clips, captions)
    by_scene = {
        name: _sum(recall_facts([clip for clip, facts in scenes if belongs(facts)], captions).values())
        for name, belongs in SCENES.items()
    }
    return {"facts": _sum(by_kind.values()), **{kind: by_kind[kind] for kind in KINDS}, **by_scene}


def share(counts: Sequence[int]) -> float | None:
    """(recalled, in all) as a fraction; None where there are no such facts."""
    recalled, total = counts
    return recalled / total if total else None


def _sum(counts: Any) -> Counts:
    recalled, total = 0, 0
    for found, present in counts:
        recalled, total = recalled + found, total + present
    return recalled, total
