"""Several feature stores read as one: every video has all streams, in the shapes that models are promised."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from stap.config import FeatureSettings
from stap.errors import FeatureError
from stap.features.extractor import Extractor, fingerprints_of
from stap.features.imported import open_imported
from stap.features.store import FeatureStore

__all__ = ["AXES", "FeatureStreams", "check_array", "open_run_streams", "open_streams"]

# Axes of one video's array: T frames or clips, R locations, N regions, D features. A batch puts B before them.
AXES: Mapping[str, tuple[str, ...]] = {"grid": ("TRD",), "frames": ("TD",), "motion": ("D", "TD"), "regions": ("TND",)}
NOTHING = {"T": "no frame", "R": "no location", "N": "no region", "D": "no feature"}


class FeatureStreams:
    """Streams of the same videos, each in its own store, with what training asks of a store.

    fingerprint: stream to how it was made.
    """

    def __init__(self, stores: Mapping[str, FeatureStore]) -> None:
        self.stores = dict(stores)
        self.fingerprint: dict[str, dict[str, Any]] = {name: store.fingerprint for name, store in stores.items()}

    @property
    def digest(self) -> dict[str, str]:
        """What tells these streams from others: the name of each one's folder, a hash of its fingerprint."""
        return {name: store.folder.name for name, store in self.stores.items()}

    def read(self, video_id: str) -> dict[str, Tensor]:
        """The arrays of a video that models are given, memory-mapped, by stream.

        Raises FeatureError if one is missing or damaged, has another shape than its stream or its fingerprint promise, or is 0
        everywhere: that is how some tools write what they do not have, and a model would learn from it.
        """
        streams = {}
        for name, store in self.stores.items():
            arrays = store.read(video_id)
            if name not in arrays:
                raise FeatureError(
                    f"{video_id}: {store.folder} holds {_listed(arrays)} of it, and no stream {name!r}. {_remedy(store.fingerprint)}"
                )
            check_array(name, arrays[name], store.fingerprint, source=video_id, remedy=_remedy(store.fingerprint))
            streams[name] = arrays[name]
        return streams

    def arrays(self, video_id: str) -> dict[str, dict[str, Tensor]]:
        """All arrays of a video by stream, with what is kept for people: times, boxes ... Raises FeatureError as a store does."""
        return {name: store.read(video_id) for name, store in self.stores.items()}

    def __contains__(self, video_id: object) -> bool:
        """Whether the features of this video are in every store."""
        return all(video_id in store for store in self.stores.values())

    def check_complete(self, video_ids: Sequence[str]) -> None:
        """Raises FeatureError that names the stream and some of the videos if any video lacks it."""
        for name, store in self.stores.items():
            if missing := [video_id for video_id in video_ids if video_id not in store]:
                shown = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
                raise FeatureError(
                    f"{store.folder}: no features (stream {name}) of {len(missing)} of {len(video_ids)} clips ({shown}). "
                    f"{_remedy(store.fingerprint)}"
                )


def open_streams(settings: FeatureSettings, extractors: Iterable[Extractor]) -> FeatureStreams:
    """The streams of these extractors in the recipe's store, and the imported ones. Raises FeatureError."""
    stores = {name: FeatureStore(settings.store, made) for name, made in fingerprints_of(extractors).items()}
    return FeatureStreams(stores | {name: open_imported(path, name) for name, path in settings.imported.items()})


def open_run_streams(
    settings: FeatureSettings, fingerprint: Mapping[str, Mapping[str, Any]], store: Path | None = None
) -> FeatureStreams:
    """The streams that a model was trained on; no extractor is built.

    fingerprint: by stream, as `FeatureStreams.fingerprint`.   store: where extracted features are now, if not where the
    settings say. Raises FeatureError, also where an imported store holds something else than in training.
    """
    stores = {}
    for name, made in fingerprint.items():
        if name not in settings.imported:
            stores[name] = FeatureStore(store or settings.store, made)
            continue
        stores[name] = open_imported(settings.imported[name], name)
        if differences := FeatureStore.differences(stores[name].fingerprint, made):
            raise FeatureError(
                f"{stores[name].folder}: not the features (stream {name}) that the model was trained on: {'; '.join(differences)}. "
                f"Set features.imported.{name} to the store that it was trained on."
            )
    return FeatureStreams(stores)


def check_array(name: str, array: Tensor, fingerprint: Mapping[str, Any], *, source: str, remedy: str) -> None:
    """Raises FeatureError unless the array has the axes of its stream and the sizes of its fingerprint, and is not all 0.

    source, remedy: how the message begins, and its last sentence.
    """
    shape = tuple(array.shape)
    fitting = [axes for axes in AXES[name] if _fits(shape, axes, fingerprint)]
    if not fitting:
        expected = " or ".join(_shown(axes, fingerprint) for axes in AXES[name])
        raise FeatureError(f"{source}: stream {name} has the shape {shape}, expected {expected}. {remedy}")
    if 0 in shape:
        raise FeatureError(
            f"{source}: stream {name} has the shape {shape}, which holds {NOTHING[fitting[0][shape.index(0)]]}; "
            f"expected {_shown(fitting[0], fingerprint)} with at least one of each. {remedy}"
        )
    if not array.any():
        raise FeatureError(f"{source}: stream {name}, of shape {shape}, is 0 everywhere; expected features. {remedy}")


def _fits(shape: tuple[int, ...], axes: str, fingerprint: Mapping[str, Any]) -> bool:
    sizes = _sizes(fingerprint)
    return len(shape) == len(axes) and all(
        size == sizes.get(axis, size) for size, axis in zip(shape, axes, strict=True) if size
    )


def _shown(axes: str, fingerprint: Mapping[str, Any]) -> str:
    sizes = _sizes(fingerprint)
    inner = ", ".join(str(sizes.get(axis, axis)) for axis in axes)
    return f"({inner},)" if len(axes) == 1 else f"({inner})"


def _sizes(fingerprint: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that a fingerprint promises, by axis."""
    sizes = {"D": fingerprint["feature_size"]} if "feature_size" in fingerprint else {}
    return sizes | ({"R": math.prod(fingerprint["grid"])} if "grid" in fingerprint else {})


def _listed(arrays: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {tuple(array.shape)}" for name, array in sorted(arrays.items())) or "nothing"


def _remedy(fingerprint: Mapping[str, Any]) -> str:
    if fingerprint.get("kind") == "imported":
        return "Check the source, and run `stap import-features` on it again."
    return "Run `stap extract` with the same recipe first."
