"""Which video a name means: predictions name files as `stap caption` met them, references name clips by their place in a corpus.

films/kitchen/0001.mp4 means the clip kitchen/0001: one path ends with the other, the suffix of a video file aside.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from pathlib import PurePosixPath

from stap.errors import ScoringError
from stap.files import printable

__all__ = ["distinct_ids", "match_names", "video_id"]

Parts = tuple[str, ...]


def video_id(name: str) -> str:
    """A video's id; the name of a video file stands for its name without folder and suffix."""
    return PurePosixPath(name).stem if _is_video(name) else name


def distinct_ids(names: Iterable[str]) -> dict[str, str]:
    """An id for each name: its `video_id`; where two files share that, all files have their paths without suffix."""
    ids = {name: video_id(name) for name in names}
    without_suffix = {name: _without_suffix(name) if _is_video(name) else name for name in ids}
    return ids if len(set(ids.values())) == len(set(without_suffix.values())) else without_suffix


def match_names(names: Collection[str], ids: Iterable[str]) -> dict[str, str]:
    """The id of each name that has one.

    A name is an id, or its path ends with the id or the id with it, folder by folder; with the suffix of a video file if both have one,
    otherwise without. Of several the longest counts. Escapes that `stap caption` writes in lines stand for what they escape.
    Raises ScoringError, naming both, where a name may mean two ids or two names mean one.
    """
    places = _Places(ids)
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in names:
        video = places.find(name)
        if video is None:
            continue
        other = taken.setdefault(video, name)
        if other != name:
            raise ScoringError(
                f"{other} and {name} would both be scored as {video}. Give one caption per video; of two videos of one name, keep "
                "the folders that tell them apart in the references."
            )
        found[name] = video
    return found


class _Places:
    """Ids by the last part of their paths."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids = dict.fromkeys(ids)
        self.by_last_part: dict[str, list[str]] = defaultdict(list)
        for one in self.ids:
            for last in {parts[-1] for parts in (_parts(one), _parts(_without_suffix(one))) if parts}:
                self.by_last_part[last].append(one)

    def find(self, name: str) -> str | None:
        if name in self.ids:
            return name
        whole, stripped = _parts(name), _parts(_without_suffix(name))
        found = self._best(whole, _parts) or self._best(stripped, lambda one: _parts(_without_suffix(one)))
        if len(found) > 1:
            raise ScoringError(f"{name} may be {found[0]} or {found[1]}. Name the video by its path, such as {found[0]}.")
        return found[0] if found else None

    def _best(self, parts: Parts, parts_of: Callable[[str], Parts]) -> list[str]:
        """The ids that share the longest end of the path; of them those with exactly this path, if there are any."""
        candidates = [(parts_of(one), one) for one in self.by_last_part[parts[-1]]] if parts else []
        shared = [(min(len(parts), len(other)), other == parts, one) for other, one in candidates if _ends_alike(parts, other)]
        best = max(((length, exact) for length, exact, _ in shared), default=None)
        return [one for length, exact, one in shared if (length, exact) == best]


def _ends_alike(first: Parts, second: Parts) -> bool:
    length = min(len(first), len(second))
    return length > 0 and first[-length:] == second[-length:]


def _parts(name: str) -> Parts:
    return PurePosixPath(printable(name)).parts


def _is_video(name: str) -> bool:
    from stap.video.files import VIDEO_SUFFIXES  # its package is heavy

    return PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES


def _without_suffix(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix() if _is_video(name) else name
