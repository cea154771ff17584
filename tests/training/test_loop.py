"""Training on tiny synthetic features: the run folder, exact continuation, best weights, early stopping and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stap.config import Recipe, recipe_from_dict
from stap.corpora.corpus import Clip, Corpus
from stap.errors import CheckpointError, ConfigError, CorpusError, FeatureError, StapError
from stap.features.store import FeatureStore, VideoFeatures
from stap.training import loop, validation
from stap.training.evaluate import caption_clips
from stap.training.loop import EpochSummary, fit
from stap.training.run_folder import load_run

FINGERPRINT = {"kind": "grid", "backbone": "made up", "frames": 4, "feature_size": 6, "grid": [1, 2]}
COLOURS, ACTS = ("red", "green", "blue", "white"), ("rises", "falls", "spins")


class WordScorer:
    """In place of the real one, which starts Java: the share of captions that equal a reference."""

    def __init__(self, references: dict[str, list[str]], metrics: tuple[str, ...]) -> None:
        self.references = references

    def score(self, predictions: dict[str, str]) -> Any:
        right = float(np.mean([caption in self.references[video] for video, caption in predictions.items()]))
        return type("Scores", (), {"corpus": {"BLEU-4": right, "ROUGE-L": right, "CIDEr": right}})()

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def quick_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "Scorer", WordScorer)


@pytest.fixture
def corpus() -> Corpus:
    clips = []
    for number, (colour, act) in enumerate((colour, act) for colour in COLOURS for act in ACTS):
        captions = (f"a {colour} ball {act}", f"The {colour} ball {act}.")
        split = "validation" if number % 6 == 5 else "train"
        clips.append(Clip(f"video{number}", Path(f"{number}.mp4"), split, captions))
    return Corpus("balls", tuple(clips))


@pytest.fixture
def store(tmp_path: Path, corpus: Corpus) -> FeatureStore:
    store = FeatureStore(tmp_path / "features", FINGERPRINT)
    random = torch.Generator().manual_seed(1)
    signs = {word: torch.randn(6, generator=random) for word in (*COLOURS, *ACTS)}
    for number, clip in enumerate(corpus.clips):
        _, colour, _, act = clip.captions[0].split()
        frames = 2 + number % 3
        grid = torch.stack([signs[colour], signs[act]]).expand(frames, 2, 6) + 0.1 * torch.randn(frames, 2, 6, generator=random)
        store.write(clip.id, VideoFeatures({"grid": grid.half(), "times_seconds": torch.arange(float(frames))}))
    return store


def recipe_of(**training: Any) -> Recipe:
    optimizer = {"kind": "adam", "learning_rate": 0.01} | training.pop("optimizer", {})
    return recipe_from_dict(
        {
            "name": "tiny",
            "model": {"hidden_size": 16, "attention_size": 8, "embedding_size": 8, "dropout": 0.3},
            "training": {"batch_size": 4, "captions_per_video": 2, "epochs": 3, "optimizer": optimizer} | training,
        }
    )


def test_training_learns_and_writes_a_folder_that_captions(tmp_path: Path, corpus: Corpus, store: FeatureStore) -> None:
    summaries: list[EpochSummary] = []
    recipe = recipe_of(epochs=60, validate_every=20, optimizer={"learning_rate": 0.02})
    result = fit(recipe, corpus, store, tmp_path / "run", on_epoch=summaries.append)
    assert [summary.epoch for summary in summaries] == list(range(1, 61))
    assert summaries[-1].training["word"] < 0.35 < 1.5 < summaries[0].training["word"]
    run = load_run(tmp_path / "run")
    found = caption_clips(run.model, run.vocabulary, store, corpus.split("train"), recipe.decoding)
    right = [
        found[clip.id].caption in [caption.lower().rstrip(".") for caption in clip.captions] for clip in corpus.split("train")
    ]
    assert np.mean(right) >= 0.9
    assert result.history == tuple(summaries)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "README.md", "config.json", "features.json", "metrics.json", "model.safetensors", "state", "tensorboard", "vocabulary.json",
    ]  # fmt: skip


def test_stopped_and_continued_run_has_the_same_weights(tmp_path: Path, corpus: Corpus, store: FeatureStore) -> None:
    recipe = recipe_of(epochs=4)

    def stop_after_two(summary: EpochSummary) -> None:
        if summary.epoch == 2:
            torch.rand(3)  # a stray draw must not matter
            raise KeyboardInterrupt

    fit(recipe, corpus, store, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, corpus, store, tmp_path / "parts", on_epoch=stop_after_two)
    result = fit(recipe, corpus, store, tmp_path / "parts", resume=True)
    for name in ("state/last.safetensors", "model.safetensors"):
        whole, parts = load_file(tmp_path / "whole" / name), load_file(tmp_path / "parts" / name)
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert [summary.epoch for summary in result.history] == [1, 2, 3, 4]
