"""Which epoch's weights are kept: those of the best validation score, or of the lowest validation loss where the score tells nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["constant_score", "is_best"]

Record = Mapping[str, Any]  # of an epoch, as in metrics.json


def is_best(score: float, loss: float, name: str, history: Sequence[Record]) -> bool:
    """Whether an epoch with this validation score and loss is the best so far.

    name: of the score, as training.best_by.   history: the epochs before.   While the score has been the same in every validation
    (CIDEr is 0 where there is one validation clip), the lower loss is better.
    """
    best = next((record for record in reversed(history) if record["is_best"] and record["scores"]), None)
    if best is None or score > best["scores"][name]:
        return True
    return constant_score([*history, {"scores": {name: score}}], name) is not None and loss < best["validation"]["loss"]


def constant_score(history: Sequence[Record], name: str) -> float | None:
    """The score of every validation, if there were several and all gave the same; otherwise None."""
    found = [record["scores"][name] for record in history if record["scores"]]
    return float(found[0]) if len(found) > 1 and len(set(found)) == 1 else None
