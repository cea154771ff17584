"""Features on disk: a file a video, complete or absent, and one file that says how they were made.

<root>/<first 12 hex digits of the fingerprint's SHA-256>/extractor.json
                                                         /<video id>.safetensors
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import safetensors
import safetensors.torch
from torch import Tensor

from stap.errors import FeatureError
from stap.files import one_line, read_json, remove_leftovers, write_atomically
from stap.importers import checksums
from stap.recipes.streams import differences

__all__ = ["FeatureStore", "VideoFeatures"]

SUFFIX = ".safetensors"
EXTRACTOR_FILE = "extractor.json"
LONGEST_NAME = 255  # bytes, on the usual file systems


@dataclass(frozen=True)
class VideoFeatures:
    """The features of one video.

    arrays: by name: streams in the stored type, such as 'grid' (T, R, D), and what is kept for people: 'times_seconds' (T,)
    float32, boxes ...
    """

    arrays: dict[str, Tensor]
    warnings: tuple[str, ...] = ()


class FeatureStore:
    """Features of many videos with one fingerprint. Several processes and machines may fill one store at the same time.

    Nothing is created until `begin` or the first `write`; `open` and `at` are for reading.
    """

    def __init__(self, root: Path, fingerprint: Mapping[str, Any]) -> None:
        """The store of this fingerprint under root, to be filled. Raises FeatureError if its extractor.json was changed."""
        self.root = Path(root)
        self.fingerprint: dict[str, Any] = json.loads(_canonical(fingerprint))
        self.folder = self.root / _folder_name(fingerprint)
        self._is_begun = False
        self._sound: set[str] = set()  # videos whose checksum was compared; once a process is enough
        if (self.folder / EXTRACTOR_FILE).is_file():
            self._check_extractor_file()

    @classmethod
    def open(cls, root: Path, fingerprint: Mapping[str, Any]) -> FeatureStore:
        """The store of this fingerprint under root, for reading.

        Raises FeatureError if there is none, and says which features root holds instead.
        """
        store = cls(root, fingerprint)
        if not (store.folder / EXTRACTOR_FILE).is_file():
            raise FeatureError(store._why_absent())
        return store

    @classmethod
    def at(cls, folder: Path) -> FeatureStore:
        """The store whose folder this is, made as its extractor.json says. Raises FeatureError if there is none or it was changed."""
        fingerprint = _read_fingerprint(folder / EXTRACTOR_FILE)
        if folder.resolve().name != _folder_name(fingerprint):
            raise FeatureError(
                f"{folder / EXTRACTOR_FILE}: belongs to a folder of the name {_folder_name(fingerprint)}; it was changed by hand, or the "
                "folder renamed. Restore them."
            )
        return cls(folder.resolve().parent, fingerprint)

    def begin(self) -> None:
        """Make the folder and its extractor.json, if they do not exist. Raises FeatureError if they cannot be written."""
        if not (self.folder / EXTRACTOR_FILE).is_file():
            text = json.dumps(self.fingerprint, indent=2, sort_keys=True) + "\n"
            write_atomically(self.folder / EXTRACTOR_FILE, text.encode(), FeatureError)
        self._check_extractor_file()
        remove_leftovers(self.folder)
        self._is_begun = True

    def write(self, video_id: str, features: VideoFeatures) -> None:
        """Store the features of a video; afterwards they are on disk whole, or (on any error) not at all.

        Raises FeatureError when the disk is full or the folder cannot be written.
        """
        path = self._path(video_id)
        if not self._is_begun:
            self.begin()
        arrays = {name: array.contiguous() for name, array in features.arrays.items()}
        write_atomically(path, checksums.to_bytes(arrays, {"video_id": _quoted(video_id)}), FeatureError)
        self._sound.discard(video_id)

    def read(self, video_id: str) -> dict[str, Tensor]:
        """The arrays of a video, memory-mapped.

        The first time, all of the file is read and compared with its checksum; later, pages are read when they are touched.
        Raises FeatureError if the file is missing or damaged, or holds a value that is not a finite number.
        """
        path = self._path(video_id)
        try:
            metadata = self._check_owner(path, video_id)
            arrays = safetensors.torch.load_file(path)
        except FileNotFoundError as error:
            raise FeatureError(self._why_missing(video_id)) from error
        except (safetensors.SafetensorError, OSError) as error:
            raise FeatureError(
                f"{path}: damaged features ({one_line(error)}). Run `{self._maker}` again, which replaces them."
            ) from error
        if video_id not in self._sound:
            if found := checksums.damage(arrays, metadata):
                raise FeatureError(
                    f"{path}: damaged features of {video_id!r} ({found}). Delete this file and run `{self._maker}` again."
                )
            self._sound.add(video_id)
        return arrays

    @property
    def _maker(self) -> str:
        """The command that fills such a store."""
        return "stap import-features" if self.fingerprint.get("kind") == "imported" else "stap extract"

    def __contains__(self, video_id: object) -> bool:
        """Whether whole features of this video are there (header and length are checked, not every byte)."""
        if not isinstance(video_id, str):
            return False
        path = self._path(video_id)
        try:
            self._check_owner(path, video_id)
        except (safetensors.SafetensorError, OSError):
            return False
        return True

    def video_ids(self) -> Iterator[str]:
        """The ids of all videos in the store, in no particular order."""
        for path in self.folder.glob(f"[!.]*{SUFFIX}"):  # a name that begins with a dot is a file that is being written
            yield unquote(path.name.removesuffix(SUFFIX), errors="surrogateescape")

    def _path(self, video_id: str) -> Path:
        name = _quoted(video_id) + SUFFIX
        if not video_id or len(name.encode()) > LONGEST_NAME:
            raise FeatureError(
                f"{video_id!r}: cannot be a video id in a feature store. Expected 1 to {LONGEST_NAME - len(SUFFIX)} bytes when "
                f"quoted as a file name, found {len(name.encode()) - len(SUFFIX)}. Choose another id."
            )
        return self.folder / name

    def _check_owner(self, path: Path, video_id: str) -> dict[str, str]:
        """Opens the file, and so checks its header and length; and its id, for file systems where a.avi and A.avi are the same.

        Returns the file's metadata.
        """
        if path.exists() and not path.is_file():
            raise OSError(None, "it is no plain file", str(path))  # opening a named pipe would wait for ever
        with safetensors.safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
        owner = metadata.get("video_id")
        if owner != _quoted(video_id):
            raise FeatureError(
                f"{path}: holds the features of {unquote(owner or '?', errors='surrogateescape')!r}, not of {video_id!r}. "
                "Give videos ids that differ by more than upper and lower case."
            )
        return metadata

    def _why_missing(self, video_id: str) -> str:
        name = self._path(video_id).name
        holder = next((other for other in self._others_of_the_kind() if (other[0] / name).is_file()), None)
        made_otherwise = (
            f" {holder[0]} has them with another fingerprint: {'; '.join(differences(self.fingerprint, holder[1]))}."
            if holder
            else ""
        )
        return f"{self.folder}: no features of video {video_id!r}.{made_otherwise} Run `stap extract` with this recipe first."

    def _why_absent(self) -> str:
        what = self.fingerprint.get("stream") or self.fingerprint.get("kind", "features")
        if not self.root.is_dir():
            return f"{self.root}: no such feature store (stream {what}). Run `stap extract` first, or name the folder that it filled."
        others = [
            f"{folder.name} differs in {'; '.join(differences(self.fingerprint, made))}"
            for folder, made in self._others_of_the_kind()
        ]
        found = ". ".join(others) or f"It holds {', '.join(self._kinds()) or 'no features'}"
        return (
            f"{self.root}: no features of this fingerprint (stream {what}, folder {self.folder.name}). {found}. "
            "Run `stap extract` with this recipe first, or name another store."
        )

    def _kinds(self) -> list[str]:
        return sorted({str(made.get("stream") or made.get("kind")) for _, made in self._others()})

    def _others_of_the_kind(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Folders of the same kind of features in this root, and how those were made."""
        for folder, made in self._others():
            if all(made.get(key) == self.fingerprint.get(key) for key in ("kind", "stream")):
                yield folder, made

    def _others(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        for path in sorted(self.root.glob(f"*/{EXTRACTOR_FILE}")):
            if path.parent != self.folder:
                with contextlib.suppress(FeatureError):
                    yield path.parent, _read_fingerprint(path)

    def _check_extractor_file(self) -> None:
        path = self.folder / EXTRACTOR_FILE
        found = _read_fingerprint(path)
        if changes := differences(self.fingerprint, found):
            raise FeatureError(f"{path}: was changed by hand: {'; '.join(changes)}. Restore it, or use another store.")


def _read_fingerprint(path: Path) -> dict[str, Any]:
    try:
        return dict(read_json(path))
    except (OSError, ValueError, TypeError) as error:
        raise FeatureError(
            f"{path}: cannot be read as JSON ({error}). Delete this one file if the folder is as stap wrote it, and run again."
        ) from error


def _quoted(video_id: str) -> str:
    """A file name for any id, reversed by `urllib.parse.unquote`. Letters of all languages stay readable."""
    quoted = "".join(c if c.isalnum() or c in "-_." else quote(c, safe="", errors="surrogateescape") for c in video_id)
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted  # no hidden files


def _folder_name(fingerprint: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(fingerprint).encode()).hexdigest()[:12]


def _canonical(fingerprint: Mapping[str, Any]) -> str:
    return json.dumps(fingerprint, sort_keys=True, separators=(",", ":"))
