"""Epoch plans, captions as word ids, and one tokenization of a corpus for a whole training."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies
from torch import Tensor

from stap.corpora.corpus import Clip, Corpus
from stap.features.store import FeatureStore, VideoFeatures
from stap.features.streams import FeatureStreams
from stap.recipes.files import recipe_from_dict
from stap.recipes.settings import TextSettings, TrainingSettings
from stap.text import ptb
from stap.text.rules import TextRules
from stap.text.special_ids import EOS, PAD
from stap.training.batches import CaptionedVideos, epoch_plan, tokenized_corpus
from stap.training.loop import fit


@given(
    counts=strategies.lists(strategies.integers(1, 9), min_size=1, max_size=12),
    batch_size=strategies.integers(1, 6),
    captions_per_video=strategies.integers(1, 5),
    seed=strategies.integers(0, 1000),
)
@settings(max_examples=200, deadline=None)
def test_plan_shows_every_caption_once_and_spreads_each_video(
    counts: list[int], batch_size: int, captions_per_video: int, seed: int
) -> None:
    plan = epoch_plan(counts, batch_size, captions_per_video, (seed, 1))
    groups = [group for batch in plan for group in batch]
    for video, count in enumerate(counts):
        mine = [group.captions for group in groups if group.video == video]
        assert len(mine) == -(-count // captions_per_video)
        assert all(len(captions) == captions_per_video for captions in mine)
        shown = Counter(caption for captions in mine for caption in captions)
        assert set(shown) == set(range(count))
        # Only a last group is filled up, and with as many different captions as the video has.
        assert sum(shown.values()) - count < captions_per_video
        assert all(len(set(captions)) == min(captions_per_video, count) for captions in mine)
        per_batch = [sum(group.video == video for group in batch) for batch in plan]
        assert max(per_batch) - min(per_batch) <= 1  # never twice where once is possible
    sizes = [len(batch) for batch in plan]
    assert len(plan) == -(-len(groups) // batch_size)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


def test_plan_depends_on_its_seed_only() -> None:
    counts = [3, 5, 2, 4, 4]
    assert epoch_plan(counts, 3, 2, (1, 1)) == epoch_plan(counts, 3, 2, (1, 1))
    assert epoch_plan(counts, 3, 2, (1, 1)) != epoch_plan(counts, 3, 2, (1, 2))
    assert epoch_plan(counts, 3, 2, (1, 1)) != epoch_plan(counts, 3, 2, (2, 1))


def test_videos_meet_all_others_in_the_course_of_epochs() -> None:
    met = Counter()
    for epoch in range(200):
        for batch in epoch_plan([1] * 8, 4, 1, (1, epoch)):
            met.update((a.video, b.video) for a in batch for b in batch if a.video < b.video)
    assert len(met) == 28
    assert min(met.values()) > 50  # of 200 * 3 / 7 = 86 expected


def video(frames: int, value: float, regions: int = 2) -> dict[str, Tensor]:
    return {
        "grid": torch.full((frames, regions, 3), value, dtype=torch.float16),
        "times_seconds": torch.arange(float(frames)),
        "motion": torch.tensor([value, -value], dtype=torch.float16),
    }


def store_of(folder: Path, videos: dict[str, dict[str, Tensor]]) -> FeatureStreams:
    """Two stores, each with both streams and times that no model is given."""
    sizes = {"grid": 3, "motion": 2}
    stores = {name: FeatureStore(folder, {"kind": name, "feature_size": size}) for name, size in sizes.items()}
    for store in stores.values():
        for video_id, arrays in videos.items():
            store.write(video_id, VideoFeatures(arrays))
    return FeatureStreams(stores)


def test_captions_follow_their_video(tmp_path: Path) -> None:
    store = store_of(tmp_path, {name: video(2, 1 + number) for number, name in enumerate("abc")})
    clips = [
        Clip("a", Path("a.mp4"), "train", ("red", "red red red", "!")),
        Clip("b", Path("b.mp4"), "train", ("...",)),
        Clip("c", Path("c.mp4"), "train", ("blue blue", "blue", "green")),
    ]
    tokenized, vocabulary = tokenized_corpus(Corpus("colours", tuple(clips)), TextSettings(max_words=2))
    red, blue, green = (vocabulary.words.index(word) for word in ("red", "blue", "green"))
    videos = CaptionedVideos(tokenized, vocabulary, store)
    assert [clip.id for clip in videos.clips] == ["a", "c"]
    [groups] = videos.one_pass(TrainingSettings(batch_size=4, captions_per_video=3), seed=(1, 1))
    batch, captions = videos.batch(groups)
    assert captions.captions_per_video == 3
    assert sorted(batch.video_numbers.tolist()) == [0, 1]
    expected = {
        0: {(red, EOS, PAD), (red, red, EOS)},  # cut after two words; one of the two is there twice
        1: {(blue, blue, EOS), (blue, EOS, PAD), (green, EOS, PAD)},
    }
    for row, number in enumerate(batch.video_numbers.tolist()):
        assert bool((batch.streams["grid"][row] == 1 + 2 * number).all())
        assert {tuple(words) for words in captions.words[3 * row : 3 * row + 3].tolist()} == expected[number]


COLOURS = ("red", "green", "blue")
CLIPS = tuple(
    Clip(f"{split} {colour}", Path(f"{colour}.mp4"), split, (f"a {colour} ball", f"the ball is {colour}"))
    for split in ("train", "validation", "test")
    for colour in COLOURS
)


def one_epoch(tmp_path: Path, **text: Any) -> None:
    store = FeatureStore(tmp_path / "features", {"kind": "grid", "feature_size": 3, "grid": [1, 2]})
    for clip in CLIPS:
        store.write(clip.id, VideoFeatures({"grid": torch.ones(2, 2, 3)}))
    recipe = {
        "name": "tiny",
        "text": text,
        "model": {"hidden_size": 4, "attention_size": 4, "embedding_size": 4},
        "training": {"epochs": 1, "best_by": "log-likelihood", "batch_size": 2},
    }
    fit(recipe_from_dict(recipe), Corpus("balls", CLIPS), FeatureStreams({"grid": store}), tmp_path / "run")


@pytest.mark.parametrize(
    ("vocabulary_from", "splits"), [("train", ("train", "validation")), ("all", ("train", "validation", "test"))]
)
def test_a_training_tokenizes_every_caption_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vocabulary_from: str, splits: tuple[str, ...]
) -> None:
    calls: list[Sequence[str]] = []
    plain_words = TextRules.words

    def words(self: TextRules, captions: Sequence[str]) -> list[list[str]]:
        calls.append(captions)
        return plain_words(self, captions)

    monkeypatch.setattr(TextRules, "words", words)
    one_epoch(tmp_path, vocabulary_from=vocabulary_from)
    assert calls == [[caption for clip in CLIPS if clip.split in splits for caption in clip.captions]]


def test_a_training_starts_java_once_for_the_ptb_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Sequence[str]] = []
    plain_run = subprocess.run

    def run(command: Sequence[str], **options: Any) -> Any:
        runs.append(command)
        return plain_run(command, **options)

    monkeypatch.setattr(ptb.subprocess, "run", run)
    one_epoch(tmp_path, tokenizer="ptb")
    assert len(runs) == 1
