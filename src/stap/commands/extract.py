"""`stap extract`: the features of a corpus, into its store."""

from __future__ import annotations

from typing import Annotated

import typer

from stap.commands.console import complain, interruptible, progress, say, warn
from stap.commands.options import DeviceOption, OverridesArgument, RecipeArgument, SeedOption, with_seed


def extract(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    workers: Annotated[int, typer.Option(min=1, help="Videos read at the same time.")] = 2,
    device: DeviceOption = "auto",
    seed: SeedOption = None,
) -> None:
    """Extract the features of a recipe's videos.

    They go to the recipe's feature store. Videos already in the store are left alone, so the same line finishes an interrupted run. A video without usable frames
    does not stop the others; it is listed at the end, and the exit status is 1.
    """
    from stap.config import load_recipe

    settings = load_recipe(recipe, with_seed(overrides, seed))

    from stap.corpora.corpus import load_corpus
    from stap.device import choose_device
    from stap.features.extract import extract as extract_features
    from stap.features.extractor import build_extractors
    from stap.features.store import FeatureStore

    corpus = load_corpus(settings.corpus)
    items = [(clip.id, clip.path) for clip in corpus.clips]
    done = []
    for extractor in build_extractors(settings, choose_device(device)):
        store = FeatureStore(settings.features.store, extractor.fingerprint)
        title = "extract" if extractor.streams == ("grid",) else f"extract {', '.join(extractor.streams)}"
        with interruptible("What is extracted stays; run the same line again to continue."), progress(title) as report:
            done.append((extractor, store, extract_features(items, extractor, store, workers=workers, on_progress=report)))
    for _, _, result in done:
        for sentence in result.warnings:
            warn(sentence)
    for extractor, store, result in done:
        counts = f"{result.written} written, {result.already_there} already there, {len(result.failed)} failed"
        say(f"{store.folder} ({', '.join(extractor.streams)}): {counts}.")
    for extractor, _, result in done:
        for video_id, reason in result.failed:
            complain(f"{video_id} ({', '.join(extractor.streams)}): {reason}")
    if any(result.failed for _, _, result in done):
        raise typer.Exit(1)
