"""Training on tiny synthetic features: the run folder, exact continuation, best weights, early stopping and refusals."""

from __future__ import annotations

import json
import math
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from raising import error_of
from stap.captioning.batches import read_videos
from stap.captioning.captions import caption_clips
from stap.captioning.model_folder import load_run, read_tensors, write_tensors
from stap.corpora.corpus import Clip, Corpus
from stap.errors import CheckpointError, ConfigError, CorpusError, FeatureError, StapError
from stap.features.store import FeatureStore, VideoFeatures
from stap.features.streams import FeatureStreams
from stap.models.batch import VideoBatch
from stap.models.caption_model import Losses
from stap.models.encoder_decoder import EncoderDecoder
from stap.recipes.files import recipe_from_dict
from stap.recipes.settings import Recipe
from stap.recipes.streams import StreamSpec
from stap.text.special_ids import BOS
from stap.training import batches, loop, self_critical
from stap.training.loop import EpochSummary, fit
from stap.training.processes import ALONE
from stap.training.resume import epoch_seed, state_file

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
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(loop, "Scorer", WordScorer)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors this small only lose by more
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def corpus() -> Corpus:
    clips = []
    for number, (colour, act) in enumerate((colour, act) for colour in COLOURS for act in ACTS):
        captions = (f"a {colour} ball {act}", f"The {colour} ball {act}.")
        split = "validation" if number % 6 == 5 else "train"
        clips.append(Clip(f"video{number}", Path(f"{number}.mp4"), split, captions))
    return Corpus("balls", tuple(clips))


@pytest.fixture
def store(tmp_path: Path, corpus: Corpus) -> FeatureStreams:
    store = FeatureStore(tmp_path / "features", FINGERPRINT)
    random = torch.Generator().manual_seed(1)
    signs = {word: torch.randn(6, generator=random) for word in (*COLOURS, *ACTS)}
    for number, clip in enumerate(corpus.clips):
        _, colour, _, act = clip.captions[0].split()
        frames = 2 + number % 3
        grid = torch.stack([signs[colour], signs[act]]).expand(frames, 2, 6) + 0.1 * torch.randn(frames, 2, 6, generator=random)
        store.write(clip.id, VideoFeatures({"grid": grid.half(), "times_seconds": torch.arange(float(frames))}))
    return FeatureStreams({"grid": store})


def recipe_of(**training: Any) -> Recipe:
    optimizer = {"kind": "adam", "learning_rate": 0.01} | training.pop("optimizer", {})
    return recipe_from_dict(
        {
            "name": "tiny",
            "model": {"hidden_size": 16, "attention_size": 8, "embedding_size": 8, "dropout": 0.3},
            "training": {"batch_size": 4, "captions_per_video": 2, "epochs": 3, "optimizer": optimizer} | training,
        }
    )


@pytest.mark.slow
def test_training_learns_and_writes_a_folder_that_captions(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
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


class Spaces:
    """In place of the scorer's tokenizer, which starts Java."""

    def tokenize(self, captions: Any, *, keep: bool = False) -> list[str]:
        return [caption.lower().rstrip(".") for caption in captions]


def cider_recipe(start: Path, **training: Any) -> Recipe:
    return recipe_of(
        objective="cider", initial_weights=str(start), cider={"samples": 8, "optimizer": {"learning_rate": 0.03}}, **training
    )


@pytest.mark.slow
def test_cider_as_objective_raises_the_reward_and_continues_exactly(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_critical, "PTBTokenizer", Spaces)
    fit(recipe_of(epochs=6, validate_every=6, best_by="log-likelihood"), corpus, store, tmp_path / "before")
    recipe = cider_recipe(tmp_path / "before", epochs=8, validate_every=4)

    def stop_after_two(summary: EpochSummary) -> None:
        if summary.epoch == 2:
            raise KeyboardInterrupt

    result = fit(recipe, corpus, store, tmp_path / "whole")
    rewards = [summary.training["reward"] for summary in result.history]
    assert np.mean(rewards[-3:]) > 1.15 * rewards[0] > 0
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, corpus, store, tmp_path / "parts", on_epoch=stop_after_two)
    fit(recipe, corpus, store, tmp_path / "parts", resume=True)
    for name in ("state/last.safetensors", "model.safetensors"):
        whole, parts = load_file(tmp_path / "whole" / name), load_file(tmp_path / "parts" / name)
        assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert "caption" in result.history[-1].validation


def test_cider_needs_a_trained_model(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    assert error_of(ConfigError, fit, recipe_of(objective="cider"), corpus, store, tmp_path / "run") == (
        "training.objective cider begins with a model that cross-entropy has trained: fresh weights get no reward. Name its folder with --from, "
        "or as training.initial_weights."
    )
    assert not (tmp_path / "run").exists()


def test_training_begins_with_another_run_s_weights(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    fit(recipe_of(epochs=1), corpus, store, tmp_path / "before")
    recipe = recipe_of(epochs=1, initial_weights=str(tmp_path / "before"), optimizer={"learning_rate": 1e-12})
    fit(recipe, corpus, store, tmp_path / "after")
    before, after = load_file(tmp_path / "before" / "model.safetensors"), load_file(tmp_path / "after" / "model.safetensors")
    assert before.keys() == after.keys()
    for name in before:
        torch.testing.assert_close(after[name], before[name], atol=1e-9, rtol=0)
    fit(recipe_of(epochs=2), corpus, store, tmp_path / "other")
    other = recipe_of(epochs=1, initial_weights=str(tmp_path / "other"), optimizer={"learning_rate": 1e-12})
    assert "data.initial_weights: expected " in error_of(
        ConfigError, fit, other, corpus, store, tmp_path / "after", resume=True
    )


def test_weights_that_do_not_fit_are_refused(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    fit(recipe_of(epochs=1), corpus, store, tmp_path / "before")
    start = recipe_of(epochs=1, initial_weights=str(tmp_path / "before"))
    smaller = start.model_copy(update={"model": start.model.model_copy(update={"matching_weight": 0.0, "hidden_size": 8})})
    message = error_of(CheckpointError, fit, smaller, corpus, store, tmp_path / "run")
    assert message.startswith(
        f"{tmp_path / 'before'}: its weights do not fit the recipe's model: unexpected: sentence_encoder."
    )
    assert message.endswith("Use the recipe and the settings of model that it was trained with.")
    few = Corpus("balls", tuple(clip for clip in corpus.clips if "red" not in clip.captions[0]))
    assert error_of(CheckpointError, fit, start, few, store, tmp_path / "run") == (
        f"{tmp_path / 'before'}: was trained with other words (14; here 13), and weights belong to words. Train on the same captions with the "
        "same section text."
    )
    assert error_of(CheckpointError, fit, recipe_of(initial_weights=str(tmp_path / "no")), corpus, store, tmp_path / "run") == (
        f"{tmp_path / 'no'}: no such folder. Expected a model folder, as `stap train` writes it."
    )


@pytest.mark.parametrize("kind", ["lstap", "lstap-stat"])
def test_the_output_bias_starts_at_the_words_frequencies(
    kind: str, tmp_path: Path, corpus: Corpus, store: FeatureStreams
) -> None:
    recipe = recipe_of()
    model = recipe.model.model_copy(update={"kind": kind, "output_bias": "frequency"})
    recipe = recipe.model_copy(update={"model": model})
    clips, vocabulary = batches.tokenized_corpus(corpus, recipe.text)
    videos = batches.CaptionedVideos([one for one in clips if one.clip.split == "train"], vocabulary, store)
    bias = loop.Training(recipe, videos, store, tmp_path, ALONE).model.output_bias
    assert bias is not None
    # 20 captions (10 clips of 2) of 4 words and an end; a colour is in 4 or 6 of them.
    of_words = dict(zip(vocabulary.words[-len(bias) :], bias.tolist(), strict=True))
    red = sum("red" in caption for clip in corpus.split("train") for caption in clip.captions)
    assert of_words["<eos>"] == pytest.approx(math.log(20 / 100), rel=1e-6)
    assert of_words["red"] == pytest.approx(math.log(red / 100), rel=1e-6)
    assert of_words["<unk>"] == pytest.approx(math.log(0.5 / 100), rel=1e-6)


@pytest.mark.slow
def test_stopped_and_continued_run_has_the_same_weights(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
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


def test_killed_in_the_middle_of_an_epoch_it_continues_from_the_epoch_before(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(epochs=3, optimizer={"kind": "rmsprop", "schedule": "cosine", "warmup_steps": 3})
    fit(recipe, corpus, store, tmp_path / "whole")
    calls, plain_loss = 0, EncoderDecoder.loss

    def interrupted_loss(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 9:
            raise KeyboardInterrupt
        return plain_loss(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(EncoderDecoder, "loss", interrupted_loss)
        with pytest.raises(KeyboardInterrupt):
            fit(recipe, corpus, store, tmp_path / "parts")
    fit(recipe, corpus, store, tmp_path / "parts", resume=True)
    whole, parts = load_file(state_file(tmp_path / "whole")), load_file(state_file(tmp_path / "parts"))
    assert any(name.endswith(".square") for name in whole)
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_a_run_that_is_over_is_only_read(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    first = fit(recipe_of(epochs=2), corpus, store, tmp_path / "run")
    before = state_file(tmp_path / "run").stat().st_mtime_ns
    again = fit(recipe_of(epochs=2), corpus, store, tmp_path / "run", resume=True)
    assert (again.history, again.best) == (first.history, first.best)
    assert state_file(tmp_path / "run").stat().st_mtime_ns == before


def test_best_weights_are_kept_and_patience_ends_the_run(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = iter([0.1, 0.5, 0.3, 0.5, 0.2])
    seen: dict[int, dict[str, torch.Tensor]] = {}

    def scores(self: Any, model: torch.nn.Module, losses: dict[str, float]) -> dict[str, float]:
        seen[len(seen) + 1] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        return {"BLEU-4": 0.0, "ROUGE-L": 0.0, "CIDEr": next(given)}

    monkeypatch.setattr(loop.Validator, "scores", scores)
    result = fit(recipe_of(epochs=50, patience=3), corpus, store, tmp_path / "run")
    assert [summary.is_best for summary in result.history] == [True, True, False, False, False]
    assert (result.best.epoch, result.stopped_early) == (2, True)
    assert str(result) == f"{tmp_path / 'run'}: 5 epochs (stopped early), weights of epoch 2, validation CIDEr 0.500"
    kept = load_file(tmp_path / "run/model.safetensors")
    assert all(torch.equal(kept[name], seen[2][name]) for name in kept)
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["best"]["epoch"] == 2
    assert [record["scores"]["CIDEr"] for record in metrics["history"]] == [0.1, 0.5, 0.3, 0.5, 0.2]
    assert "| CIDEr | 50.0 |" in (tmp_path / "run/README.md").read_text()
    resumed = fit(recipe_of(epochs=50, patience=3), corpus, store, tmp_path / "run", resume=True)
    assert len(resumed.history) == 5


STAT = {  # as STAT was trained
    "optimizer": {"kind": "adadelta", "learning_rate": 1.0, "decay": 0.95, "epsilon": 1e-6},
    "l2": 1e-4, "clip_norm": 10, "best_by": "log-likelihood", "epoch_updates": 3, "reshuffle": False,
}  # fmt: skip


def test_best_by_log_likelihood_needs_neither_captions_nor_a_scorer(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "Scorer", None)
    monkeypatch.setattr(loop, "caption_clips", None)
    likelihoods = iter([-9.0, -7.0, -8.0, -7.5, -7.0])
    plain_losses = loop.Validator.losses

    def losses(self: Any, model: Any) -> dict[str, float]:
        assert plain_losses(self, model).keys() == {"loss", "caption", "word", "matching"}
        return {"loss": 3.0, "caption": -next(likelihoods), "word": 1.5}

    monkeypatch.setattr(loop.Validator, "losses", losses)
    result = fit(recipe_of(epochs=50, patience=3, best_by="log-likelihood"), corpus, store, tmp_path / "run")
    assert [summary.is_best for summary in result.history] == [True, True, False, False, False]
    assert [summary.scores for summary in result.history][1] == {"log-likelihood": -7.0}
    assert str(result.history[1]).split("  ")[2:4] == [
        "validation 3.000 (caption 7.00, word 1.50)",
        "log-likelihood -7.000 (best)",
    ]
    assert str(result) == f"{tmp_path / 'run'}: 5 epochs (stopped early), weights of epoch 2, validation log-likelihood -7.000"
    assert "| log-likelihood | -7.00 |" in (tmp_path / "run/README.md").read_text()


def test_validation_likelihood_is_the_mean_over_captions_of_their_words_sum(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams
) -> None:
    """Of captions of 3 and 4 words in batches of unequal size, without dropout, against one caption at a time."""
    recipe = recipe_of(captions_per_video=1, batch_size=2, epochs=1, best_by="log-likelihood")
    clips = [Clip(one.id, one.path, one.split, (*one.captions, "ball")) for one in corpus.clips]
    clips = [
        clip for clip in clips if clip.split == "train" or clip.id == "video5"
    ]  # three validation captions: batches of 2 and 1
    found = fit(recipe, Corpus("balls", tuple(clips)), store, tmp_path / "run").history[0].scores["log-likelihood"]
    run = load_run(tmp_path / "run")
    [clip] = [clip for clip in clips if clip.split == "validation"]
    memory = run.model.encode(read_videos(store.read, [clip.id]).to("cpu"))
    total = 0.0
    for caption in clip.captions:
        state, last = run.model.start(memory), BOS
        for word in run.vocabulary.encode(caption.lower().rstrip(".").split(), 30):
            step = run.model.step(memory, state, torch.tensor([last]))
            total += float(step.logits.double().log_softmax(1)[0, word].detach())
            state, last = step.state, word
    assert found == pytest.approx(total / 3, abs=1e-4)


@pytest.mark.parametrize("reshuffle", [True, False])
def test_an_epoch_of_some_updates_goes_on_where_the_last_one_ended(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams, monkeypatch: pytest.MonkeyPatch, reshuffle: bool
) -> None:
    """20 captions, 4 in a batch: 5 batches a pass; 4 epochs of 3 updates are 2 passes and 2 batches."""
    shown: list[list[tuple[int, tuple[int, ...]]]] = []
    plain_batch = batches.CaptionedVideos.batch

    def batch(self: Any, groups: Any) -> Any:
        shown.append([(group.video, group.captions) for group in groups])
        return plain_batch(self, groups)

    monkeypatch.setattr(batches.CaptionedVideos, "batch", batch)
    settings = STAT | {"batch_size": 4, "captions_per_video": 1, "epochs": 4, "reshuffle": reshuffle}
    result = fit(recipe_of(**settings), Corpus("balls", corpus.split("train")), store, tmp_path / "run")
    assert len(result.history) == 4
    assert [len(groups) for groups in shown] == [4] * 12
    passes = [[one for groups in shown[first : first + 5] for one in groups] for first in (0, 5)]
    assert [len(set(captions)) for captions in passes] == [20, 20]
    assert (passes[0] == passes[1]) == (not reshuffle)
    assert (shown[10:] == shown[:2]) == (not reshuffle)


@pytest.mark.parametrize("kind", ["lstap", "stat", "lstap-stat"])
@pytest.mark.slow
def test_a_run_as_stat_s_continues_exactly(tmp_path: Path, corpus: Corpus, store: FeatureStreams, kind: str) -> None:
    recipe = recipe_of(epochs=4, **STAT)
    watched = {"global_from": "grid", "motion_from": None, "local_from": "grid", "project_global": True}
    model = recipe.model.model_dump() | {"kind": kind, "stat": watched}
    recipe = recipe_from_dict(recipe.model_dump(mode="json") | {"model": model})

    def stop_after_two(summary: EpochSummary) -> None:
        if summary.epoch == 2:
            raise KeyboardInterrupt

    whole = fit(recipe, corpus, store, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, corpus, store, tmp_path / "parts", on_epoch=stop_after_two)
    parts = fit(recipe, corpus, store, tmp_path / "parts", resume=True)
    states = [load_file(state_file(tmp_path / name)) for name in ("whole", "parts")]
    assert {name.rpartition(".")[2] for name in states[0] if name.startswith("optimizer")} == {
        "step",
        "square_avg",
        "acc_delta",
    }
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert [summary.scores for summary in whole.history] == [summary.scores for summary in parts.history]


def test_text_settings_are_those_of_training_and_of_validation_losses(
    tmp_path: Path, corpus: Corpus, store: FeatureStore
) -> None:
    """Long captions are dropped, or cut; the scorer still has them all; the vocabulary is that of the whole captions."""
    longer = [replace(clip, captions=(*clip.captions, f"{clip.captions[0]} and then it Waits")) for clip in corpus.clips]
    corpus = Corpus("balls", tuple(longer))
    seen = {}
    for too_long in ("cut", "drop"):
        recipe = recipe_of(epochs=1)
        text = recipe.text.model_copy(update={"max_words": 4, "too_long": too_long, "lowercase": False})
        fit(recipe.model_copy(update={"text": text}), corpus, store, tmp_path / too_long)
        header = json.loads(read_tensors(state_file(tmp_path / too_long))[1]["stap"])
        seen[too_long] = header["begun_with"]["data"]["captions"]
        assert {"Waits", "The", "the"} & set(load_run(tmp_path / too_long).vocabulary.words) == {"Waits", "The"}
    assert seen == {"cut": 30, "drop": 20}


def test_a_corpus_of_long_captions_alone_is_refused(tmp_path: Path, corpus: Corpus, store: FeatureStore) -> None:
    recipe = recipe_of()
    recipe = recipe.model_copy(update={"text": recipe.text.model_copy(update={"max_words": 3, "too_long": "drop"})})
    with pytest.raises(CorpusError, match=r"^balls: no training clip has a caption\."):
        fit(recipe, corpus, store, tmp_path / "run")


def test_validation_comes_every_few_epochs_and_after_the_last(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    result = fit(recipe_of(epochs=5, validate_every=2), corpus, store, tmp_path / "run")
    assert [bool(summary.scores) for summary in result.history] == [False, True, False, True, True]
    assert [bool(summary.validation) for summary in result.history] == [False, True, False, True, True]


def test_without_validation_clips_the_last_weights_are_kept(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    alone = Corpus("balls", corpus.split("train"))
    result = fit(recipe_of(epochs=2), alone, store, tmp_path / "run")
    assert (result.best.epoch, result.stopped_early) == (2, False)
    assert str(result) == f"{tmp_path / 'run'}: 2 epochs, weights of epoch 2"
    kept, state = load_file(tmp_path / "run/model.safetensors"), load_file(state_file(tmp_path / "run"))
    assert all(torch.equal(kept[name], state[f"model.{name}"]) for name in kept)
    assert "None: the corpus has no validation clips." in (tmp_path / "run/README.md").read_text()


def test_bfloat16_and_label_smoothing(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    result = fit(recipe_of(epochs=2, precision="bfloat16", label_smoothing=0.1), corpus, store, tmp_path / "run")
    exact = fit(recipe_of(epochs=2, label_smoothing=0.1), corpus, store, tmp_path / "exact")
    plain = fit(recipe_of(epochs=2), corpus, store, tmp_path / "plain")
    losses = [each.history[0].training["loss"] for each in (result, exact, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert losses[0] != losses[1]
    assert losses[1] != losses[2]


def test_summary_in_one_line() -> None:
    summary = EpochSummary(
        3, 60, 12.34, 1e-4, {"loss": 2.3456, "caption": 2.1, "matching": 0.61}, {"loss": 3.0}, {"CIDEr": 0.4119}, True
    )
    assert str(summary) == (
        "epoch 3/60  loss 2.346 (caption 2.10, matching 0.61)  validation 3.000  CIDEr 0.412 (best)  12.3 s"
    )


def test_missing_features_are_named_with_the_command_that_makes_them(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams
) -> None:
    for number in (0, 3, 5, 7):
        (store.stores["grid"].folder / f"video{number}.safetensors").unlink()
    assert error_of(FeatureError, fit, recipe_of(), corpus, store, tmp_path / "run") == (
        f"{store.stores['grid'].folder}: no features (stream grid) of 4 of 12 clips (video0, video3, video7 ...). "
        "Run `stap extract` with the same recipe first."
    )
    assert not (tmp_path / "run").exists()


def test_a_motion_vector_that_is_not_there_is_refused_before_anything_is_written(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams
) -> None:
    recipe = recipe_of()
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"motion_size": 600})})
    assert error_of(FeatureError, fit, recipe, corpus, store, tmp_path / "run") == (
        "video0: model.motion_size is 600, but its features have no motion stream. "
        "Give the recipe a section motion and run `stap extract`, or leave model.motion_size empty to learn the start state."
    )
    assert not (tmp_path / "run").exists()


def with_motion(folder: Path, corpus: Corpus, store: FeatureStreams, motion: torch.Tensor) -> FeatureStreams:
    vectors = FeatureStore(folder, {"kind": "motion", "feature_size": motion.shape[-1]})
    for clip in corpus.clips:
        vectors.write(clip.id, VideoFeatures({"motion": motion}))
    return FeatureStreams(store.stores | {"motion": vectors})


def with_model(**model: Any) -> Recipe:
    recipe = recipe_of(epochs=1)
    return recipe.model_copy(update={"model": recipe.model.model_copy(update=model)})


@pytest.mark.parametrize("kind", ["lstap", "lrcn"])
def test_a_motion_stream_that_the_model_does_not_read_is_ignored(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams, kind: str
) -> None:
    streams = with_motion(tmp_path / "motion", corpus, store, torch.ones(5))
    result = fit(with_model(kind=kind, motion_size=None), corpus, streams, tmp_path / "run")
    assert len(result.history) == 1


@pytest.mark.parametrize(
    ("motion", "advice"),
    [
        (torch.ones(5), "a motion stream of (5,). Set model.motion_size to 5."),
        (
            torch.ones(2, 5),
            "a motion stream of (2, 5); expected one vector a video. Set motion.per to video and run `stap extract`, "
            "or leave model.motion_size empty to learn the start state.",
        ),
    ],
)
def test_a_motion_stream_of_another_shape_is_refused_with_the_setting_to_change(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams, motion: torch.Tensor, advice: str
) -> None:
    streams = with_motion(tmp_path / "motion", corpus, store, motion)
    assert (
        error_of(FeatureError, fit, with_model(motion_size=600), corpus, streams, tmp_path / "run")
        == f"video0: model.motion_size is 600, but its features have {advice}"
    )


def test_a_run_is_not_overwritten(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    fit(recipe_of(epochs=1), corpus, store, tmp_path / "run")
    assert error_of(CheckpointError, fit, recipe_of(epochs=1), corpus, store, tmp_path / "run") == (
        f"{tmp_path / 'run'}: holds a training run. Continue it with --resume, or choose another folder."
    )


def test_two_trainings_in_one_folder(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    """The second one is refused, with and without --resume, and the first one goes on."""
    said = []

    def second(summary: EpochSummary) -> None:
        for resume in (False, True):
            said.append(error_of(CheckpointError, fit, recipe_of(epochs=1), corpus, store, tmp_path / "run", resume=resume))

    result = fit(recipe_of(epochs=1), corpus, store, tmp_path / "run", on_epoch=second)
    assert len(result.history) == 1
    for message in said:
        assert f"(process {os.getpid()} on " in message
        assert message.endswith(" is writing in this folder. Wait until it has ended, or name another folder.")
    assert len(said) == 2


def test_continuing_nothing_is_refused(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    assert error_of(CheckpointError, fit, recipe_of(), corpus, store, tmp_path / "run", resume=True) == (
        f"{tmp_path / 'run'}: no training to continue (state/last.safetensors is missing). Leave out --resume to begin one."
    )


def test_continuing_with_another_recipe_is_refused(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    fit(recipe_of(epochs=1), corpus, store, tmp_path / "run")
    assert error_of(
        ConfigError, fit, recipe_of(epochs=2, optimizer={"decay": 0.8}), corpus, store, tmp_path / "run", resume=True
    ) == (
        f"{tmp_path / 'run'}: was begun with another recipe or other data: training.epochs: expected 1, found 2; "
        "training.optimizer.decay: expected 0.9, found 0.8. Continue with the same, or begin in another folder."
    )


def test_tensors_are_cast_in_the_thread_that_computes(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the thread that reads ahead, PyTorch would start threads of that thread's own, and no thread would spin any more."""
    cast, threads = VideoBatch.to, []

    def recording(batch: VideoBatch, device: torch.device) -> VideoBatch:
        threads.append(threading.current_thread())
        return cast(batch, device)

    monkeypatch.setattr(VideoBatch, "to", recording)
    fit(recipe_of(epochs=1), corpus, store, tmp_path / "run")
    assert set(threads) == {threading.main_thread()}


def test_a_run_begun_before_a_setting_existed_is_continued(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    fit(recipe_of(epochs=1), corpus, store, tmp_path / "run")
    path = state_file(tmp_path / "run")
    tensors, metadata = read_tensors(path)
    header = json.loads(metadata["stap"])
    del header["begun_with"]["model"]["implementation"]
    write_tensors(path, tensors, {"stap": json.dumps(header)})
    assert len(fit(recipe_of(epochs=1), corpus, store, tmp_path / "run", resume=True).history) == 1
    settings = recipe_of(epochs=1).model_dump()
    settings["model"]["implementation"] = "reference"
    begun_otherwise = recipe_from_dict(settings)
    with pytest.raises(ConfigError, match=r'model\.implementation: expected "auto", found "reference"'):
        fit(begun_otherwise, corpus, store, tmp_path / "run", resume=True)


def test_continuing_where_the_files_lie_elsewhere(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    """The same captions and features under another path are the same; that they are is known by their digests."""
    there, here = (recipe_of(epochs=1).model_dump() for _ in range(2))
    there["corpus"]["root"], here["corpus"]["root"] = "there", "here"
    here["features"] |= {"store": "elsewhere", "weights": "moved.safetensors"}
    fit(recipe_from_dict(there), corpus, store, tmp_path / "run")
    result = fit(recipe_from_dict(here), corpus, store, tmp_path / "run", resume=True)
    assert len(result.history) == 1


def test_continuing_with_other_captions_is_refused(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    fit(recipe_of(epochs=1), corpus, store, tmp_path / "run")
    first, *others = corpus.clips
    changed = Corpus("balls", (Clip(first.id, first.path, first.split, (*first.captions, "a crimson ball")), *others))
    with pytest.raises(ConfigError) as caught:
        fit(recipe_of(epochs=1), changed, store, tmp_path / "run", resume=True)
    message, digests = re.subn(r'"[0-9a-f]{12}"', "DIGEST", str(caught.value))
    assert (message, digests) == (
        f"{tmp_path / 'run'}: was begun with another recipe or other data: data.captions: expected 20, found 21; "
        "data.sha256: expected DIGEST, found DIGEST; data.words: expected 14, found 15. "
        "Continue with the same, or begin in another folder.",
        2,
    )


def with_losses(monkeypatch: pytest.MonkeyPatch, change: Callable[[int, Losses], Losses]) -> None:
    """Training and validation see what `change` makes of the loss of each call, counted from 1."""
    calls, plain_loss = 0, EncoderDecoder.loss

    def changed(*arguments: Any) -> Losses:
        nonlocal calls
        calls += 1
        return change(calls, plain_loss(*arguments))

    monkeypatch.setattr(EncoderDecoder, "loss", changed)


def times(losses: Losses, factor: float) -> Losses:
    return Losses(losses.total * factor, losses.parts)


@pytest.mark.parametrize("factor", [math.nan, math.inf, -math.inf])
def test_a_step_whose_loss_is_no_number_is_left_out_counted_and_kept(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    with_losses(monkeypatch, lambda call, losses: times(losses, factor) if call in (2, 3, 5) else losses)
    result = fit(recipe_of(epochs=2), Corpus("balls", corpus.split("train")), store, tmp_path / "run")
    assert [summary.skipped for summary in result.history] == [2, 1]
    assert "  2 updates skipped: the loss was not a finite number" in str(result.history[0])
    assert "  1 update skipped: the loss was not a finite number" in str(result.history[1])
    assert all(np.isfinite(list(summary.training.values())).all() for summary in result.history)
    assert all(tensor.isfinite().all() for tensor in load_file(state_file(tmp_path / "run")).values())
    kept = json.loads((tmp_path / "run/skipped.json").read_text())
    assert kept["seed"] == 1
    assert [(batch["update"], batch["epoch"]) for batch in kept["batches"]] == [(2, 1), (3, 1), (5, 2)]
    assert {batch["torch_seed"] for batch in kept["batches"]} == {epoch_seed(1, 1), epoch_seed(1, 2)}
    by_id = {clip.id: [caption.lower().rstrip(".") for caption in clip.captions] for clip in corpus.clips}
    for batch in kept["batches"]:
        assert all(caption in by_id[clip["id"]] for clip in batch["clips"] for caption in clip["captions"])
        assert 3 <= len(batch["clips"]) <= 4


def test_three_such_steps_in_a_row_end_the_run_and_keep_the_state(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_losses(monkeypatch, lambda call, losses: times(losses, math.nan) if 4 <= call <= 6 else losses)
    assert error_of(StapError, fit, recipe_of(epochs=9), Corpus("balls", corpus.split("train")), store, tmp_path / "run") == (
        "updates 4 to 6: the loss or its gradient was not a finite number 3 times in a row (the last loss is nan). "
        "skipped.json in the run's folder holds their captions. Lower the learning rate (training.optimizer.learning_rate=0.01) "
        "or check the features; the state of the last whole epoch is kept."
    )
    assert all(tensor.isfinite().all() for tensor in load_file(state_file(tmp_path / "run")).values())
    assert len(json.loads((tmp_path / "run/metrics.json").read_text())["history"]) == 1


def test_a_validation_clip_whose_loss_is_no_number_is_named(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_batch = batches.CaptionedVideos.batch

    def batch(self: Any, groups: Any) -> Any:
        videos, captions = plain_batch(self, groups)
        for row, group in enumerate(groups):
            videos.streams["grid"][row] += math.nan if self.clips[group.video].id == "video11" else 0
        return videos, captions

    monkeypatch.setattr(batches.CaptionedVideos, "batch", batch)
    assert error_of(StapError, fit, recipe_of(), corpus, store, tmp_path / "run") == (
        "validation clip video11: the loss is not a finite number, and no epoch could be chosen by it. Check the features of the clip; "
        "where many are named, the training has diverged: lower training.optimizer.learning_rate. "
        "The state of the last whole epoch is kept."
    )


def test_one_flipped_bit_in_a_validation_feature_is_an_error(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    path = store.stores["grid"].folder / "video5.safetensors"
    content = bytearray(path.read_bytes())
    content[-20] ^= 64
    path.write_bytes(content)
    fresh = FeatureStreams({"grid": FeatureStore.at(store.stores["grid"].folder)})
    assert error_of(FeatureError, fit, recipe_of(), corpus, fresh, tmp_path / "run").startswith(
        f"{path}: damaged features of 'video5' (its content does not match its checksum)."
    )


def test_a_score_that_is_no_number_is_an_error(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = type("Scores", (), {"corpus": {"BLEU-4": 0.1, "CIDEr": math.nan}})()
    monkeypatch.setattr(WordScorer, "score", lambda self, predictions: scores)
    assert error_of(StapError, fit, recipe_of(), corpus, store, tmp_path / "run") == (
        "validation: CIDEr of 2 captions is not a finite number."
    )


def test_a_constant_score_leaves_the_choice_to_the_validation_loss_and_says_so(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As CIDEr is with one validation clip: always 0."""
    given, plain_losses = iter([5.0, 4.0, 3.0, 3.5, 3.2]), loop.Validator.losses
    monkeypatch.setattr(loop.Validator, "losses", lambda self, model: plain_losses(self, model) | {"loss": next(given)})
    scores = type("Scores", (), {"corpus": {"CIDEr": 0.0}})()
    monkeypatch.setattr(WordScorer, "score", lambda self, predictions: scores)
    result = fit(recipe_of(epochs=50, patience=2), corpus, store, tmp_path / "run")
    assert [summary.is_best for summary in result.history] == [True, True, True, False, False]
    assert "the validation loss chooses" not in result.history[0].remark
    assert "CIDEr was 0.000 in every validation: the validation loss chooses the weights" in str(result.history[1])
    assert str(result) == (
        f"{tmp_path / 'run'}: 5 epochs (stopped early), weights of epoch 3, validation CIDEr 0.000 in every validation, "
        "so chosen by the validation loss"
    )


def test_validation_captions_that_are_all_the_same_are_said_to_be(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = caption_clips
    monkeypatch.setattr(
        loop, "caption_clips", lambda *given: {name: replace(found, caption="a ball") for name, found in plain(*given).items()}
    )
    result = fit(recipe_of(epochs=1), corpus, store, tmp_path / "run")
    assert result.history[0].remark == "all 2 validation captions are the same: 'a ball'"


def test_without_memory_for_a_batch_it_is_computed_in_parts_with_the_same_gradient(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = with_model(matching_weight=0, dropout=0)  # a draw of dropout for the whole batch has no equal in parts
    alone = Corpus("balls", corpus.split("train"))
    fit(recipe, alone, store, tmp_path / "whole")
    plain_loss = EncoderDecoder.loss

    def loss(self: Any, videos: VideoBatch, captions: Any) -> Losses:
        if videos.size > 2:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")
        return plain_loss(self, videos, captions)

    monkeypatch.setattr(EncoderDecoder, "loss", loss)
    result = fit(recipe, alone, store, tmp_path / "parts")
    assert result.history[0].remark == "memory ran out: batches are computed in 2 parts, with the same gradient"
    whole, parts = load_file(tmp_path / "whole/model.safetensors"), load_file(tmp_path / "parts/model.safetensors")
    assert all(torch.allclose(whole[name], parts[name], atol=1e-4) for name in whole)


def test_with_the_matching_loss_a_batch_cannot_be_computed_in_parts(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(*_: Any) -> Losses:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(EncoderDecoder, "loss", loss)
    assert error_of(StapError, fit, recipe_of(), corpus, store, tmp_path / "run") == (
        "the memory of cpu does not hold 3 videos with their captions. Lower training.batch_size (now 4); "
        "the state of the last whole epoch is kept."
    )


def test_a_corpus_without_training_captions_is_refused(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    assert (
        error_of(CorpusError, fit, recipe_of(), Corpus("balls", corpus.split("validation")), store, tmp_path / "run")
        == "balls: no training clip has a caption. Check corpus.kind and corpus.root."
    )


def test_validation_clips_are_drawn_from_the_seed(corpus: Corpus) -> None:
    chosen = [clip.id for clip in batches.choose_clips(corpus.clips, 5, seed=1)]
    assert chosen == [clip.id for clip in batches.choose_clips(corpus.clips, 5, seed=1)]
    assert len(set(chosen)) == 5
    assert chosen == [clip.id for clip in corpus.clips if clip.id in chosen]
    assert batches.choose_clips(corpus.clips, 99, seed=1) == list(corpus.clips)


def test_train_takes_corpus_and_fingerprint_from_the_recipe(
    tmp_path: Path, corpus: Corpus, store: FeatureStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(epochs=1)
    recipe = recipe.model_copy(update={"features": recipe.features.model_copy(update={"store": store.stores["grid"].root})})
    weights = tmp_path / "net.pth"
    torch.save({"state_dict": {"stem.weight": torch.arange(3.0)}}, weights)
    extractor = type("Extractor", (), {"spec": StreamSpec.from_fingerprint("grid", FINGERPRINT), "weights_file": weights})
    monkeypatch.setattr(loop, "build_extractors", lambda recipe: (extractor(),))
    monkeypatch.setattr(loop, "load_corpus", lambda settings: corpus)
    result = loop.train(recipe, tmp_path / "run")
    assert result.folder == tmp_path / "run"
    assert load_file(tmp_path / "run/backbone.safetensors")["stem.weight"].tolist() == [0, 1, 2]
    (tmp_path / "run").rename(tmp_path / "moved")
    assert load_run(tmp_path / "moved").recipe.features.weights == str(tmp_path / "moved/backbone.safetensors")
