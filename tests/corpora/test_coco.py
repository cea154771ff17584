"""Caption files in COCO's own layout and in Karpathy's, with the fields that the published files have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from raising import error_of
from stap.corpora.coco import LAYOUT
from stap.corpora.loading import load_corpus_with_files
from stap.errors import CorpusError
from stap.recipes.settings import CorpusSettings

Json = dict[str, Any]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 32), (200, 30, 30)).save(path)


def image_record(number: int, split: str = "train2014") -> Json:
    name = f"COCO_{split}_{number:012d}.jpg"
    return {
        "license": 5,
        "file_name": name,
        "coco_url": f"http://images.cocodataset.org/{split}/{name}",
        "height": 32,
        "width": 40,
        "date_captured": "2013-11-14 16:28:13",
        "flickr_url": "http://farm4.staticflickr.com/3153/2970773875_164f0c0b83_z.jpg",
        "id": number,
    }


def captions_file(images: list[Json], captions: list[tuple[int, str]]) -> Json:
    annotations = [{"image_id": image, "id": 48 + n, "caption": caption} for n, (image, caption) in enumerate(captions)]
    info = {"description": "COCO 2014 Dataset", "version": "1.0", "year": 2014}
    return {"info": info, "images": images, "licenses": [{"id": 5, "name": "..."}], "annotations": annotations}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Three training images and one of validation, as COCO publishes them."""
    train = captions_file(
        [image_record(n) for n in (9, 25, 30)], [(25, "A giraffe. "), (9, "Food"), (30, "Vases"), (9, "A tray")]
    )
    val = captions_file([image_record(42, "val2014")], [(42, "A dog on shoes.")])
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "captions_train2014.json").write_text(json.dumps(train))
    (tmp_path / "annotations" / "captions_val2014.json").write_text(json.dumps(val))
    for number in (9, 25, 30):
        picture(tmp_path / "train2014" / f"COCO_train2014_{number:012d}.jpg")
    picture(tmp_path / "val2014" / "COCO_val2014_000000000042.jpg")
    return tmp_path


def karpathy_record(number: int, split: str, folder: str | None = "val2014") -> Json:
    name = f"COCO_val2014_{number:012d}.jpg"
    raw = [f"Caption {n} of {number}." for n in range(2)]
    sentences = [{"tokens": text.lower().strip(".").split(), "raw": text, "imgid": 0, "sentid": 770337} for text in raw]
    record = {"filename": name, "imgid": 0, "split": split, "sentids": [770337], "sentences": sentences, "cocoid": number}
    return record | ({"filepath": folder} if folder else {})


def write_karpathy(folder: Path, records: list[Json]) -> Path:
    (folder / "dataset_coco.json").write_text(json.dumps({"images": records, "dataset": "coco"}))
    return folder


def test_as_coco_publishes_it(published: Path) -> None:
    corpus = load_corpus_with_files(CorpusSettings(kind="coco", root=published))
    assert [(clip.id, clip.split, clip.captions) for clip in corpus.clips] == [
        ("COCO_train2014_000000000009", "train", ("Food", "A tray")),
        ("COCO_train2014_000000000025", "train", ("A giraffe. ",)),
        ("COCO_train2014_000000000030", "train", ("Vases",)),
        ("COCO_val2014_000000000042", "validation", ("A dog on shoes.",)),
    ]
    assert corpus.name == "COCO"
    assert all(clip.path.is_file() for clip in corpus.clips)


@pytest.mark.parametrize("move", [lambda root: root / "images", lambda root: root.parent / "elsewhere"])
def test_images_in_other_places(published: Path, move: Callable[[Path], Path]) -> None:
    folder = move(published)
    folder.mkdir()
    for name in ("train2014", "val2014"):
        (published / name).rename(folder / name)
    videos = None if folder.name == "images" else folder
    corpus = load_corpus_with_files(CorpusSettings(kind="coco", root=published, videos=videos))
    assert {clip.path.parent.parent for clip in corpus.clips} == {folder}


def test_karpathy_s_splits(tmp_path: Path) -> None:
    """'restval' is part of COCO's validation images that are used for training."""
    splits = {1: "train", 2: "restval", 3: "val", 4: "test"}
    write_karpathy(tmp_path, [karpathy_record(number, split) for number, split in splits.items()])
    for number in splits:
        picture(tmp_path / "val2014" / f"COCO_val2014_{number:012d}.jpg")
    corpus = load_corpus_with_files(CorpusSettings(kind="coco", root=tmp_path))
    assert [clip.split for clip in corpus.clips] == ["train", "train", "validation", "test"]
    assert corpus.clips[1].captions == ("Caption 0 of 2.", "Caption 1 of 2.")


def test_flickr_s_images_lie_in_one_folder(tmp_path: Path) -> None:
    write_karpathy(tmp_path, [karpathy_record(1, "train", None)])
    picture(tmp_path / "images" / "COCO_val2014_000000000001.jpg")
    [clip] = load_corpus_with_files(CorpusSettings(kind="coco", root=tmp_path)).clips
    assert clip.path == tmp_path / "images" / "COCO_val2014_000000000001.jpg"


def test_a_missing_image(published: Path) -> None:
    missing = published / "train2014" / "COCO_train2014_000000000025.jpg"
    missing.unlink()
    assert error_of(CorpusError, load_corpus_with_files, CorpusSettings(kind="coco", root=published)) == (
        f"{published}: 1 of 4 clips have no image file: {missing}. "
        "Put the files there, or set corpus.available_only=true to use only the clips that have one."
    )
    assert len(load_corpus_with_files(CorpusSettings(kind="coco", root=published, available_only=True)).clips) == 3


def test_no_caption_file_and_no_image(tmp_path: Path) -> None:
    assert error_of(CorpusError, load_corpus_with_files, CorpusSettings(kind="coco", root=tmp_path)) == (
        f"{tmp_path}: neither dataset_coco.json nor annotations/captions_train2014.json (or 2017) is there. "
        "Put one of them there, or name the files in corpus.captions."
    )
    write_karpathy(tmp_path, [karpathy_record(1, "train")])
    error = error_of(CorpusError, load_corpus_with_files, CorpusSettings(kind="coco", root=tmp_path, available_only=True))
    assert error == f"{tmp_path}: no clip has an image file. Expected them in {tmp_path}."


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([], "no list of objects called 'images'. Expected {layout}."),
        ({"images": [{"id": 1}], "annotations": []}, "'file_name' is None in {{'id': 1}}. Expected text."),
        (
            {"images": [], "annotations": [{"image_id": "1"}]},
            "'image_id' is '1' in {{'image_id': '1'}}. Expected a whole number.",
        ),
        (
            captions_file([image_record(9)], [(9, "a"), (7, "b")]),
            "a caption belongs to image 7, which is not among the images.",
        ),
        (
            captions_file([image_record(9)], []),
            "COCO_train2014_000000000009.jpg has no caption. Add one, or take the image out.",
        ),
        (
            {"images": [karpathy_record(1, "dev")]},
            "COCO_val2014_000000000001.jpg is in split 'dev'. Expected train, restval, val, test.",
        ),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, content: object, problem: str) -> None:
    file = tmp_path / "captions_train2014.json"
    file.write_text(json.dumps(content))
    picture(tmp_path / "COCO_train2014_000000000009.jpg")
    error = error_of(CorpusError, load_corpus_with_files, CorpusSettings(kind="coco", root=tmp_path, captions=(file,)))
    assert error == f"{file}: {problem.format(layout=LAYOUT)}"


def test_a_file_whose_name_tells_no_split(tmp_path: Path) -> None:
    file = tmp_path / "captions.json"
    file.write_text(json.dumps(captions_file([image_record(9)], [(9, "a")])))
    assert error_of(CorpusError, load_corpus_with_files, CorpusSettings(kind="coco", root=tmp_path, captions=(file,))) == (
        f"{file}: its name does not tell which split it is. Expected 'train' or 'val' in it, as in captions_train2014.json."
    )
