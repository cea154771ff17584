"""The archive on disk: a folder with a table of shots and one of videos in LanceDB, and archive.json, which says what they are.

    with Archive.open(folder) as archive:                  # reads; nothing is created, several processes may at once
        archive.search(Query(words="a red ball"))          # -> [Found(shot, score, routes), ...], the best first
        archive.shots(ids), archive.shots_of(path), archive.videos(), archive.picture(id), archive.versions(id)
        archive.roots                                      # folders that the videos came from
    with Archive.open(folder, write=True) as archive:      # the only writer; a second one is refused with a sentence
        archive.correct(id, "a red ball rolls", "Ann")     # every earlier version is kept
        archive.export_corrections(out)                    # corrected shots as a folder corpus for `stap train`; reading is enough
    with Archive.create(folder, space) as archive: ...     # the only writer of a new one
    with Archive.shared(folder, space) as archive: ...     # one of several writers, who take turns

An open archive sees what a writer adds meanwhile. Every change is one version of a table: it is there whole, or not at all.
Whatever goes wrong with the archive is an ArchiveError.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from pathlib import Path
from typing import Any

import numpy as np

from stap.archive.records import ArchivedShot, ArchivedVideo, Found, Query, Route, Space, Version
from stap.errors import ArchiveError, MissingDependencyError
from stap.files import folder_lock, one_line, read_json, write_json

__all__ = ["ARCHIVE_FILE", "Archive", "import_lancedb"]

ARCHIVE_FILE = "archive.json"
FORMAT = 1
CAPTION_AGAIN = "Index the videos into a new archive."
_RANK_OFFSET = 60  # of reciprocal rank fusion (Cormack et al. 2009)
_CANDIDATES = 4  # that each route gives, for each that is wanted
# From so many shots on, shots are looked up by indices instead of being read through. Vectors are grouped (IVF): a search compares those of
# the nearest 40 groups of isqrt(shots).
INDEXED_FROM, _GROUPS_SEARCHED = 200_000, 40
PATIENCE_SECONDS = 1_200.0  # for one's turn to write: longer than the lock of a process that died can last
_NOT_READ = {"picture", "vector", "versions"}
_SHOTS, _VIDEOS = "shots", "videos"


class Writes(Enum):
    """When an open archive may change what is on disk."""

    never = auto()
    alone = auto()
    in_turn = auto()


class Archive:
    """An open archive. Made by `open` and `create`.

    space: of its vectors.   roots: folders that its videos came from, absolute.   models: what each `ArchivedShot.model` stands for.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], writes: Writes) -> None:
        self.folder, self._writes = folder, writes
        self.space = Space(**about["space"])
        self.roots = tuple(map(Path, about["roots"]))
        self.models: Mapping[str, Any] = about["models"]
        with _plainly(folder):
            self._database = _connected(folder)
            self._shots, self._videos = (self._database.open_table(name) for name in (_SHOTS, _VIDEOS))

    @classmethod
    @contextmanager
    def open(cls, folder: Path, *, write: bool = False) -> Iterator[Archive]:
        """The archive in the folder. Raises ArchiveError if there is none, if it is of another format, or if another process writes."""
        about = _about(folder)
        if not write:
            yield cls(folder, about, Writes.never)
            return
        with folder_lock(folder, ArchiveError):
            yield cls(folder, _about(folder), Writes.alone)

    @classmethod
    @contextmanager
    def open_or_create(cls, folder: Path, space: Space) -> Iterator[Archive]:
        """The archive in the folder to write in, or a new one of this space. Raises ArchiveError as `open` and `create` do."""
        with cls.open(folder, write=True) if (folder / ARCHIVE_FILE).is_file() else cls.create(folder, space) as archive:
            yield archive

    @classmethod
    @contextmanager
    def shared(cls, folder: Path, space: Space) -> Iterator[Archive]:
        """The archive in the folder, or a new one of this space, to write in beside others who open it so, where the file system locks files (flock).

        Every change waits for its turn, twenty minutes at most. Raises ArchiveError as `open` and `create` do.
        """
        with _turn(folder):
            if not (folder / ARCHIVE_FILE).is_file():
                cls._make(folder, space)
        yield cls(folder, _about(folder), Writes.in_turn)

    @classmethod
    @contextmanager
    def create(cls, folder: Path, space: Space) -> Iterator[Archive]:
        """A new archive, of which this is the writer. Raises ArchiveError if the folder holds one, or anything else."""
        with folder_lock(folder, ArchiveError):
            yield cls(folder, cls._make(folder, space), Writes.alone)

    @staticmethod
    def _make(folder: Path, space: Space) -> dict[str, Any]:
        import_lancedb()
        there = {path.name for path in folder.iterdir()} - {".stap.lock"}
        unfinished = {
            f"{name}.lance" for name in (_SHOTS, _VIDEOS)
        }  # of a process that was killed before it wrote ARCHIVE_FILE
        if there - unfinished:
            raise ArchiveError(f"{folder}: is not empty, and a new archive needs a folder of its own. Name another one.")
        for name in there:
            shutil.rmtree(folder / name)
        with _plainly(folder):
            from lancedb.index import FTS

            database = _connected(folder)
            shots = database.create_table(_SHOTS, schema=_shot_schema(space.size))
            shots.create_index("caption", config=FTS())
            database.create_table(_VIDEOS, schema=_video_schema())
        about = {"format": FORMAT, "space": asdict(space), "roots": [], "models": {}}
        write_json(folder / ARCHIVE_FILE, about, ArchiveError)
        return about

    # What is read

    def count(self) -> int:
        """How many shots there are."""
        with _plainly(self.folder):
            return int(self._shots.count_rows())

    def videos(self) -> list[ArchivedVideo]:
        """All videos, by their paths."""
        with _plainly(self.folder):
            rows = self._videos.search().limit(None).to_list()
        return sorted(map(_video, rows), key=lambda video: video.path)

    def video(self, content: str) -> ArchivedVideo | None:
        """The video with this content, if it is there."""
        with _plainly(self.folder):
            rows = self._videos.search().where(_is_one_of("content", [content])).limit(1).to_list()
        return next(map(_video, rows), None)

    def states(self, shots: Iterable[ArchivedShot]) -> dict[str, str]:
        """What became of the videos of these shots, by content: 'present', 'missing' or 'changed'; see `ArchivedVideo.state`."""
        contents = list(dict.fromkeys(shot.content for shot in shots))
        with _plainly(self.folder):
            rows = self._videos.search().where(_is_one_of("content", contents)).limit(None).to_list() if contents else []
        return dict.fromkeys(contents, "missing") | {row["content"]: _video(row).state for row in rows}

    def shots(self, ids: Sequence[str]) -> list[ArchivedShot]:
        """The shots of these ids, in their order; ids that are not there are left out."""
        found = {row["id"]: _shot(row) for row in self._rows(_is_one_of("id", ids), _columns(self._shots))} if ids else {}
        return [found[one] for one in ids if one in found]

    def shots_of(self, video: Path) -> list[ArchivedShot]:
        """The shots of the video at this path, in their order in time."""
        rows = self._rows(_is_one_of("video", [str(video)]), _columns(self._shots))
        return sorted(map(_shot, rows), key=lambda shot: shot.start_seconds)

    def picture(self, id: str) -> bytes:
        """The key frame of a shot as JPEG; empty where none was kept. Raises ArchiveError for an id that is not there."""
        return bytes(self._row(id, ["id", "picture"])["picture"])

    def vector(self, id: str) -> np.ndarray:
        """(H,) the embedding of a shot, to look for others like it. Raises ArchiveError for an id that is not there."""
        return np.array(self._row(id, ["id", "vector"])["vector"], np.float32)

    def versions(self, id: str) -> list[Version]:
        """Every version of a shot's caption, the current one last. Raises ArchiveError for an id that is not there."""
        row = self._row(id, ["id", "caption", "author", "corrected", "versions"])
        return [*_versions(row), Version(row["caption"], row["author"], row["corrected"])]

    def corrected(self) -> list[ArchivedShot]:
        """The shots whose caption somebody corrected, by video and time."""
        found = map(_shot, self._rows("author != ''", _columns(self._shots)))
        return sorted(found, key=lambda shot: (shot.video, shot.start_seconds))

    def export_corrections(
        self, out: Path, is_wanted: Callable[[ArchivedVideo], bool] = lambda video: True
    ) -> tuple[int, list[str]]:
        """Write the shots that somebody corrected as a folder corpus; see `stap.archive.corrections.write_corpus`.

        is_wanted: of which videos; the others count as missing.
        """
        from stap.archive.corrections import write_corpus

        return write_corpus(self.corrected(), {video.content: video for video in self.videos() if is_wanted(video)}, out)

    def search(self, query: Query) -> list[Found]:
        """The shots that fit best, the best first. Each route ranks on its own, and the ranks are fused: sum of 1 / (60 + rank).

        Raises ArchiveError for a query of nothing, a vector of another size, and a condition that is no SQL.
        """
        words = query.words.strip()
        if not words and query.vector is None:
            raise ArchiveError("a query needs words, or a clip to compare with. Say what to look for.")
        most, ranked = max(1, query.limit), dict[Route, list[dict[str, Any]]]()
        if query.vector is not None:
            if query.vector.shape != (self.space.size,):
                expected = f"{self.folder}: its vectors have {self.space.size} numbers"
                raise ArchiveError(f"{expected}, and the query's {query.vector.size}. Search with the model of the archive.")
            if query.vector.any():  # a sentence of unknown words alone is like nothing
                near = (
                    self._shots.search(query.vector, vector_column_name="vector")
                    .distance_type("cosine")
                    .minimum_nprobes(_GROUPS_SEARCHED)
                    .maximum_nprobes(0)  # more where a condition leaves too few shots in these
                )
                ranked["meaning"] = self._found(near, "_distance", query.where, _CANDIDATES * most)
        if words:
            said = self._shots.search(words, query_type="fts", fts_columns="caption")
            ranked["words"] = self._found(said, "_score", query.where, _CANDIDATES * most)
        return _fused(ranked)[:most]

    def _found(self, search: Any, rank: str, where: str, most: int) -> list[dict[str, Any]]:
        with _plainly(self.folder, where):
            if where.strip():
                search = search.where(f"({where})", prefilter=True)
            rows: list[dict[str, Any]] = search.select([*_columns(self._shots), rank]).limit(most).to_list()
        return rows

    def _rows(self, where: str, columns: list[str]) -> list[dict[str, Any]]:
        with _plainly(self.folder):
            rows: list[dict[str, Any]] = self._shots.search().where(where).select(columns).limit(None).to_list()
        return rows

    def _row(self, id: str, columns: list[str]) -> dict[str, Any]:
        for row in self._rows(_is_one_of("id", [id]), columns):
            return row
        raise ArchiveError(f"{self.folder}: there is no shot {id!r}. Search again: it may have been indexed anew.")

    # What is written

    def add(self, videos: Sequence[tuple[ArchivedVideo, Sequence[ArchivedShot]]]) -> None:
        """Add videos with all their shots, in place of what was there of them (by content). What somebody corrected stays."""
        if videos:
            with self._writing():
                self._add(videos)

    def _add(self, videos: Sequence[tuple[ArchivedVideo, Sequence[ArchivedShot]]]) -> None:
        import pyarrow

        contents = [video.content for video, _ in videos]
        kept = {row["id"]: row for row in self._rows(f"author != '' AND {_is_one_of('content', contents)}", _CORRECTION)}
        rows = [_corrected(_shot_row(shot), kept.get(shot.id)) for _, shots in videos for shot in shots]
        ids = [row["id"] for row in rows] or [""]
        gone = f"author = '' AND {_is_one_of('content', contents)} AND NOT {_is_one_of('id', ids)}"
        with _plainly(self.folder):
            merge = self._shots.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(pyarrow.Table.from_pylist(rows, schema=self._shots.schema))
            self._shots.delete(gone)
            # Last: a video whose row is there has all its shots.
            listed = [{**asdict(video), "path": str(video.path)} for video, _ in videos]
            merge = self._videos.merge_insert("content").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(pyarrow.Table.from_pylist(listed, schema=self._videos.schema))

    def move(self, video: ArchivedVideo) -> None:
        """A video that is there, by its content, is at this path now."""
        here = _is_one_of("content", [video.content])
        with self._writing():
            self._shots.update(where=here, values={"video": str(video.path)})
            found = {"path": str(video.path), "bytes": video.bytes, "modified_ns": video.modified_ns}
            self._videos.update(where=here, values=found)

    def forget(self, contents: Sequence[str]) -> None:
        """Remove videos and their shots. A shot that somebody corrected stays, and is found."""
        if contents:
            with self._writing():
                self._videos.delete(_is_one_of("content", contents))
                self._shots.delete(f"author = '' AND {_is_one_of('content', contents)}")

    def correct(self, id: str, text: str, who: str) -> None:
        """A new version of a caption, of this author and now. Raises ArchiveError for an empty text or author, or an unknown id."""
        text, who = " ".join(text.split()), " ".join(who.split())
        if not text or not who:
            missing = "text" if not text else "author"
            raise ArchiveError(f"{id}: a correction without {missing}. Expected a sentence, and who wrote it.")
        with self._writing():
            row = self._row(id, _CORRECTION)
            if row["caption"] == text and row["author"]:
                return
            now = datetime.now(UTC).isoformat(timespec="seconds")
            earlier = [*_versions(row), Version(row["caption"], row["author"], row["corrected"])]
            values = {
                "caption": text,
                "author": who,
                "corrected": now,
                "versions": json.dumps([asdict(one) for one in earlier]),
            }
            self._shots.update(where=_is_one_of("id", [id]), values=values)

    def note(self, roots: Sequence[Path] = (), models: Mapping[str, Any] | None = None) -> None:
        """Remember folders that videos come from, and what fingerprints of models stand for."""
        with self._writing():
            self.roots = tuple(dict.fromkeys([*self.roots, *roots]))
            self.models = {**self.models, **(models or {})}
            about = {"format": FORMAT, "space": asdict(self.space), "roots": list(map(str, self.roots)), "models": self.models}
            write_json(self.folder / ARCHIVE_FILE, about, ArchiveError)

    def optimize(self) -> None:
        """Bring the indices up to date, make those of a large archive, and join small files. Searches are right without it, but slower."""
        with self._writing():
            for table in (self._shots, self._videos):
                table.optimize(cleanup_older_than=timedelta(days=1))
            count = self._shots.count_rows()
            if count >= INDEXED_FROM:
                self._index(count)

    def _index(self, count: int) -> None:
        from lancedb.index import BTree, IvfFlat

        there = {column for one in self._shots.list_indices() for column in one.columns}
        groups = IvfFlat(distance_type="cosine", num_partitions=math.isqrt(count))
        for column, config in {"vector": groups, "id": BTree(), "content": BTree()}.items():
            if column not in there:
                self._shots.create_index(column, config=config)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A change. Raises ArchiveError in an archive that is open for reading."""
        if self._writes is Writes.never:
            raise ArchiveError(f"{self.folder}: is open for reading. Open it with write=True.")
        with _turn(self.folder) if self._writes is Writes.in_turn else nullcontext(), _plainly(self.folder):
            if self._writes is Writes.in_turn:
                about = _about(self.folder)  # others have changed it
                self.roots, self.models = tuple(map(Path, about["roots"])), about["models"]
            yield


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """The lock of the folder, which others hold for a moment only."""
    until = time.monotonic() + PATIENCE_SECONDS
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(folder_lock(folder, ArchiveError))
                break
            except ArchiveError as error:
                if (
                    isinstance(error.__cause__, OSError) or time.monotonic() > until
                ):  # it cannot be written, or is held all the time
                    raise
                time.sleep(random.uniform(0.05, 0.2))
        yield


_CORRECTION = ["id", "caption", "author", "corrected", "versions"]


def _fused(ranked: Mapping[Route, list[dict[str, Any]]]) -> list[Found]:
    """Reciprocal rank fusion of what the routes found."""
    scores: dict[str, float] = {}
    routes: dict[str, list[Route]] = {}
    rows: dict[str, dict[str, Any]] = {}
    for route, found in ranked.items():
        for rank, row in enumerate(found, start=1):
            scores[row["id"]] = scores.get(row["id"], 0.0) + 1 / (_RANK_OFFSET + rank)
            routes.setdefault(row["id"], []).append(route)
            rows[row["id"]] = row
    best = sorted(scores, key=lambda id: (-scores[id], id))
    return [Found(_shot(rows[id]), scores[id], tuple(routes[id])) for id in best]


def _is_one_of(column: str, values: Sequence[str]) -> str:
    """A condition in SQL."""
    listed = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{column} IN ({listed})"


def _columns(table: Any) -> list[str]:
    return [name for name in table.schema.names if name not in _NOT_READ]


def _versions(row: Mapping[str, Any]) -> list[Version]:
    return [Version(**one) for one in json.loads(row["versions"])]


def _video(row: Mapping[str, Any]) -> ArchivedVideo:
    return ArchivedVideo(**{**row, "path": Path(row["path"])})


def _shot(row: Mapping[str, Any]) -> ArchivedShot:
    names = ("id", "content", "start_seconds", "end_seconds", "caption", "score", "confidence", "model", "features", "author")
    return ArchivedShot(
        **{name: row[name] for name in names},
        video=Path(row["video"]),
        words=tuple((word, at) for word, at in json.loads(row["words"])),
        attention=json.loads(row["attention"]),
        frame_seconds=tuple(row["frame_seconds"]),
        when=row["corrected"],
    )


def _shot_row(shot: ArchivedShot) -> dict[str, Any]:
    row = {name: value for name, value in vars(shot).items() if name not in ("when", "embedding")}
    return row | {
        "video": str(shot.video),
        "words": json.dumps(shot.words),
        "attention": json.dumps(dict(shot.attention), separators=(",", ":")),
        "corrected": shot.when,
        "versions": "[]",
        "vector": shot.embedding,
    }


def _corrected(row: dict[str, Any], kept: Mapping[str, Any] | None) -> dict[str, Any]:
    """The row of a shot that was captioned again, with what somebody had made of its caption."""
    if kept is None:
        return row
    earlier = [asdict(one) for one in _versions(kept)]
    again = asdict(Version(row["caption"]))
    earlier += [again] if again not in earlier else []
    return row | {name: kept[name] for name in ("caption", "author", "corrected")} | {"versions": json.dumps(earlier)}


def _shot_schema(size: int) -> Any:
    import pyarrow as pa

    texts = dict.fromkeys(("id", "video", "content", "caption", "words", "attention", "model", "features"), pa.string())
    numbers = dict.fromkeys(("start_seconds", "end_seconds", "score", "confidence"), pa.float64())
    corrections = dict.fromkeys(("author", "corrected", "versions"), pa.string())
    others = {"frame_seconds": pa.list_(pa.float64()), "picture": pa.binary(), "vector": pa.list_(pa.float32(), size)}
    return pa.schema({**texts, **numbers, **corrections, **others})


def _video_schema() -> Any:
    import pyarrow as pa

    texts = dict.fromkeys(("content", "path", "model"), pa.string())
    return pa.schema({**texts, "bytes": pa.int64(), "modified_ns": pa.int64(), "duration_seconds": pa.float64()})


def _about(folder: Path) -> dict[str, Any]:
    """What archive.json says. Raises ArchiveError where it is none of ours."""
    if not (folder / ARCHIVE_FILE).is_file():
        what = "is not there" if not folder.exists() else "is no archive"
        if (folder / f"{_SHOTS}.lance").exists():
            what = "is an archive whose making was interrupted"
        raise ArchiveError(f"{folder}: {what}: it has no {ARCHIVE_FILE}. Make one: stap index VIDEOS --archive {folder}")
    try:
        about: dict[str, Any] = read_json(folder / ARCHIVE_FILE)
        if about["format"] != FORMAT:
            raise ArchiveError(
                f"{folder}: an archive of format {about['format']}, and this stap reads format {FORMAT}. {CAPTION_AGAIN}"
            )
        Space(**about["space"]), about["roots"], about["models"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArchiveError(f"{folder / ARCHIVE_FILE}: is damaged ({one_line(error)}). {CAPTION_AGAIN}") from error
    return about


def import_lancedb() -> Any:
    """The package. Raises MissingDependencyError that says how to install it."""
    os.environ.setdefault("LANCEDB_LOG", "error")  # it prints warnings about its own groups of vectors
    try:
        import lancedb
    except ImportError:
        raise MissingDependencyError(
            "an archive needs the package lancedb, which is not installed. Install it with: pip install 'stap[archive]'"
        ) from None
    return lancedb


def _connected(folder: Path) -> Any:
    return import_lancedb().connect(str(folder), read_consistency_interval=timedelta(0))


@contextmanager
def _plainly(folder: Path, where: str = "") -> Iterator[None]:
    """Errors of LanceDB as sentences.   where: a condition that came from outside."""
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        reason = one_line(error)
        if where and isinstance(error, ValueError):
            raise ArchiveError(
                f"{where!r} is no condition on shots: {reason}. Expected SQL, such as: confidence > 0.5"
            ) from None
        if "No space left" in reason or "os error 28" in reason:
            raise ArchiveError(
                f"{folder}: the disk is full. What was complete is kept: make room, and run the same line again."
            ) from error
        raise ArchiveError(f"{folder}: the archive cannot be used ({reason[:300]}). {CAPTION_AGAIN}") from error
