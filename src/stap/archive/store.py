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
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from pathlib import Path
from typing import Any

import numpy as np

from stap.archive.database import (
    ARCHIVE_FILE,
    FORMAT,
    SHOTS,
    VIDEOS,
    connected,
    errors_as_sentences,
    import_lancedb,
    read_about,
    turn,
)
from stap.archive.records import ArchivedShot, ArchivedVideo, Found, Query, Route, Space, Version
from stap.archive.rows import (
    CORRECTION,
    columns_of,
    is_one_of,
    row_of,
    shot_of,
    shot_schema,
    versions_of,
    video_of,
    video_schema,
    with_correction,
)
from stap.errors import ArchiveError
from stap.files import folder_lock, write_json

__all__ = ["Archive"]

_RANK_OFFSET = 60  # of reciprocal rank fusion (Cormack et al. 2009)
_CANDIDATES = 4  # that each route gives, for each that is wanted
# From so many shots on, shots are looked up by indices instead of being read through. Vectors are grouped (IVF): a search compares those of
# the nearest 40 groups of isqrt(shots).
INDEXED_FROM, _GROUPS_SEARCHED = 200_000, 40


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
        with errors_as_sentences(folder):
            self._database = connected(folder)
            self._shots, self._videos = (self._database.open_table(name) for name in (SHOTS, VIDEOS))

    @classmethod
    @contextmanager
    def open(cls, folder: Path, *, write: bool = False) -> Iterator[Archive]:
        """The archive in the folder. Raises ArchiveError if there is none, if it is of another format, or if another process writes."""
        about = read_about(folder)
        if not write:
            yield cls(folder, about, Writes.never)
            return
        with folder_lock(folder, ArchiveError):
            yield cls(folder, read_about(folder), Writes.alone)

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
        with turn(folder):
            if not (folder / ARCHIVE_FILE).is_file():
                cls._make(folder, space)
        yield cls(folder, read_about(folder), Writes.in_turn)

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
        unfinished = {f"{name}.lance" for name in (SHOTS, VIDEOS)}  # of a process that was killed before it wrote ARCHIVE_FILE
        if there - unfinished:
            raise ArchiveError(f"{folder}: is not empty, and a new archive needs a folder of its own. Name another one.")
        for name in there:
            shutil.rmtree(folder / name)
        with errors_as_sentences(folder):
            from lancedb.index import FTS

            database = connected(folder)
            shots = database.create_table(SHOTS, schema=shot_schema(space.size))
            shots.create_index("caption", config=FTS())
            database.create_table(VIDEOS, schema=video_schema())
        about = {"format": FORMAT, "space": asdict(space), "roots": [], "models": {}}
        write_json(folder / ARCHIVE_FILE, about, ArchiveError)
        return about

    # What is read

    def count(self) -> int:
        """How many shots there are."""
        with errors_as_sentences(self.folder):
            return int(self._shots.count_rows())

    def videos(self) -> list[ArchivedVideo]:
        """All videos, by their paths."""
        with errors_as_sentences(self.folder):
            rows = self._videos.search().limit(None).to_list()
        return sorted(map(video_of, rows), key=lambda video: video.path)

    def video(self, content: str) -> ArchivedVideo | None:
        """The video with this content, if it is there."""
        with errors_as_sentences(self.folder):
            rows = self._videos.search().where(is_one_of("content", [content])).limit(1).to_list()
        return next(map(video_of, rows), None)

    def states(self, shots: Iterable[ArchivedShot]) -> dict[str, str]:
        """What became of the videos of these shots, by content: 'present', 'missing' or 'changed'; see `ArchivedVideo.state`."""
        contents = list(dict.fromkeys(shot.content for shot in shots))
        with errors_as_sentences(self.folder):
            rows = self._videos.search().where(is_one_of("content", contents)).limit(None).to_list() if contents else []
        return dict.fromkeys(contents, "missing") | {row["content"]: video_of(row).state for row in rows}

    def shots(self, ids: Sequence[str]) -> list[ArchivedShot]:
        """The shots of these ids, in their order; ids that are not there are left out."""
        found = {row["id"]: shot_of(row) for row in self._rows(is_one_of("id", ids), columns_of(self._shots))} if ids else {}
        return [found[one] for one in ids if one in found]

    def shots_of(self, video: Path) -> list[ArchivedShot]:
        """The shots of the video at this path, in their order in time."""
        rows = self._rows(is_one_of("video", [str(video)]), columns_of(self._shots))
        return sorted(map(shot_of, rows), key=lambda shot: shot.start_seconds)

    def picture(self, id: str) -> bytes:
        """The key frame of a shot as JPEG; empty where none was kept. Raises ArchiveError for an id that is not there."""
        return bytes(self._row(id, ["id", "picture"])["picture"])

    def vector(self, id: str) -> np.ndarray:
        """(H,) the embedding of a shot, to look for others like it. Raises ArchiveError for an id that is not there."""
        return np.array(self._row(id, ["id", "vector"])["vector"], np.float32)

    def versions(self, id: str) -> list[Version]:
        """Every version of a shot's caption, the current one last. Raises ArchiveError for an id that is not there."""
        row = self._row(id, ["id", "caption", "author", "corrected", "versions"])
        return [*versions_of(row), Version(row["caption"], row["author"], row["corrected"])]

    def corrected(self) -> list[ArchivedShot]:
        """The shots whose caption somebody corrected, by video and time."""
        found = map(shot_of, self._rows("author != ''", columns_of(self._shots)))
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
        with errors_as_sentences(self.folder, where):
            if where.strip():
                search = search.where(f"({where})", prefilter=True)
            rows: list[dict[str, Any]] = search.select([*columns_of(self._shots), rank]).limit(most).to_list()
        return rows

    def _rows(self, where: str, columns: list[str]) -> list[dict[str, Any]]:
        with errors_as_sentences(self.folder):
            rows: list[dict[str, Any]] = self._shots.search().where(where).select(columns).limit(None).to_list()
        return rows

    def _row(self, id: str, columns: list[str]) -> dict[str, Any]:
        for row in self._rows(is_one_of("id", [id]), columns):
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
        kept = {row["id"]: row for row in self._rows(f"author != '' AND {is_one_of('content', contents)}", CORRECTION)}
        rows = [with_correction(row_of(shot), kept.get(shot.id)) for _, shots in videos for shot in shots]
        ids = [row["id"] for row in rows] or [""]
        gone = f"author = '' AND {is_one_of('content', contents)} AND NOT {is_one_of('id', ids)}"
        with errors_as_sentences(self.folder):
            merge = self._shots.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(pyarrow.Table.from_pylist(rows, schema=self._shots.schema))
            self._shots.delete(gone)
            # Last: a video whose row is there has all its shots.
            listed = [{**asdict(video), "path": str(video.path)} for video, _ in videos]
            merge = self._videos.merge_insert("content").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(pyarrow.Table.from_pylist(listed, schema=self._videos.schema))

    def move(self, video: ArchivedVideo) -> None:
        """A video that is there, by its content, is at this path now."""
        here = is_one_of("content", [video.content])
        with self._writing():
            self._shots.update(where=here, values={"video": str(video.path)})
            found = {"path": str(video.path), "bytes": video.bytes, "modified_ns": video.modified_ns}
            self._videos.update(where=here, values=found)

    def forget(self, contents: Sequence[str]) -> None:
        """Remove videos and their shots. A shot that somebody corrected stays, and is found."""
        if contents:
            with self._writing():
                self._videos.delete(is_one_of("content", contents))
                self._shots.delete(f"author = '' AND {is_one_of('content', contents)}")

    def correct(self, id: str, text: str, who: str) -> None:
        """A new version of a caption, of this author and now. Raises ArchiveError for an empty text or author, or an unknown id."""
        text, who = " ".join(text.split()), " ".join(who.split())
        if not text or not who:
            missing = "text" if not text else "author"
            raise ArchiveError(f"{id}: a correction without {missing}. Expected a sentence, and who wrote it.")
        with self._writing():
            row = self._row(id, CORRECTION)
            if row["caption"] == text and row["author"]:
                return
            now = datetime.now(UTC).isoformat(timespec="seconds")
            earlier = [*versions_of(row), Version(row["caption"], row["author"], row["corrected"])]
            values = {
                "caption": text,
                "author": who,
                "corrected": now,
                "versions": json.dumps([asdict(one) for one in earlier]),
            }
            self._shots.update(where=is_one_of("id", [id]), values=values)

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
        with turn(self.folder) if self._writes is Writes.in_turn else nullcontext(), errors_as_sentences(self.folder):
            if self._writes is Writes.in_turn:
                about = read_about(self.folder)  # others have changed it
                self.roots, self.models = tuple(map(Path, about["roots"])), about["models"]
            yield


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
    return [Found(shot_of(rows[id]), scores[id], tuple(routes[id])) for id in best]
