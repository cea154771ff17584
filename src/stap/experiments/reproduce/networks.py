"""The networks of the rows' features: their weights, and the extraction of shared features."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from stap.corpora.corpus import Clip
from stap.errors import StapError
from stap.experiments.reproduce.request import network_of
from stap.experiments.stages import progress_lines
from stap.features.extract import extract
from stap.features.extractor import Extractor, build_extractor, sections_to_extract
from stap.features.store import FeatureStore
from stap.recipes.settings import Recipe

__all__ = ["Extracted", "FeatureSource", "build", "extract_all", "feature_sources"]

SHOWN = 5  # videos that failed, named one by one
Say = Callable[[str], None]


@dataclass(frozen=True)
class FeatureSource:
    """Where features come from: the settings of a network, a section of a recipe. Rows with the same settings share its store."""

    section: str
    settings: Any = field(hash=False)
    key: str = ""

    @property
    def network(self) -> str:
        """The name of the network."""
        return network_of(self.section, self.settings)


@dataclass(frozen=True)
class Extracted:
    """The features of a source.

    stores: by stream.   weights_file: for model folders to carry.   failed: clip id to reason.   error: why nothing was
    extracted; the rest is then empty.
    """

    source: FeatureSource
    stores: Mapping[str, FeatureStore] = field(default_factory=dict)
    weights_file: Path | None = None
    failed: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None


def feature_sources(recipe: Recipe) -> tuple[FeatureSource, ...]:
    """What the extractors of a recipe are made from, less streams that are imported."""
    settings = {section: getattr(recipe, section) for section in sections_to_extract(recipe)}
    return tuple(FeatureSource(section, made_by, _key(section, made_by)) for section, made_by in settings.items())


def build(source: FeatureSource, device: torch.device | str) -> Extractor:
    """The extractor of these settings. Raises CheckpointError, ConfigError or FeatureError."""
    return build_extractor(source.section, source.settings, device)


def extract_all(
    sources: Iterable[FeatureSource],
    clips: Sequence[Clip],
    store: Path,
    device: torch.device,
    say: Say,
) -> dict[str, Extracted]:
    """Bring the features of all clips into the store, source by source; by the sources' keys. Stored features are kept.

    A network that cannot be built, because its weights are missing, damaged or of another network, does not stop the others.
    Raises FeatureError if the store cannot be written.
    """
    done: dict[str, Extracted] = {}
    for source in sources:
        if source.key not in done:
            done[source.key] = _extract(source, clips, store, device, say)
    return done


def _extract(source: FeatureSource, clips: Sequence[Clip], store: Path, device: torch.device, say: Say) -> Extracted:
    try:
        extractor = build(source, device)
    except StapError as error:
        say(f"  {source.section}, {source.network}: not extracted. {error}")
        return Extracted(source, error=str(error))
    folder = FeatureStore(store, extractor.spec.fingerprint)
    name = extractor.spec.stream
    report = extract(
        [(clip.id, clip.path) for clip in clips],
        extractor,
        folder,
        on_progress=progress_lines(say, "videos", parts=10),
    )
    say(
        f"  {name} ({source.network}): {report.written} written, {report.already_there} already there, {len(report.failed)} failed"
    )
    for video_id, reason in report.failed[:SHOWN]:
        say(f"    {video_id}: {reason}")
    if len(report.failed) > SHOWN:
        say(f"    and {len(report.failed) - SHOWN:,} more")
    return Extracted(source, {name: folder}, extractor.weights_file, dict(report.failed))


def _key(section: str, settings: Any) -> str:
    """The same for the same features: without the place of the store."""
    left_out = {"store", "imported"}
    return f"{section} {json.dumps(settings.model_dump(mode='json', exclude=left_out), sort_keys=True)}"
