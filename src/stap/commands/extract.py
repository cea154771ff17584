"""`stap extract`: the features of a corpus, into its store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stap.commands.shared.cluster import MARKS, File
from stap.commands.shared.console import complain, interruptible, progress, say, warn
from stap.commands.shared.limits import AllowPlaylistsOption, IsolateOption, with_playlists
from stap.commands.shared.machines import MachineOptions
from stap.commands.shared.option_groups import with_option_groups
from stap.commands.shared.options import DeviceOption, OverridesArgument, RecipeArgument, SeedOption, with_seed
from stap.commands.shared.spread import Extraction
from stap.errors import StapError

if TYPE_CHECKING:
    from stap.commands.shared.cluster import Cluster
    from stap.features.extract import ExtractionReport
    from stap.features.store import FeatureStore


@with_option_groups
def extract(
    machines: MachineOptions,
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    workers: Annotated[int, typer.Option(min=1, help="Videos decoded at the same time.")] = 2,
    allow_playlists: AllowPlaylistsOption = False,
    isolate: IsolateOption = None,
    device: DeviceOption = "auto",
    seed: SeedOption = None,
) -> None:
    """Extract the frame, motion and region features of a recipe's videos into its feature store.

    Videos in the store are skipped, so the same command continues an interrupted run. Videos without usable frames are listed at the
    end, and the exit status is then 1.
    """
    from stap.recipes.files import load_recipe

    settings, shard = load_recipe(recipe, with_playlists(with_seed(overrides, seed), allow_playlists)), machines.part()

    from stap.corpora.loading import load_corpus_with_files
    from stap.features.device import choose_device
    from stap.features.extract import extract as extract_features
    from stap.features.extractor import build_extractors, sections_to_extract
    from stap.features.store import FeatureStore

    if not sections_to_extract(settings):
        imported = ", ".join(settings.features.imported)
        say(f"nothing to extract: {imported} imported." if imported else "nothing to extract: the recipe names no network.")
        return
    corpus = load_corpus_with_files(settings.corpus)
    items = [(clip.id, clip.path) for clip in corpus.clips if shard is None or shard.holds(clip.id)]
    if shard is not None:
        say(f"part {shard}: {len(items)} of {len(corpus.clips)} videos.")
    limits = settings.corpus.limits
    limits = limits.for_files(len(corpus.clips)) if isolate is None else limits.model_copy(update={"isolate": isolate})
    with (
        interruptible("What is extracted stays; run the same command again to continue."),
        machines.connected(device) as cluster,
    ):
        extractors = build_extractors(settings, choose_device(machines.device_here(device)), limits)
        stores = [FeatureStore(settings.features.store, one.spec.fingerprint) for one in extractors]
        names = [f" {one.spec.stream}" if len(extractors) > 1 else "" for one in extractors]
        if cluster is not None:
            reports = _spread(cluster, Extraction(settings, limits, device, workers), items, stores)
        else:
            reports = []
            for name, extractor, store in zip(names, extractors, stores, strict=True):
                with progress(f"extract{name}") as report:
                    reports.append(extract_features(items, extractor, store, workers=workers, on_progress=report))
    _say_what_was_done(list(zip(names, stores, reports, strict=True)))


def _spread(
    cluster: Cluster, work: Extraction, items: Sequence[tuple[str, Path]], stores: Sequence[FeatureStore]
) -> list[ExtractionReport]:
    """What became of the videos in each stream, by the workers of a cluster."""
    from stap.features.extract import ExtractionReport

    for store in stores:
        store.begin()
    left = [File(*item) for item in items if not all(_has(store, item[0]) for store in stores)]
    done = len(items) - len(left)
    parts = [[ExtractionReport(0, done, (), ())] for _ in stores]
    with progress("extract") as report:
        for files, found in cluster.run(work, left, stores[0].folder / MARKS):
            done += len(files)
            report(done, len(items), files[-1].name)
            if isinstance(found, StapError):
                found = [ExtractionReport(0, 0, ((files[0].name, str(found)),), ())] * len(stores)
            for part, one in zip(parts, found, strict=True):
                part.append(one)
    return [ExtractionReport.of_parts(part, [name for name, _ in items]) for part in parts]


def _has(store: FeatureStore, video_id: str) -> bool:
    try:
        return video_id in store
    except StapError:  # an id that cannot be stored, which a worker reports
        return False


def _say_what_was_done(done: Sequence[tuple[str, FeatureStore, ExtractionReport]]) -> None:
    """Of each stream: its name where there are several, its store, and what became of the videos. Exits with 1 if some failed."""
    for sentence in dict.fromkeys(sentence for _, _, result in done for sentence in result.warnings):
        warn(sentence)
    for of_what, store, result in done:
        counts = f"{result.written} written, {result.already_there} already there, {len(result.failed)} failed"
        say(f"{store.folder}:{of_what} {counts}.")
    for of_what, _, result in done:
        for video_id, reason in result.failed:
            complain(f"{video_id}{of_what and f' ({of_what.strip()})'}: {reason}")
    if any(result.failed for _, _, result in done):
        raise typer.Exit(1)
