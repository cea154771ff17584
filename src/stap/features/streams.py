"""Several feature stores read as one: every video has all streams, in the shapes that models are promised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from stap.errors import FeatureError
from stap.features.extractor import Extractor, specs_of
from stap.features.imported import open_imported
from stap.features.shapes import check_array
from stap.features.store import FeatureStore
from stap.recipes.settings import FeatureSettings
from stap.recipes.streams import StreamSpec, differences

__all__ = ["FeatureStreams", "open_run_streams", "open_streams"]


class FeatureStreams:
    """Streams of the same videos, each in its own store.   specs: of each stream, by its name."""

    def __init__(self, stores: Mapping[str, FeatureStore]) -> None:
        self.stores = dict(stores)
        self.specs = {name: StreamSpec.from_fingerprint(name, store.fingerprint) for name, store in stores.items()}

    @property
    def digest(self) -> dict[str, str]:
        """The identity of these streams: the name of each one's folder, a hash of its fingerprint."""
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
                    f"{video_id}: {store.folder} holds {_listed(arrays)} of it, and no stream {name!r}. {_remedy(self.specs[name])}"
                )
            check_array(arrays[name], self.specs[name], source=video_id, remedy=_remedy(self.specs[name]))
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
                    f"{_remedy(self.specs[name])}"
                )


def open_streams(settings: FeatureSettings, extractors: Iterable[Extractor]) -> FeatureStreams:
    """The streams of these extractors in the recipe's store, and the imported ones. Raises FeatureError if one has no store."""
    stores = {name: FeatureStore.open(settings.store, spec.fingerprint) for name, spec in specs_of(extractors).items()}
    return FeatureStreams(stores | {name: open_imported(path, name) for name, path in settings.imported.items()})


def open_run_streams(settings: FeatureSettings, specs: Mapping[str, StreamSpec], store: Path | None = None) -> FeatureStreams:
    """The streams that a model was trained on; no extractor is built.

    specs: as `FeatureStreams.specs`.   store: where extracted features are now, if not where the settings say.
    Raises FeatureError, also where an imported store holds other features than in training.
    """
    stores = {}
    for name, spec in specs.items():
        if name not in settings.imported:
            stores[name] = FeatureStore.open(store or settings.store, spec.fingerprint)
            continue
        stores[name] = open_imported(settings.imported[name], name)
        if others := differences(spec.fingerprint, stores[name].fingerprint):
            raise FeatureError(
                f"{stores[name].folder}: not the features (stream {name}) that the model was trained on: {'; '.join(others)}. "
                f"Set features.imported.{name} to the store that it was trained on."
            )
    return FeatureStreams(stores)


def _listed(arrays: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {tuple(array.shape)}" for name, array in sorted(arrays.items())) or "nothing"


def _remedy(spec: StreamSpec) -> str:
    if spec.is_imported:
        return "Check the source, and run `stap import-features` on it again."
    return "Run `stap extract` with the same recipe first."
