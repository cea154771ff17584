"""The captioner: the same features as in training, one bad file among many, and folders that do not fit."""

import io
import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image

import stap
from raising import error_of
from stap.captioning import captioner as captioner_module
from stap.captioning import in_batches
from stap.captioning.captioner import Captioner, load
from stap.captioning.captions import caption_clips, caption_streams
from stap.captioning.model_folder import Run, load_run, model_for, save_description, save_weights
from stap.captioning.protocol import SampledClip
from stap.captioning.streamed import StreamedShot
from stap.captioning.video_caption import VideoCaption
from stap.corpora.corpus import Clip
from stap.decoding.draw import Draws
from stap.errors import CheckpointError, FeatureError, StapError, VideoError
from stap.features.extract import extract
from stap.features.extractor import build_extractors, specs_of, weights_files
from stap.features.grid import GridExtractor
from stap.features.store import FeatureStore, VideoFeatures
from stap.features.streams import FeatureStreams
from stap.models.batch import VideoBatch
from stap.models.build import build_model
from stap.recipes.files import recipe_from_dict
from stap.recipes.settings import ModelSettings, MotionSettings, STATSettings
from stap.recipes.streams import StreamSpec
from stap.text.special_ids import UNK
from stap.video import sample_frames, write_video
from stap.video.sampling import Sampling
from vocabularies import vocabulary_of

SENTENCES = ["a red square moves to the left", "the blue square grows", "a square spins and then stops"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three videos of a bright square on noise: 12 frames, 12 frames, 3 frames."""
    folder = tmp_path_factory.mktemp("videos")
    random = np.random.default_rng(1)
    for number, frames in enumerate((12, 12, 3)):
        pictures = random.integers(0, 90, (frames, 48, 64, 3), dtype=np.uint8)
        for index, picture in enumerate(pictures):
            picture[8 + 8 * number : 24 + 8 * number, 2 * index : 2 * index + 16, number] = 250
        write_video(folder / f"{number}.mp4", pictures, 12)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as training writes it, with untrained weights and a backbone from a file that is gone afterwards."""
    work = tmp_path_factory.mktemp("work")
    torch.manual_seed(1)
    backbone = work / "backbone.safetensors"
    safetensors.torch.save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), backbone)
    recipe = recipe_from_dict(
        {
            "features": {"backbone": "test_resnet", "weights": str(backbone), "frames": 6, "image_size": 64},
            "model": {"hidden_size": 8, "attention_size": 4, "embedding_size": 5},
            "decoding": {"beam_width": 3, "max_words": 7},
        }
    )
    extractor = GridExtractor(recipe.features)
    vocabulary = vocabulary_of(SENTENCES)
    model = build_model(recipe.model, {"grid": StreamSpec("grid", extractor.feature_size)}, vocabulary_size=len(vocabulary))
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)  # so that videos get different captions
    save_description(work / "run", recipe, vocabulary, {"grid": extractor.spec}, {"features": backbone})
    save_weights(work / "run", model)
    backbone.unlink()
    return work / "run"


@pytest.fixture(scope="module")
def captioner(model_folder: Path) -> Captioner:
    """The captioner of that folder."""
    return load(model_folder, "cpu")


@pytest.fixture
def copy(model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the model folder elsewhere, to be changed."""
    return Path(shutil.copytree(model_folder, tmp_path / "elsewhere" / "run"))


def test_a_caption_is_what_training_would_make_of_the_stored_features(
    captioner: Captioner, videos: list[Path], tmp_path: Path
) -> None:
    run = captioner.run
    store = FeatureStore(tmp_path, captioner.extractor.spec.fingerprint)
    extract([(path.name, path) for path in videos], GridExtractor(run.recipe.features), store)
    for path in videos:
        clip = Clip(path.name, path, "test", ("a",))
        expected = caption_clips(run.model, run.vocabulary, FeatureStreams({"grid": store}), [clip], run.recipe.decoding)[
            path.name
        ]
        caption = captioner.caption(path)
        assert (caption.caption, caption.words) == (expected.caption, expected.words)
        assert caption.score == pytest.approx(expected.hypothesis.score, abs=1e-4)
        torch.testing.assert_close(caption.attention, expected.hypothesis.attention.weights, atol=1e-4, rtol=0)
        assert torch.equal(caption.times_seconds, store.read(path.name)["times_seconds"])


def test_what_comes_with_a_caption(captioner: Captioner, videos: list[Path]) -> None:
    caption = captioner.caption(str(videos[0]))
    assert caption.path == videos[0]
    assert caption.caption == " ".join(caption.words)
    assert set(caption.words) <= set(" ".join(SENTENCES).split())
    assert caption.attention.shape == (len(caption.words), 6)
    torch.testing.assert_close(caption.attention.sum(dim=1), torch.ones(len(caption.words)))
    np.testing.assert_allclose(caption.times_seconds, (np.arange(6) * 2 + 1) / 12, atol=1e-6)
    assert caption.pooling_weights is not None
    assert caption.pooling_weights.shape == (6, captioner.extractor.grid_size[0] * captioner.extractor.grid_size[1])
    assert caption.warnings == ()


def test_as_json(captioner: Captioner, videos: list[Path]) -> None:
    caption = captioner.caption(videos[0])
    written = json.loads(json.dumps(caption.to_json()))
    assert list(written) == ["path", "caption", "score", "stream", "times_seconds", "words", "warnings"]
    assert (written["path"], written["caption"], written["stream"]) == (str(videos[0]), caption.caption, "grid")
    assert [word["word"] for word in written["words"]] == list(caption.words)
    np.testing.assert_allclose([word["attention"] for word in written["words"]], caption.attention, atol=1e-5)
    np.testing.assert_allclose(written["times_seconds"], caption.times_seconds, atol=1e-5)


def test_a_video_with_fewer_frames_is_captioned_from_those(captioner: Captioner, videos: list[Path]) -> None:
    caption = captioner.caption(videos[2])
    assert caption.attention.shape == (len(caption.words), 3)


def test_width_one_is_greedy(captioner: Captioner, videos: list[Path]) -> None:
    run = captioner.run
    greedy = run.recipe.model_copy(update={"decoding": run.recipe.decoding.model_copy(update={"beam_width": 1})})
    alone = Captioner(Run(run.model, run.vocabulary, greedy, run.streams, run.folder), captioner.device)
    assert captioner.caption(videos[0], beam_width=1).to_json() == alone.caption(videos[0]).to_json()
    assert captioner.caption(videos[0], beam_width=1).score <= captioner.caption(videos[0], beam_width=50).score


def test_many_in_order_and_a_bad_one_does_not_stop_the_others(captioner: Captioner, videos: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    failed: list[tuple[Path, StapError]] = []
    paths = [videos[1], bad, videos[0], videos[2]]
    captions = list(captioner.caption_many(paths, on_error=lambda path, error: failed.append((path, error))))
    for caption, alone in zip(captions, map(captioner.caption, (videos[1], videos[0], videos[2])), strict=True):
        assert (caption.path, caption.words, caption.warnings) == (alone.path, alone.words, alone.warnings)
        assert caption.score == pytest.approx(alone.score, abs=1e-4)
        torch.testing.assert_close(caption.attention, alone.attention, rtol=0, atol=1e-4)
        assert torch.equal(caption.times_seconds, alone.times_seconds)
    [(path, error)] = failed
    assert path == bad
    assert isinstance(error, VideoError)


@pytest.mark.parametrize("step", ["_read", "_streams"])
def test_an_error_that_nobody_foresaw_is_one_files_too(
    captioner: Captioner, videos: list[Path], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[str] = []
    sound = getattr(captioner, step)

    def failing(path: Path, *rest):
        if path == videos[1]:
            raise AttributeError("codec_tag")
        return sound(path, *rest)

    monkeypatch.setattr(captioner, step, failing)
    captions = list(captioner.caption_many(videos, on_error=lambda _, error: failed.append(str(error))))
    assert [caption.path for caption in captions] == [videos[0], videos[2]]
    assert failed == [f"{videos[1]}: AttributeError: codec_tag. Check that it plays, or get it again."]
    with pytest.raises(VideoError, match="AttributeError: codec_tag"):
        list(captioner.caption_many(videos))


def test_files_that_are_ready_share_a_batch(captioner: Captioner, videos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    files = [(path, captioner._read(path)) for path in [*videos, *videos]]
    sizes = [len(captioner._streams(path, captioner._features([(path, read)])[0])["grid"]) for path, read in files]
    encode, seen = captioner.model.encode, []

    def counting(batch):
        seen.append(batch.size)
        assert not any(padding.any() for padding in batch.is_padding.values())
        return encode(batch)

    monkeypatch.setattr(captioner.model, "encode", counting)
    captions = captioner._captions(files, None)
    assert sorted(seen) == sorted(Counter(sizes).values())
    assert max(seen) > 1
    assert [caption.words for caption in captions] == [captioner.caption(path).words for path, _ in files]


def test_frames_that_were_decoded_elsewhere_give_the_caption_of_the_file(
    captioner: Captioner, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shots of one decode pass, in batches; one of a wrong size has its reason and stops no other."""
    [sampling] = captioner.samplings
    assert sampling == Sampling(6, captioner.extractor.short_side)
    clips = [SampledClip(path, (sample_frames(path, sampling.count, short_side=sampling.short_side),)) for path in videos]
    wrong = SampledClip(Path("shot 4"), (sample_frames(videos[0], 6),))
    monkeypatch.setattr(in_batches, "FILES_AHEAD", 3)  # two batches
    found = captioner.caption_frames([*clips, wrong, *clips], beam_width=2)
    expected = [captioner.caption(path, 2) for path in videos]
    for one, alone in zip([*found[:3], *found[4:]], [*expected, *expected], strict=True):
        assert isinstance(one, VideoCaption)
        assert (one.path, one.words, one.warnings) == (alone.path, alone.words, alone.warnings)
        assert one.score == pytest.approx(alone.score, abs=1e-4)
        assert torch.equal(one.times_seconds, alone.times_seconds)
    assert str(found[3]).startswith("Frames of 64x48 pixels were given, the shorter side should be")
    assert isinstance(found[3], StapError)


def test_a_caption_brings_its_vector_in_the_joint_space(captioner: Captioner, videos: list[Path]) -> None:
    """The encoder's last state, equation (27), the same by every way, and sentences where they can be compared with it."""
    store_like = captioner.model.encode(_batch_of(captioner, videos[0]))
    expected = store_like.embedding[0]
    frames = sample_frames(videos[0], 6, short_side=captioner.extractor.short_side)
    [of_frames] = captioner.caption_frames([SampledClip(videos[0], (frames,))])
    streamed = StreamedShot(captioner)
    for picture, seconds in zip(frames.rgb_uint8, frames.times_seconds, strict=True):
        streamed.read(picture, seconds)
    many = list(captioner.caption_many(videos))
    assert isinstance(of_frames, VideoCaption)
    for one in (captioner.caption(videos[0]), many[0], of_frames, streamed.caption(videos[0])):
        assert one.embedding is not None
        torch.testing.assert_close(one.embedding, expected, atol=1e-5, rtol=0)
    sentences = captioner.embed([SENTENCES[0], "nobody knows zebras", SENTENCES[1]])
    model = captioner.model
    ids = [captioner.run.vocabulary.encode(line.split(), 99) for line in (SENTENCES[0], SENTENCES[1])]
    for row, words in zip(sentences[[0, 2]], ids, strict=True):
        alone = model.sentence_encoder(model.embedding(torch.tensor([words])), torch.zeros(1, len(words), dtype=torch.bool))
        torch.testing.assert_close(row, alone[0].detach(), atol=1e-6, rtol=0)
    assert not sentences[1].any()


def _batch_of(captioner: Captioner, path: Path) -> VideoBatch:
    features = captioner.extractor.extract(path).arrays["grid"]
    padding = torch.zeros(1, len(features), dtype=torch.bool)
    return VideoBatch({"grid": features[None].float()}, {"grid": padding}, torch.arange(1))


def test_a_model_without_the_matching_loss_has_no_joint_space(copy: Path, videos: list[Path]) -> None:
    config = (copy / "config.json").read_text()
    settings = json.loads(config)
    settings["recipe"]["model"]["matching_weight"] = 0
    (copy / "config.json").write_text(json.dumps(settings))
    weights = safetensors.torch.load_file(copy / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("sentence_encoder")}
    safetensors.torch.save_file(kept, copy / "model.safetensors")
    captioner = load(copy, "cpu")
    assert captioner.caption(videos[0]).embedding is None
    assert error_of(CheckpointError, captioner.embed, ["a square"]) == (
        "this model was trained without the matching loss (model.matching_weight), so it cannot compare sentences with videos."
    )


def test_key_frames_where_they_are_asked_for(captioner: Captioner, videos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.picture for one in captioner.caption_many(videos)] == [b""] * 3
    monkeypatch.setattr(captioner, "pictures", True)
    one = next(captioner.caption_many(videos))
    picture = np.asarray(Image.open(io.BytesIO(one.picture)))
    seen = captioner.extractor.read(videos[0]).images_uint8[int(one.attention.sum(dim=0).argmax())].numpy()
    assert picture.shape == (64, 64, 3)
    assert np.abs(picture.astype(int) - seen).mean() < 12


def test_drawn_captions_are_the_same_in_any_batch(captioner: Captioner, videos: list[Path]) -> None:
    draws = Draws(3, temperature=1.5, seed=4)
    together = list(captioner.caption_many(videos, draws=draws))
    for one, path in zip(together, videos, strict=True):
        alone = captioner.caption(path, draws=draws)
        assert (one.caption, one.words, one.alternatives[0].caption) == (
            alone.caption,
            alone.words,
            alone.alternatives[0].caption,
        )
        assert len(one.alternatives) == 2
        assert one.to_json()["alternatives"][1].keys() == {"caption", "score"}
    assert len({one.caption for one in together}) > 1
    assert captioner.caption(videos[0]).alternatives == ()


def test_the_fingerprint_tells_weights_words_and_decoding(copy: Path, captioner: Captioner) -> None:
    before = captioner.fingerprint
    assert load(copy, "cpu").fingerprint == before
    assert json.loads(json.dumps(before)) == before
    words = json.loads((copy / "vocabulary.json").read_text())["words"]
    (copy / "vocabulary.json").write_text(json.dumps({"words": [*words[:-1], "other"]}))
    assert load(copy, "cpu").fingerprint["vocabulary_sha256"] != before["vocabulary_sha256"]
    changed = load(copy, "cpu")
    with torch.no_grad():
        next(changed.model.parameters()).add_(1)
    assert changed.fingerprint["weights_sha256"] != before["weights_sha256"]


def test_captions_for_people_have_no_unknown_word(
    captioner: Captioner, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although it is the most probable word at every step; captions to be scored have it."""
    sound = captioner.model.step

    def unknowing(*state):
        said = sound(*state)
        said.logits[:, UNK] += 50
        return said

    monkeypatch.setattr(captioner.model, "step", unknowing)
    for beam_width in (1, 3):
        assert "<unk>" not in captioner.caption(videos[0], beam_width).words
        assert [one.words.count("<unk>") for one in captioner.caption_many(videos, beam_width=beam_width)] == [0, 0, 0]
    streams = captioner._streams(videos[0], captioner._features([(videos[0], captioner._read(videos[0]))])[0])
    _, [scored] = caption_streams(captioner.model, [streams], captioner.run.recipe.decoding)
    assert set(scored.words) == {UNK}


def test_without_on_error_the_first_bad_file_is_raised(captioner: Captioner, videos: list[Path], tmp_path: Path) -> None:
    captions = captioner.caption_many([videos[0], tmp_path / "none.mp4", videos[1]])
    assert next(captions).path == videos[0]
    with pytest.raises(VideoError):
        next(captions)


def test_captions_come_one_by_one_while_the_next_file_is_read(
    captioner: Captioner, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Path] = []

    def paths():
        for path in [*videos, *videos]:
            given.append(path)
            yield path

    captions = captioner.caption_many(paths())
    next(captions)
    assert given == videos[:2]
    captions.close()


def test_a_moved_folder_is_complete(copy: Path, captioner: Captioner, videos: list[Path]) -> None:
    assert load(copy, "cpu").caption(videos[0]).to_json() == captioner.caption(videos[0]).to_json()


def test_features_that_do_not_fit_are_refused_with_the_reason(copy: Path) -> None:
    fingerprint = json.loads((copy / "features.json").read_text())["grid"]
    (copy / "features.json").write_text(json.dumps({"grid": fingerprint | {"frames": 16, "crop": 0.5}}))
    assert error_of(FeatureError, load, copy, "cpu") == (
        f"{copy}: these features differ from those of training: stream grid: crop: expected 0.5, found {fingerprint['crop']}; "
        "stream grid: frames: expected 16, found 6. Extract them with the backbone, weights and settings in features.json of the model folder."
    )


def test_another_backbone_file_in_the_folder_is_noticed(copy: Path) -> None:
    torch.manual_seed(2)
    safetensors.torch.save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), copy / "backbone.safetensors")
    with pytest.raises(FeatureError, match="weights_sha256"):
        load(copy, "cpu")


class MotionStandIn:
    """An extractor of one step, whose motion vector is its weights and the number of the video."""

    def __init__(self, settings: MotionSettings, device: object) -> None:
        self.weights_file = Path(settings.weights)
        self.weights = safetensors.torch.load_file(self.weights_file)["motion"]
        made = {"kind": "motion", "weights": self.weights.tolist(), "feature_size": 3}
        self.spec = StreamSpec.from_fingerprint("motion", made)

    def extract(self, path: Path) -> VideoFeatures:
        vector = torch.cat([self.weights, torch.tensor([float(path.stem)])])
        return VideoFeatures({"motion": vector, "times_seconds": torch.tensor([9.0])}, ("of motion.",))


@pytest.fixture
def two_streams(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of grid and motion, with both weights inside; where they came from is gone."""
    module = ModuleType("motion")
    module.MotionExtractor = MotionStandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stap.features.motion", module)
    weights = tmp_path / "motion" / "theirs.safetensors"
    weights.parent.mkdir()
    safetensors.torch.save_file({"motion": torch.tensor([0.5, -2.0])}, weights)
    trained = load_run(model_folder)
    changed = {"model": {"motion_size": 3}, "motion": {"weights": str(weights)}}
    settings = trained.recipe.model_dump(mode="json")
    recipe = recipe_from_dict(settings | {"motion": changed["motion"], "model": settings["model"] | changed["model"]})
    extractors = build_extractors(recipe)
    folder = tmp_path / "two"
    save_description(folder, recipe, trained.vocabulary, specs_of(extractors), weights_files(extractors))
    torch.manual_seed(3)
    model = model_for(recipe, trained.vocabulary, specs_of(extractors))
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)
    save_weights(folder, model)
    shutil.rmtree(weights.parent)
    return folder


def test_all_extractors_of_a_model_are_rebuilt_from_its_folder(two_streams: Path, videos: list[Path], tmp_path: Path) -> None:
    assert {path.name for path in two_streams.glob("*.safetensors")} == {
        "backbone.safetensors",
        "model.safetensors",
        "motion.safetensors",
    }
    moved = two_streams.rename(tmp_path / "moved")
    captioner = load(moved, "cpu")
    grid, motion = captioner.extractors
    stores = {
        extractor.spec.stream: FeatureStore(tmp_path / "store", extractor.spec.fingerprint) for extractor in (grid, motion)
    }
    for extractor, store in zip((grid, motion), stores.values(), strict=True):
        extract([(path.name, path) for path in videos], extractor, store)
    streams = FeatureStreams(stores)
    assert streams.read("1.mp4")["motion"].tolist() == [0.5, -2, 1]
    scores = set()
    for path in videos:
        clip = Clip(path.name, path, "test", ("a",))
        expected = caption_clips(captioner.model, captioner.run.vocabulary, streams, [clip], captioner.run.recipe.decoding)
        caption = captioner.caption(path)
        assert caption.words == expected[path.name].words
        assert caption.score == pytest.approx(expected[path.name].hypothesis.score, abs=1e-4)
        assert len(caption.times_seconds) == caption.attention.shape[1]  # the frames', not those of motion
        assert "of motion." in caption.warnings
        scores.add(round(caption.score, 3))
    assert len(scores) == 3
    together = [caption.score for caption in captioner.caption_many(videos)]
    assert together == pytest.approx([captioner.caption(path).score for path in videos], abs=1e-4)


def test_other_motion_than_in_training_is_refused(two_streams: Path) -> None:
    safetensors.torch.save_file({"motion": torch.tensor([0.5, 2.0])}, two_streams / "motion.safetensors")
    assert error_of(FeatureError, load, two_streams, "cpu") == (
        f"{two_streams}: these features differ from those of training: stream motion: weights: expected "
        "[0.5, -2.0], found [0.5, 2.0]. Extract them with the backbone, weights and settings in features.json of the model folder."
    )


def test_a_recipe_without_a_stream_of_the_training_is_refused(two_streams: Path) -> None:
    config = json.loads((two_streams / "config.json").read_text())
    config["recipe"]["motion"] = None
    (two_streams / "config.json").write_text(json.dumps(config))
    with pytest.raises(FeatureError, match=r"training: stream motion: missing\. Extract"):
        load(two_streams, "cpu")


def test_features_of_others_cannot_be_made_of_a_file(copy: Path) -> None:
    fingerprint = json.loads((copy / "features.json").read_text())
    fingerprint["grid"] |= {"kind": "imported", "stream": "grid"}
    (copy / "features.json").write_text(json.dumps(fingerprint))
    assert error_of(FeatureError, load, copy, "cpu") == (
        f"{copy}: trained on imported features (grid), which cannot be extracted from a video file. Use `stap evaluate` for clips "
        "with imported features, or train on features that stap extracts."
    )


def test_the_times_are_those_of_the_attended_frames(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """STAT with its regions alone, four of five: other frames than those of its pooled frames, which it has too."""
    captioner = load(copy, "cpu")
    stat = STATSettings(global_from=None, motion_from=None, positions=4)
    settings = ModelSettings(kind="stat", hidden_size=8, attention_size=4, embedding_size=5, stat=stat)
    streams = {name: StreamSpec(name, 3) for name in ("frames", "regions")}
    captioner.model = build_model(settings, streams, vocabulary_size=len(captioner.run.vocabulary)).eval()
    times = {"frames": torch.arange(6) / 10, "regions": torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])}
    found = [SimpleNamespace(arrays={"times_seconds": times[name]}, warnings=()) for name in times]
    monkeypatch.setattr(captioner, "extractors", [SimpleNamespace(spec=streams[name]) for name in times])
    monkeypatch.setattr(captioner, "_features", lambda files: [found])
    monkeypatch.setattr(
        captioner, "_streams", lambda path, features: {"frames": torch.randn(6, 3), "regions": torch.randn(5, 2, 3)}
    )
    caption = captioner.caption("clip.mp4", beam_width=1)
    assert caption.stream == "regions"
    assert caption.times_seconds.tolist() == [1, 3, 4, 5]  # the first of four parts of five
    assert caption.attention.shape == (len(caption.words), 4)


def test_a_damaged_folder_names_the_file(copy: Path) -> None:
    (copy / "vocabulary.json").unlink()
    assert (
        error_of(CheckpointError, load, copy, "cpu")
        == f"{copy}/vocabulary.json: no such file. Copy the model folder again, whole."
    )


@pytest.mark.parametrize("name", ["demo", "/no/such/folder", "a/b/c", "./runs/demo x"])
def test_a_name_that_is_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # after `make demo` there is a folder of the first name here
    assert (
        error_of(CheckpointError, load, name, "cpu")
        == f"{name}: no such folder. Give one that `stap train` wrote, or user/name on the Hugging Face Hub."
    )


def test_a_file_is_no_model(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.touch()
    assert (
        error_of(CheckpointError, load, file, "cpu")
        == f"{file}: is a file, expected a model folder. Give the folder that holds config.json."
    )


def test_from_the_hub_only_a_model_folders_files_are_fetched(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, captioner: Captioner
) -> None:
    asked = []

    def snapshot_download(repository: str, *, allow_patterns: list[str]) -> str:
        asked.append((repository, allow_patterns))
        return str(model_folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert load("someone/a-model", "cpu").run.vocabulary == captioner.run.vocabulary
    [(repository, patterns)] = asked
    assert repository == "someone/a-model"
    assert {path.name for path in model_folder.iterdir() if path.is_file()} <= set(patterns)
    assert all(pattern.endswith((".json", ".safetensors", ".md")) and "*" not in pattern for pattern in patterns)


def test_a_model_that_the_hub_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(*_: object, **__: object) -> str:
        raise OSError("404 Client Error.\n\nRepository Not Found")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert error_of(CheckpointError, load, "runs/demo", "cpu") == (
        "runs/demo: no such folder, and no such model on the Hugging Face Hub "
        "(404 Client Error. Repository Not Found). Check the name and the network."
    )


def test_homes() -> None:
    assert stap.Captioner is captioner_module.Captioner
    assert load_run.__module__ == "stap.captioning.model_folder"
