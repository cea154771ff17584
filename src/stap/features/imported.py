"""Precomputed features, imported into a feature store. The fingerprint of such a store identifies the imported files; how their
features were extracted is unknown.
"""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from stap.errors import FeatureError
from stap.features.shapes import check_array
from stap.features.store import EXTRACTOR_FILE, FeatureStore, VideoFeatures
from stap.files import read_bytes, sha256_of_file, shortened
from stap.importers.array_files import FILES_OF_A_VIDEO, FoundArray, find_files, list_arrays, read_array
from stap.recipes.streams import AXES, StreamSpec

__all__ = ["ImportReport", "import_features", "open_imported", "read_mapping"]

MAPPING = "Name a text file of lines 'source id, space, new id'."
REMEDY = "Check the stream and the source."


@dataclass(frozen=True)
class ImportReport:
    """What became of the arrays. failed: (what, why), in the order of the files."""

    store: FeatureStore
    written: int
    already_there: int
    failed: tuple[tuple[str, str], ...]


def import_features(
    sources: Sequence[Path],
    out: Path,
    stream: str,
    *,
    mapping: Path | None = None,
    stored_as: Literal["float16", "float32"] = "float32",
    average: int = 1,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> ImportReport:
    """Write the arrays of all files to a store in `out`. Stored arrays are kept: run again to finish a killed run.

    sources: files and folders, see `array_files.list_arrays`.   stream: grid, frames, motion or regions.
    mapping: a file of lines 'source id, new id', such as MSVD's youtube_mapping.txt; without it, ids stay as they are.
    average: so many consecutive frames become one, their mean; the last of a video may be fewer.
    on_progress: called as (arrays done, arrays in all, video id).

    The first array sets all sizes except the number of frames. An array with other sizes, all zeros, or NaN or infinite values is
    listed in the report and skipped. Raises FeatureError if nothing can be imported.
    """
    _check_stream(stream)
    if average > 1 and stream == "regions":
        raise FeatureError("regions of several frames are not the same objects, so they have no mean. Leave out --average.")
    files = find_files(sources)
    ids = None if mapping is None else read_mapping(mapping)
    failed: list[tuple[str, str]] = []
    found = list(_with_ids(_listed(files, failed), ids, mapping, failed))
    made: dict[str, Any] = {
        "kind": "imported",
        "stream": stream,
        "stored_as": stored_as,
        "source_sha256": _sha256_of_files(files),
    }
    made |= {"ids": "as in the source" if mapping is None else sha256_of_file(mapping)}
    made |= {"frames_averaged": average} if average > 1 else {}
    store: FeatureStore | None = None
    written = already_there = 0
    for done, (video_id, array) in enumerate(found, start=1):
        try:
            if store is None:
                store = FeatureStore(out, made | _sizes(stream, array, average))
                store.begin()
            features = None if video_id in store else _features(array, StreamSpec.from_fingerprint(stream, store.fingerprint))
        except FeatureError as error:
            failed.append((video_id, str(error)))
        else:
            if features is not None:
                store.write(video_id, features)  # an error here is the disk's, and would meet every video
            written, already_there = written + (features is not None), already_there + (features is None)
        if on_progress:
            on_progress(done, len(found), video_id)
    if store is None:
        reason = failed[0][1] if failed else "the files hold no arrays."
        raise FeatureError(f"nothing could be imported from {', '.join(map(str, sources[:3]))}. The first reason: {reason}")
    return ImportReport(store, written, already_there, tuple(failed))


def open_imported(folder: Path, stream: str) -> FeatureStore:
    """The imported store of a stream: `folder` itself, or the only such store in it. Raises FeatureError."""
    if (folder / EXTRACTOR_FILE).is_file():
        stores = [FeatureStore.at(folder)]
    else:
        stores = [FeatureStore.at(path.parent) for path in sorted(folder.glob(f"*/{EXTRACTOR_FILE}"))]
    found = [
        store for store in stores if (store.fingerprint.get("kind"), store.fingerprint.get("stream")) == ("imported", stream)
    ]
    if not found:
        raise FeatureError(
            f"{folder}: no imported features of the stream {stream!r}. Run `stap import-features` and set "
            f"features.imported.{stream} to the folder that it prints."
        )
    if len(found) > 1:
        raise FeatureError(
            f"{folder}: holds {len(found)} imports of the stream {stream!r}: {', '.join(store.folder.name for store in found)}. "
            f"Set features.imported.{stream} to one of these folders."
        )
    return found[0]


def read_mapping(file: Path) -> dict[str, str]:
    """Lines of two ids, with a space between, as a dictionary from the first to the second. Raises FeatureError."""
    try:
        text = read_bytes(file, FeatureError, MAPPING).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FeatureError(f"{file}: cannot be read ({error}). {MAPPING}") from error
    lines = [line.split() for line in text.splitlines() if line.strip()]
    ids: dict[str, str] = {}
    for number, words in enumerate(lines, start=1):
        if len(words) != 2 or words[0] in ids:
            raise FeatureError(
                f"{file}, line {number}: {shortened(' '.join(words))!r}. Expected 'source id, space, new id', each source id once."
            )
        ids[words[0]] = words[1]
    return ids


def _check_stream(stream: str) -> None:
    if stream not in AXES:
        near = difflib.get_close_matches(stream, AXES, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise FeatureError(f"{stream!r}: no such stream{hint} Expected one of {', '.join(AXES)}.")


def _listed(files: Sequence[tuple[str, Path]], failed: list[tuple[str, str]]) -> Iterator[FoundArray]:
    """The arrays; of files of one video each, two of one name in two folders have the folders in the ids of all."""
    paths = [PurePosixPath(name).with_suffix("") for name, file in files if file.suffix.lower() in FILES_OF_A_VIDEO]
    have_folders = len({path.name for path in paths}) < len(set(paths))
    for name, file in files:
        try:
            for array in list_arrays(file):
                is_named = have_folders and file.suffix.lower() in FILES_OF_A_VIDEO
                yield replace(array, video_id=PurePosixPath(name).with_suffix("").as_posix()) if is_named else array
        except FeatureError as error:
            failed.append((name, str(error)))


def _with_ids(
    arrays: Iterable[FoundArray], ids: Mapping[str, str] | None, mapping: Path | None, failed: list[tuple[str, str]]
) -> Iterator[tuple[str, FoundArray]]:
    """Each array with its id in the store. An array without an id, or with a repeated one, fails."""
    taken: dict[str, FoundArray] = {}
    for array in arrays:
        video_id = array.video_id if ids is None else ids.get(array.video_id)
        if video_id is None:
            failed.append((array.video_id, f"{array}: {mapping} has no line that begins with {array.video_id!r}. Add it."))
        elif video_id in taken:
            failed.append((video_id, f"{array}: {taken[video_id]} is of the same video, {video_id!r}. Import one of them."))
        else:
            taken[video_id] = array
            yield video_id, array


def _sizes(stream: str, array: FoundArray, average: int) -> dict[str, Any]:
    """The sizes of the first array, which all others must have, except the number of frames."""
    values = _tensor(stream, array, average)
    check_array(values, StreamSpec(stream, feature_size=0), source=str(array), remedy=REMEDY)
    axes = next(axes for axes in AXES[stream] if len(axes) == values.dim())
    sizes = dict(zip(axes, values.shape, strict=True))
    return {
        "shape": [axis if axis == "T" else size for axis, size in sizes.items()],
        "feature_size": sizes["D"],
        **({"regions": sizes["N"]} if "N" in sizes else {}),
        **({"grid": [sizes["R"]]} if "R" in sizes else {}),  # rows and columns are unknown
    }


def _features(array: FoundArray, spec: StreamSpec) -> VideoFeatures:
    values = _tensor(spec.stream, array, spec.fingerprint.get("frames_averaged", 1))
    check_array(values, spec, source=str(array), remedy=REMEDY)
    largest = float(values.abs().max())
    if not math.isfinite(largest):
        raise FeatureError(f"{array}: holds NaN or infinite values. Expected features.")
    kind = torch.float16 if spec.fingerprint["stored_as"] == "float16" else torch.float32
    if largest > torch.finfo(kind).max:
        raise FeatureError(f"{array}: the largest feature is {largest:.6g}, and float16 ends at 65504. Store them as float32.")
    return VideoFeatures({spec.stream: values.to(kind)})


def _tensor(stream: str, array: FoundArray, average: int) -> Tensor:
    """The array, with so many frames averaged into one; in a grid one vector a frame, (T, D), is one location."""
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is refused as such
        values = torch.from_numpy(np.array(read_array(array), dtype=np.float32, order="C"))
    if stream == "grid" and values.dim() == 2:
        values = values.unsqueeze(1)
    if average == 1 or values.dim() < 2:
        return values
    return torch.stack([frames.mean(dim=0) for frames in torch.split(values, average)])


def _sha256_of_files(files: Sequence[tuple[str, Path]]) -> str:
    """Of a single file, its own; of several, of the list of their hashes and names."""
    if len(files) == 1:
        return sha256_of_file(files[0][1])
    lines = [f"{sha256_of_file(path)}  {name}\n" for name, path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
