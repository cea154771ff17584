"""Captions of clips from a store equal those of the model on each clip alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from raising import error_of
from stap.captioning import captions as evaluate
from stap.captioning.batches import read_videos
from stap.captioning.captions import caption_clips
from stap.corpora.corpus import Clip
from stap.decoding.beam import beam_search
from stap.errors import CheckpointError, FeatureError
from stap.features.store import FeatureStore, VideoFeatures
from stap.features.streams import FeatureStreams
from stap.models.batch import VideoBatch
from stap.models.build import build_model
from stap.models.caption_model import CaptionModel, Memory
from stap.recipes.settings import DecodingSettings, ModelSettings
from stap.recipes.streams import StreamSpec
from vocabularies import vocabulary_of

VOCABULARY = vocabulary_of(["a red ball rises", "the blue cube falls then spins"])


@pytest.fixture
def store(tmp_path: Path) -> FeatureStreams:
    store = FeatureStore(tmp_path, {"kind": "grid", "feature_size": 5})
    for number in range(5):
        grid = torch.randn(2 + number, 3, 5, generator=torch.Generator().manual_seed(number))
        store.write(f"v{number}", VideoFeatures({"grid": grid, "times_seconds": torch.arange(2.0 + number)}))
    return FeatureStreams({"grid": store})


@pytest.fixture
def model() -> CaptionModel:
    torch.manual_seed(2)
    settings = ModelSettings(hidden_size=8, attention_size=4, embedding_size=4, dropout=0.5)
    model = build_model(settings, {"grid": StreamSpec("grid", 5)}, vocabulary_size=len(VOCABULARY))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)  # captions that differ
    return model


CLIPS = [Clip(f"v{number}", Path(f"{number}.mp4"), "test", ("a ball",)) for number in (3, 0, 4, 1, 2)]


def test_captions_come_by_clip_in_order_whatever_the_batches(
    store: FeatureStreams, model: CaptionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoding = DecodingSettings(beam_width=3, max_words=6)
    model.train()
    together = caption_clips(model, VOCABULARY, store, CLIPS, decoding)
    assert model.training  # as it was; dropout was off meanwhile:
    monkeypatch.setattr(evaluate, "CLIPS_PER_BATCH", 2)
    in_parts = caption_clips(model, VOCABULARY, store, CLIPS, decoding)
    model.eval()
    assert list(together) == list(in_parts) == ["v3", "v0", "v4", "v1", "v2"]
    assert len({found.caption for found in together.values()}) > 1
    for video_id, found in together.items():
        memory = model.encode(read_videos(store.read, [video_id]).to("cpu"))
        [[alone, *_]] = beam_search(model, memory, width=3, max_words=6)
        assert found.hypothesis.words == in_parts[video_id].hypothesis.words == alone.words
        assert found.words == tuple(VOCABULARY.decode(alone.words))
        assert found.caption == " ".join(found.words)
        assert found.hypothesis.score == pytest.approx(alone.score, abs=1e-4)
        assert found.hypothesis.attention.weights.shape == (len(alone.words), 2 + int(video_id[1]))


def test_beam_width_1_is_greedy(store: FeatureStreams, model: CaptionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_beam(*arguments: object, **settings: object) -> None:
        raise AssertionError

    monkeypatch.setattr("stap.decoding.beam.beam_search", no_beam)
    found = caption_clips(model, VOCABULARY, store, CLIPS, DecodingSettings(beam_width=1, max_words=4, no_repeat_ngram=1))
    for one in found.values():
        assert len(set(one.words)) == len(one.words) <= 4


def test_missing_features_are_an_error_and_the_model_stays_as_it_was(store: FeatureStreams, model: CaptionModel) -> None:
    with pytest.raises(FeatureError, match="no features of video 'absent'"):
        caption_clips(model, VOCABULARY, store, [Clip("absent", Path("a.mp4"), "test", ("a",))], DecodingSettings())
    assert model.training


def test_a_clip_that_gives_no_numbers_is_named(
    store: FeatureStreams, model: CaptionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = store.read
    monkeypatch.setattr(store, "read", lambda name: {"grid": read(name)["grid"] * (math.nan if name == "v4" else 1)})
    assert error_of(CheckpointError, caption_clips, model, VOCABULARY, store, CLIPS, DecodingSettings()).startswith(
        "v4: the model gave a word probability that is not a number."
    )


def test_without_memory_fewer_clips_are_captioned_at_a_time(
    store: FeatureStreams, model: CaptionModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = caption_clips(model, VOCABULARY, store, CLIPS, DecodingSettings())
    encode, sizes = model.encode, []

    def limited(batch: VideoBatch) -> Memory:
        sizes.append(batch.size)
        if batch.size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return encode(batch)

    monkeypatch.setattr(model, "encode", limited)
    found = caption_clips(model, VOCABULARY, store, CLIPS, DecodingSettings())
    assert sizes == [5, 3, 2, 1, 2]
    assert {name: one.caption for name, one in found.items()} == {name: one.caption for name, one in expected.items()}
    assert caplog.messages[0] == "memory ran out: captioning 3 clips at a time instead of 5, with the same result"
