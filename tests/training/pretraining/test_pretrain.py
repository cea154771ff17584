"""Frame-sentence matching on a handful of generated scenes: it learns, it continues exactly, and its backbone is one to extract with."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from raising import error_of
from stap.corpora.corpus import Clip
from stap.corpora.loading import load_corpus_with_files
from stap.errors import CheckpointError, ConfigError, CorpusError, StapError
from stap.features import grid
from stap.features.grid import GridExtractor
from stap.models.matching import cosine_similarity
from stap.recipes.files import recipe_from_dict
from stap.recipes.settings import Recipe, TextSettings
from stap.scenes import write_scenes
from stap.text.rules import TextRules
from stap.training.pretraining.captioned_frames import CaptionedFrames
from stap.training.pretraining.pretrain import FrameSentenceModel, PretrainingSummary, pretrain, recall_at
from stap.training.processes import launch
from stap.training.resume import epoch_seed, state_file
from vocabularies import vocabulary_of

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 training clips, 2 of validation, 3 of test."""
    folder = tmp_path_factory.mktemp("scenes") / "corpus"
    write_scenes(folder, videos=25, seed=1, workers=1)
    return folder


@pytest.fixture(scope="module")
def finished(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretraining") / "run"
    pretrain(recipe_of(scenes), out)
    return out


def recipe_of(root: Path, seed: int = 1, **pretraining: Any) -> Recipe:
    optimizer = {"kind": "adam", "learning_rate": 0.003, "epsilon": 1e-8, "schedule": "cosine"}
    small = {"initial_weights": "random", "joint_size": 16, "embedding_size": 8, "frames_per_video": 2, "batch_size": 8}
    return recipe_from_dict(
        {
            "seed": seed,
            "corpus": {"root": str(root)},
            "features": {"backbone": "test_resnet", "image_size": 48, "crop": 1.0, "frames": 4},
            "pretraining": small | {"epochs": 3, "hardest_after": 2, "optimizer": optimizer} | pretraining,
        }
    )


def test_recall_of_a_similarity_made_by_hand() -> None:
    """Videos 0, 1 and 2 with a frame each; video 0 has two sentences, the others one.

    Sentence -> frame: of the first sentence the own frame is nearest, of the second it is the second nearest, of the third the
    third nearest, of the fourth the nearest. Frame -> sentence: frame 0 finds its first sentence; frames 1 and 2 do not.
    """
    similarity = torch.tensor(
        [
            [0.9, 0.3, 0.8, 0.1],
            [0.2, 0.4, 0.1, 0.2],
            [0.3, 0.2, 0.7, 0.5],
        ]
    )
    found = recall_at(similarity, torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1, 2]))
    assert found["sentence->frame R@1"] == pytest.approx(2 / 4)
    assert found["frame->sentence R@1"] == pytest.approx(1 / 3)
    assert {name: value for name, value in found.items() if "R@1" not in name} == {
        "sentence->frame R@5": 1.0,
        "frame->sentence R@5": 1.0,
    }
    assert found["sentence->frame R@10"] == found["frame->sentence R@10"] == 1.0


def test_recall_against_a_plain_count() -> None:
    similarity = torch.randn(12, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    of_frame, of_sentence = list(range(12)), [number % 12 for number in range(30)]
    found = recall_at(similarity, torch.tensor(of_frame), torch.tensor(of_sentence))
    for rank in (1, 5, 10):
        hits = 0
        for column, video in enumerate(of_sentence):
            nearest = sorted(range(12), key=lambda row: -similarity[row, column])[:rank]
            hits += any(of_frame[row] == video for row in nearest)
        assert found[f"sentence->frame R@{rank}"] == pytest.approx(hits / 30)
        hits = 0
        for row, video in enumerate(of_frame):
            nearest = sorted(range(30), key=lambda column: -similarity[row, column])[:rank]
            hits += any(of_sentence[column] == video for column in nearest)
        assert found[f"frame->sentence R@{rank}"] == pytest.approx(hits / 12)


@pytest.mark.parametrize("captions_per_frame", [1, 3])
@pytest.mark.slow
def test_the_loss_falls_and_the_backbone_learns(scenes: Path, tmp_path: Path, captions_per_frame: int) -> None:
    recipe = recipe_of(scenes, epochs=12, hardest_after=12, captions_per_frame=captions_per_frame)
    told: list[PretrainingSummary] = []
    result = pretrain(recipe, tmp_path / "run", on_epoch=told.append)
    losses = [summary.loss for summary in result.history]
    assert losses[-1] < 0.7 * losses[0]
    assert told == list(result.history)
    assert [summary.epoch for summary in told] == list(range(1, 13))
    assert result.left_out == ()
    torch.manual_seed(epoch_seed(recipe.seed, 0))
    before = GridExtractor(recipe.features.model_copy(update={"weights": "random"})).network
    after = load_file(result.weights)
    assert after.keys() == before.state_dict().keys()
    assert all(not torch.equal(weight, after[name]) for name, weight in before.named_parameters())
    assert str(result) == f"{tmp_path / 'run' / 'backbone.safetensors'}: backbone after 12 epochs"


@pytest.mark.slow
def test_a_run_that_stopped_and_continued_is_the_run_that_did_not(scenes: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    def stop(summary: PretrainingSummary) -> None:
        if summary.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(recipe_of(scenes), out, on_epoch=stop)
    assert sorted(path.name for path in out.iterdir()) == ["state"]
    told: list[int] = []
    result = pretrain(recipe_of(scenes), out, resume=True, on_epoch=lambda summary: told.append(summary.epoch))
    assert told == [3]
    assert [summary.epoch for summary in result.history] == [1, 2, 3]
    continued, straight = (load_file(state_file(folder)) for folder in (out, finished))
    assert continued.keys() == straight.keys()
    assert all(torch.equal(continued[name], straight[name]) for name in straight)
    assert (out / "backbone.safetensors").read_bytes() == (finished / "backbone.safetensors").read_bytes()


def stop_after_two(summary: PretrainingSummary) -> None:
    if summary.epoch == 2:
        raise StapError("stopped")


@pytest.mark.slow
def test_two_processes_share_the_clips_and_continue_exactly(scenes: Path, finished: Path, tmp_path: Path) -> None:
    whole = launch(2, pretrain, recipe_of(scenes), tmp_path / "whole")
    with pytest.raises(StapError, match=r"^stopped$"):
        launch(2, pretrain, recipe_of(scenes), tmp_path / "parts", on_epoch=stop_after_two)
    launch(2, pretrain, recipe_of(scenes), tmp_path / "parts", resume=True)
    first, second = (load_file(tmp_path / name / "backbone.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    alone = json.loads((finished / "metrics.json").read_text())["history"]
    # Other clips meet in a batch, so the losses are near and not equal.
    assert [summary.loss for summary in whole.history] == pytest.approx([record["loss"] for record in alone], rel=0.2)


@pytest.mark.slow
def test_a_damaged_clip_of_any_process_is_named(scenes: Path, tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    shutil.copytree(scenes, root)
    clips = load_corpus_with_files(recipe_of(root).corpus).split("train")
    for clip in clips[2:4]:  # one of each process
        clip.path.write_bytes(clip.path.read_bytes()[:200])
    result = launch(2, pretrain, recipe_of(root, epochs=1), tmp_path / "run")
    assert {video_id for video_id, _ in result.left_out} == {clip.id for clip in clips[2:4]}


@pytest.mark.slow
def test_more_processes_than_clips_are_refused(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="3 processes: one has 6 clips for 10 batches"):
        launch(3, pretrain, recipe_of(scenes, batch_size=2), tmp_path / "run")


def test_another_seed_is_another_run(scenes: Path, finished: Path, tmp_path: Path) -> None:
    other = pretrain(recipe_of(scenes, seed=2, epochs=1), tmp_path / "run")
    assert other.weights.read_bytes() != (finished / "backbone.safetensors").read_bytes()


def test_the_backbone_extracts(scenes: Path, finished: Path) -> None:
    """The features are those of the trained network, in evaluation mode."""
    weights = finished / "backbone.safetensors"
    settings = recipe_of(scenes).features.model_copy(update={"weights": str(weights)})
    extractor = GridExtractor(settings)
    assert extractor.weights_file == weights
    own = extractor.network.state_dict()
    trained = load_file(weights)
    assert all(torch.equal(own[name], trained[name]) for name in own)
    features = extractor.extract(scenes / "TestVideo" / "video22.mp4")
    assert features.arrays["grid"].shape == (4, *(math.prod(extractor.grid_size),), extractor.feature_size)


def test_the_folder_says_how_it_was_made(scenes: Path, finished: Path) -> None:
    assert sorted(path.name for path in finished.iterdir()) == [
        "backbone.safetensors", "config.json", "metrics.json", "state",
    ]  # fmt: skip
    config = json.loads((finished / "config.json").read_text())
    assert recipe_from_dict(config["recipe"]) == recipe_of(scenes)
    history = json.loads((finished / "metrics.json").read_text())["history"]
    assert [record["epoch"] for record in history] == [1, 2, 3]
    assert set(history[0]["recall"]) == {f"{way} R@{k}" for way in ("sentence->frame", "frame->sentence") for k in (1, 5, 10)}


def test_an_epoch_in_one_line() -> None:
    recall = {"sentence->frame R@1": 0.125, "sentence->frame R@5": 0.5, "sentence->frame R@10": 0.75}
    line = str(PretrainingSummary(2, 30, 4.04, 0.5, recall))
    assert line == "epoch 2/30  ranking loss 0.500  sentence->frame R@1 12.5 %  sentence->frame R@10 75.0 %  4.0 s"
    assert str(PretrainingSummary(1, 3, 4.06, 0.5, {})) == "epoch 1/3  ranking loss 0.500  4.1 s"


def test_maximum_and_mean_of_the_last_map(scenes: Path) -> None:
    recipe = recipe_of(scenes)
    extractor = GridExtractor(recipe.features.model_copy(update={"weights": "random"}))
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    grid = extractor(images)  # (2, R, D)
    for pooling, pooled in (("mean", grid.mean(dim=1)), ("max", grid.max(dim=1).values)):
        settings = recipe.pretraining.model_copy(update={"frame_pooling": pooling})
        model = FrameSentenceModel(extractor, 10, settings).eval()
        with torch.inference_mode():
            assert torch.allclose(model.embed_frames(images), model.projection(pooled), atol=1e-6)


def test_a_damaged_clip_is_left_out_and_named(scenes: Path, tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    shutil.copytree(scenes, root)
    broken = root / "TrainValVideo" / "video3.mp4"
    broken.write_bytes(b"no video")
    result = pretrain(recipe_of(root, epochs=1), tmp_path / "run")
    assert [video_id for video_id, _ in result.left_out] == ["video3"]
    assert result.left_out[0][1].startswith(f"{broken}: ")


def test_what_was_decoded_serves_another_extractor(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of the decoded videos are bit for bit those of the files, which are not opened again."""
    recipe = recipe_of(scenes, epochs=1, frames_per_video=4)
    decoded = pretrain(recipe, tmp_path / "run").videos
    assert len(decoded) == 22  # of training and validation
    extractor = GridExtractor(recipe.features.model_copy(update={"weights": "random"}))
    path = next(iter(decoded))
    from_file = extractor.extract(path)
    extractor.already_read = decoded
    monkeypatch.setattr(grid, "sample_frames", None)
    again = extractor.extract(str(path))
    assert again.warnings == from_file.warnings
    assert all(torch.equal(again.arrays[name], array) for name, array in from_file.arrays.items())


def test_an_epoch_shows_every_video_once_with_some_of_its_captions() -> None:
    """The frames of video v hold 2v or 2v + 1; its captions are the words 10v + 10 to 10v + 14, but video 6 has only one."""
    captions = [[[10 * video + 10 + number, 2] for number in range(5 if video < 6 else 1)] for video in range(7)]
    frames = CaptionedFrames(torch.arange(7 * 2).view(7, 2, 1, 1, 1), captions, ())
    batches = list(frames.epoch(2, 2, [1, 1]))
    assert [len(images) for images, _ in batches] == [4, 3]
    shown = torch.cat([images for images, _ in batches]).flatten() // 2
    said = torch.cat([words for _, words in batches])[:, 0].view(7, 2)  # (videos, K)
    assert sorted(shown.tolist()) == list(range(7))
    assert (said // 10 - 1).tolist() == [[video, video] for video in shown.tolist()]
    assert all((first != second) == (video < 6) for video, (first, second) in zip(shown.tolist(), said.tolist(), strict=True))
    again, other = (torch.cat([images for images, _ in frames.epoch(2, 2, seed)]).tolist() for seed in ([1, 1], [1, 2]))
    assert again == torch.cat([images for images, _ in batches]).tolist() != other


def test_the_loss_of_an_epoch_counts_every_frame_and_caption(scenes: Path, tmp_path: Path) -> None:
    """20 videos are one batch, so that the first epoch's loss is that of the fresh weights."""
    recipe = recipe_of(scenes, epochs=1, hardest_after=1, early_negatives="violations", captions_per_frame=3, batch_size=20)
    torch.manual_seed(epoch_seed(recipe.seed, 0))
    extractor = GridExtractor(recipe.features.model_copy(update={"weights": "random", "frames": 2}))
    rules = TextRules(recipe.text)
    clips = rules.tokenized(load_corpus_with_files(recipe.corpus).split("train"))
    vocabulary = rules.vocabulary(clips)
    model = FrameSentenceModel(extractor, len(vocabulary), recipe.pretraining).train()
    [(images, words)] = CaptionedFrames.read(clips, extractor, vocabulary).epoch(1, 3, [recipe.seed, 1])
    cosine = cosine_similarity(model.embed_frames(extractor.normalise(images)), model.embed_sentences(words)).tolist()
    expected = 0.0
    for f in range(20):
        for n in range(3 * f, 3 * f + 3):
            near = 0.2 - cosine[f][n]
            frames = [max(0.0, near + cosine[g][n]) for g in range(20) if g != f]
            sentences = [max(0.0, near + cosine[f][m]) for m in range(60) if m // 3 != f]
            expected += sum(math.sqrt(sum(x * x for x in hinges) + 1e-6) - 1e-3 for hinges in (frames, sentences)) / 60
    assert pretrain(recipe, tmp_path / "run").history[0].loss == pytest.approx(expected, rel=1e-4)


def test_captions_follow_the_section_text(make_video: Any, tmp_path: Path) -> None:
    extractor = GridExtractor(recipe_of(tmp_path).features.model_copy(update={"weights": "random"}))
    path = make_video("one.mp4", [np.full((48, 48, 3), 90, dtype=np.uint8)])
    rules = TextRules(TextSettings(special_characters="remove", max_words=2, too_long="drop"))
    clips = rules.tokenized([Clip("one", path, "train", ("A t-shirt.", "A ball that falls."))])
    vocabulary = rules.vocabulary(clips)
    [captions] = CaptionedFrames.read(clips, extractor, vocabulary).captions
    assert [vocabulary.decode(caption) for caption in captions] == [["a", "tshirt"]]


def test_a_short_video_gives_frames_twice_and_a_clip_without_words_is_left_out(make_video: Any, tmp_path: Path) -> None:
    extractor = GridExtractor(recipe_of(tmp_path).features.model_copy(update={"weights": "random", "frames": 5}))
    path = make_video("two.mp4", [np.full((48, 48, 3), grey, dtype=np.uint8) for grey in (40, 200)])
    vocabulary = vocabulary_of(["a ball"], None, 1)
    clips = [Clip("two", path, "train", ("A ball.", "!?")), Clip("silent", path, "train", ("...",))]
    frames = CaptionedFrames.read(TextRules(TextSettings()).tokenized(clips), extractor, vocabulary)
    assert frames.images.shape == (1, 5, 48, 48, 3)
    images = frames.images[0]
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[3], images[4])
    assert not torch.equal(images[0], images[4])
    assert len(frames.captions[0]) == 1
    assert frames.left_out == (("silent", "silent: none of its captions has a word."),)


def test_an_existing_run_is_not_overwritten(scenes: Path, finished: Path) -> None:
    assert error_of(CheckpointError, pretrain, recipe_of(scenes), finished) == (
        f"{finished}: holds a pretraining run. Continue it with --resume, or choose another folder."
    )


def test_there_must_be_a_run_to_continue(scenes: Path, tmp_path: Path) -> None:
    assert error_of(CheckpointError, pretrain, recipe_of(scenes), tmp_path, resume=True) == (
        f"{tmp_path}: no training to continue (state/last.safetensors is missing). Leave out --resume to begin one."
    )


def test_a_run_is_continued_with_its_own_recipe_and_captions(scenes: Path, finished: Path, tmp_path: Path) -> None:
    assert error_of(ConfigError, pretrain, recipe_of(scenes, batch_size=4), finished, resume=True) == (
        f"{finished}: was begun with another recipe or other data: pretraining.batch_size: expected 8, found 4. "
        "Continue with the same, or begin in another folder."
    )
    root, out = tmp_path / "corpus", tmp_path / "run"
    shutil.copytree(scenes, root)
    pretrain(recipe_of(root, epochs=1), out)
    annotations = json.loads((root / "videodatainfo.json").read_text())
    annotations["sentences"][0]["caption"] = "something else"
    (root / "videodatainfo.json").write_text(json.dumps(annotations))
    with pytest.raises(ConfigError, match=r"other data: data\.sha256: "):
        pretrain(recipe_of(root, epochs=1), out, resume=True)


def test_matching_needs_two_clips(scenes: Path, tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    shutil.copytree(scenes, root)
    for number in range(20):
        if number != 5:
            (root / "TrainValVideo" / f"video{number}.mp4").write_bytes(b"")
    with pytest.raises(CorpusError) as error:
        pretrain(recipe_of(root), tmp_path / "run")
    first = root / "TrainValVideo" / "video0.mp4"
    message = str(error.value)
    assert message.startswith(
        f"scenes: 1 of 20 training clips can be used, and matching needs at least 2. The first one left out: {first}: "
    )
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_ends_the_run(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embed = FrameSentenceModel.embed_frames
    monkeypatch.setattr(FrameSentenceModel, "embed_frames", lambda model, images: embed(model, images) * math.nan)
    assert (
        error_of(StapError, pretrain, recipe_of(scenes), tmp_path / "run")
        == "epoch 1: the ranking loss is nan. Lower pretraining.optimizer.learning_rate."
    )
