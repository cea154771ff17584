"""Pretraining on images: a few JPEG files with captions in COCO's layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from raising import error_of
from stap.corpora.loading import load_corpus_with_files
from stap.errors import ConfigError
from stap.features.grid import GridExtractor
from stap.recipes.files import recipe_from_dict
from stap.recipes.settings import CorpusSettings, FeatureSettings, Recipe, TextSettings
from stap.text.rules import TextRules
from stap.training.pretraining.captioned_images import CaptionedImages, random_crop
from stap.training.pretraining.pretrain import PretrainingSummary, pretrain
from stap.training.resume import epoch_seed
from vocabularies import vocabulary_of

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "white": (240, 240, 240), "black": (9, 9, 9)}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images of two colours, four of them of validation, some grey or progressive, in Karpathy's form."""
    root = tmp_path_factory.mktemp("coco")
    (root / "val2014").mkdir()
    records = []
    for number, (left, right) in enumerate((a, b) for a in COLOURS for b in COLOURS if a != b):
        pixels = np.zeros((48, 64, 3), dtype=np.uint8)
        pixels[:, :32], pixels[:, 32:] = COLOURS[left], COLOURS[right]
        name = f"COCO_val2014_{number:012d}.jpg"
        picture = Image.fromarray(pixels)
        picture = picture.convert("L") if number == 3 else picture
        picture.save(root / "val2014" / name, progressive=number == 4)
        texts = [f"{left.title()} is beside {right}.", f"A wall of {left} and {right}"]
        sentences = [
            {"tokens": text.lower().split(), "raw": text, "imgid": number, "sentid": n} for n, text in enumerate(texts)
        ]
        split = "val" if number % 5 == 0 else "restval"
        records.append({"filepath": "val2014", "filename": name, "split": split, "cocoid": number, "sentences": sentences})
    (root / "dataset_coco.json").write_text(json.dumps({"images": records, "dataset": "coco"}))
    return root


def recipe_of(root: Path, **pretraining: Any) -> Recipe:
    optimizer = {"kind": "adam", "learning_rate": 0.003, "epsilon": 1e-8}
    small = {"initial_weights": "random", "joint_size": 16, "embedding_size": 8, "frames_per_video": 1, "batch_size": 8}
    return recipe_from_dict(
        {
            "corpus": {"kind": "coco", "root": str(root)},
            "features": {"backbone": "test_resnet", "image_size": 32, "crop": 0.8},
            "pretraining": small | {"epochs": 2, "optimizer": optimizer} | pretraining,
        }
    )


def images_of(root: Path, *, crops: bool) -> tuple[CaptionedImages, GridExtractor]:
    settings = FeatureSettings(backbone="test_resnet", weights="random", image_size=32, crop=0.8, frames=1)
    extractor = GridExtractor(settings)
    clips = load_corpus_with_files(CorpusSettings(kind="coco", root=root)).split("train")
    vocabulary = vocabulary_of([caption for clip in clips for caption in clip.captions], None, 1)
    return CaptionedImages.read(TextRules(TextSettings()).tokenized(clips), extractor, vocabulary, crops=crops), extractor


def test_an_image_is_prepared_as_the_frame_of_a_video(coco: Path) -> None:
    images, extractor = images_of(coco, crops=False)
    assert extractor.short_side == 40
    shown = {bytes(picture.numpy()) for batch, _ in images.epoch(2, 1, [1]) for picture in batch}
    expected = set()
    for path in images.paths:
        scaled = Image.open(path).convert("RGB").resize((53, 40), Image.Resampling.BICUBIC)
        crop = np.asarray(scaled)[4:36, 10:42].astype(int)
        [nearest] = extractor.read(path).images_uint8.numpy()
        assert np.abs(nearest - crop).mean() < 3  # another library's JPEG decoder and scaler
        expected.add(nearest.tobytes())
    assert shown == expected


def test_an_epoch_shows_every_image_once_with_its_own_captions(coco: Path) -> None:
    images, _ = images_of(coco, crops=False)
    batches = list(images.epoch(2, 2, [1, 1]))
    assert [len(batch) for batch, _ in batches] == [8, 8]
    centres = {bytes(images._extractor.read(path).images_uint8[0].numpy()): n for n, path in enumerate(images.paths)}
    for batch, words in batches:
        for n, picture in enumerate(batch):
            own = images.captions[centres[bytes(picture.numpy())]]
            given = [[word for word in row if word] for row in words[2 * n : 2 * n + 2].tolist()]
            assert sorted(given) == sorted(own)


def test_the_seed_decides_the_crops(coco: Path) -> None:
    images, _ = images_of(coco, crops=True)
    first, again, other = (list(images.epoch(2, 1, seed)) for seed in ([1, 1], [1, 1], [1, 2]))
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a[0], b[0]) for a, b in zip(first, other, strict=True))
    assert first[0][0].shape == (8, 32, 32, 3)


def test_a_random_crop_is_a_part_of_the_picture() -> None:
    """Of a picture whose channels tell the place: rows, columns. All draws lie inside; some are mirrored, areas differ."""
    rows, columns = np.mgrid[0:100, 0:200]
    picture = torch.from_numpy(np.stack([rows, columns, np.full_like(rows, 7)], axis=-1).astype(np.uint8))
    random = np.random.default_rng(1)
    areas, mirrored = [], 0
    for _ in range(50):
        crop = random_crop(picture, 16, random).numpy().astype(int)
        assert crop.shape == (16, 16, 3)
        height, width = crop[-1, 0, 0] - crop[0, 0, 0], abs(crop[0, -1, 1] - crop[0, 0, 1])
        assert 0.55 < width / height < 1.8
        areas.append(height * width / 20_000)
        mirrored += crop[0, -1, 1] < crop[0, 0, 1]
        assert abs(crop[:, :, 2] - 7).max() == 0
    assert min(areas) < 0.15
    assert max(areas) > 0.4
    assert 10 < mirrored < 40
    assert random_crop(picture[:5], 16, random).shape == (16, 16, 3)  # too long for any of the shapes: the centred square


def test_a_damaged_image_is_left_out_and_named(coco: Path, tmp_path: Path) -> None:
    record = json.loads((coco / "dataset_coco.json").read_text())
    for image in record["images"]:
        target = tmp_path / "val2014" / image["filename"]
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((coco / "val2014" / image["filename"]).read_bytes())
    (tmp_path / "dataset_coco.json").write_text(json.dumps(record))
    damaged = tmp_path / "val2014" / "COCO_val2014_000000000001.jpg"
    damaged.write_bytes(b"no image")
    images, _ = images_of(tmp_path, crops=False)
    assert len(images) == 15
    [(name, reason)] = images.left_out
    assert name == "COCO_val2014_000000000001"
    assert str(damaged) in reason


@pytest.mark.slow
def test_pretraining_on_images_learns(coco: Path, tmp_path: Path) -> None:
    recipe = recipe_of(coco, epochs=10, hardest_after=10, random_crops=True)
    told: list[PretrainingSummary] = []
    result = pretrain(recipe, tmp_path / "run", on_epoch=told.append)
    losses = [summary.loss for summary in result.history]
    assert losses[-1] < 0.8 * losses[0]
    assert result.left_out == ()
    assert "sentence->frame R@1" in result.history[-1].recall
    extractor = GridExtractor(recipe.features.model_copy(update={"weights": str(result.weights)}))
    assert extractor.feature_size == 96


@pytest.mark.slow
def test_a_frozen_backbone_stays_and_the_rate_falls(coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def watched(self: torch.optim.Adam, *args: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    recipe = recipe_of(
        coco, epochs=3, frozen_epochs=3, rate_falls_after=2, optimizer={"learning_rate": 0.01, "schedule": "constant"}
    )
    torch.manual_seed(epoch_seed(recipe.seed, 0))
    before = GridExtractor(recipe.features.model_copy(update={"weights": "random"})).network.state_dict()
    before = {name: value.clone() for name, value in before.items()}
    frozen = load_file(pretrain(recipe, tmp_path / "frozen").weights)
    assert all(torch.equal(before[name], frozen[name]) for name in before)  # statistics of its normalisation too
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.001, 0.001])
    thawed = recipe_of(coco, epochs=3, frozen_epochs=2)
    after = load_file(pretrain(thawed, tmp_path / "thawed").weights)
    learned = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(learned) == len(before)


@pytest.mark.slow
def test_a_run_that_stopped_while_frozen_continues_exactly(coco: Path, tmp_path: Path) -> None:
    recipe = recipe_of(coco, epochs=3, frozen_epochs=2, random_crops=True)

    def stop(summary: PretrainingSummary) -> None:
        if summary.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(recipe, tmp_path / "stopped", on_epoch=stop)
    continued = pretrain(recipe, tmp_path / "stopped", resume=True).weights
    assert continued.read_bytes() == pretrain(recipe, tmp_path / "straight").weights.read_bytes()


def test_random_crops_of_videos_are_refused(coco: Path, tmp_path: Path) -> None:
    recipe = recipe_of(coco, random_crops=True)
    assert error_of(
        ConfigError, pretrain, recipe.model_copy(update={"corpus": CorpusSettings(kind="msrvtt", root=coco)}), tmp_path / "run"
    ) == ("pretraining.random_crops: frames of videos are kept as centre crops; set it to false, or corpus.kind to coco.")
