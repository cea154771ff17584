"""The rows of the archive's tables, and the records that they stand for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stap.archive.records import ArchivedShot, ArchivedVideo, Version

__all__ = [
    "CORRECTION",
    "columns_of",
    "is_one_of",
    "row_of",
    "shot_of",
    "shot_schema",
    "versions_of",
    "video_of",
    "video_schema",
    "with_correction",
]

_NOT_READ = {"picture", "vector", "versions"}
CORRECTION = ["id", "caption", "author", "corrected", "versions"]  # what is read of a shot that is corrected


def is_one_of(column: str, values: Sequence[str]) -> str:
    """A condition in SQL."""
    listed = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{column} IN ({listed})"


def columns_of(table: Any) -> list[str]:
    """The columns that make a record: large ones are read when they are asked for."""
    return [name for name in table.schema.names if name not in _NOT_READ]


def versions_of(row: Mapping[str, Any]) -> list[Version]:
    """The earlier versions of a caption, the oldest first."""
    return [Version(**one) for one in json.loads(row["versions"])]


def video_of(row: Mapping[str, Any]) -> ArchivedVideo:
    """The record of a row of the table of videos."""
    return ArchivedVideo(**{**row, "path": Path(row["path"])})


def shot_of(row: Mapping[str, Any]) -> ArchivedShot:
    """The record of a row of the table of shots, without picture and vector."""
    names = ("id", "content", "start_seconds", "end_seconds", "caption", "score", "confidence", "model", "features", "author")
    return ArchivedShot(
        **{name: row[name] for name in names},
        video=Path(row["video"]),
        words=tuple((word, at) for word, at in json.loads(row["words"])),
        attention=json.loads(row["attention"]),
        frame_seconds=tuple(row["frame_seconds"]),
        when=row["corrected"],
    )


def row_of(shot: ArchivedShot) -> dict[str, Any]:
    """The row of a shot that nobody has corrected yet."""
    row = {name: value for name, value in vars(shot).items() if name not in ("when", "embedding")}
    return row | {
        "video": str(shot.video),
        "words": json.dumps(shot.words),
        "attention": json.dumps(dict(shot.attention), separators=(",", ":")),
        "corrected": shot.when,
        "versions": "[]",
        "vector": shot.embedding,
    }


def with_correction(row: dict[str, Any], kept: Mapping[str, Any] | None) -> dict[str, Any]:
    """The row of a shot that was captioned again, with what somebody had made of its caption."""
    if kept is None:
        return row
    earlier = [asdict(one) for one in versions_of(kept)]
    again = asdict(Version(row["caption"]))
    earlier += [again] if again not in earlier else []
    return row | {name: kept[name] for name in ("caption", "author", "corrected")} | {"versions": json.dumps(earlier)}


def shot_schema(size: int) -> Any:
    """Columns of the table of shots.   size: of a vector."""
    import pyarrow as pa

    texts = dict.fromkeys(("id", "video", "content", "caption", "words", "attention", "model", "features"), pa.string())
    numbers = dict.fromkeys(("start_seconds", "end_seconds", "score", "confidence"), pa.float64())
    corrections = dict.fromkeys(("author", "corrected", "versions"), pa.string())
    others = {"frame_seconds": pa.list_(pa.float64()), "picture": pa.binary(), "vector": pa.list_(pa.float32(), size)}
    return pa.schema({**texts, **numbers, **corrections, **others})


def video_schema() -> Any:
    """Columns of the table of videos."""
    import pyarrow as pa

    texts = dict.fromkeys(("content", "path", "model"), pa.string())
    return pa.schema({**texts, "bytes": pa.int64(), "modified_ns": pa.int64(), "duration_seconds": pa.float64()})
