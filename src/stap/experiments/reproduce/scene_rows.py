"""The rows on generated scenes: STAT, its ablations, LRCN and L-STAP, which differ from one recipe of the demo in their model alone.

All rows see the features of one grid. STAT's global vectors are the means of its cells, its motion the differences between
consecutive frames, its local features the cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from stap.experiments.reproduce.rows import LSTAP_GROUP, MODERN_GROUP, STAT_GROUP, Row

__all__ = ["FULL", "QUICK", "ROWS", "SceneSize", "scene_size"]


@dataclass(frozen=True)
class SceneSize:
    """How many scenes are generated and which built-in recipe is trained on them.   overrides: settings of that recipe."""

    recipe: str
    videos: int
    overrides: tuple[str, ...] = ()


QUICK = SceneSize("demo/quick", videos=4800)
FULL = SceneSize("demo/full", videos=14_000)


def scene_size(full: bool, videos: int | None = None) -> SceneSize:
    """The full or the quick size, with another number of videos where one is given."""
    size = FULL if full else QUICK
    return size if videos is None else replace(size, videos=videos)


# As published the penalty weighs 22.6 per caption, and looking at one place for every word costs more than any caption gains by it.
_PENALTY = ("model.attention_penalty=0.70602", "model.penalty_captions=1")
_STAT = (
    "model.kind=stat",
    *_PENALTY,
    "model.stat.global_from=grid",
    "model.stat.motion_from=differences",
    "model.stat.local_from=grid",
    "model.stat.positions=null",  # all frames
    "model.stat.mask_attention=true",
    "model.inputs.time_embedding=0",  # it has no recurrence over frames,
    "model.inputs.differences=false",  # and reads the differences as its motion
)
_WITHOUT_LOCAL = "model.stat.local_from=null"

ROWS = (
    Row("lrcn", "LRCN", LSTAP_GROUP, ("model.kind=lrcn",)),
    Row("lstap-mean", "L-STAP, mean", LSTAP_GROUP, ("model.pooling=mean",)),
    Row("lstap-attention", "L-STAP, attention", LSTAP_GROUP, ("model.pooling=attention",)),
    Row(
        "stat-temporal-only",
        "temporal attention only",
        STAT_GROUP,
        (*_STAT, "model.stat.motion_from=null", _WITHOUT_LOCAL),
    ),
    Row("stat-without-local", "STAT without local features", STAT_GROUP, (*_STAT, _WITHOUT_LOCAL)),
    Row("stat-averaged", "STAT, places averaged", STAT_GROUP, (*_STAT, "model.stat.local_pooling=mean")),
    Row("stat", "STAT", STAT_GROUP, _STAT),
    Row("lstap-stat", "L-STAP with STAT's attention", MODERN_GROUP, ("model.kind=lstap-stat", *_PENALTY)),
)
