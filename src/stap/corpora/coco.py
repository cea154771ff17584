"""Images with captions, for `stap pretrain`: MSCOCO (Lin et al. 2014; Chen et al. 2015) in its two published forms.

root/dataset_coco.json                                         Karpathy & Fei-Fei 2015: one file, which gives the splits
root/annotations/captions_train2014.json, captions_val2014.json    or as COCO publishes it, a file a split; likewise 2017
root/train2014/COCO_train2014_000000000009.jpg ...             or root/images/train2014/...

Flickr8K and Flickr30K in Karpathy's form (corpus.captions=[dataset_flickr30k.json]) are read too. His fourth split, 'restval', is
used for training, as VSE++ does for its best networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stap.corpora.corpus import Annotations, Clip, Split
from stap.corpora.files import check_folder, find_files, read_each, read_json
from stap.corpora.problems import OnProblem, Problem
from stap.errors import CorpusError
from stap.recipes.settings import CorpusSettings

__all__ = ["read_annotations"]

KARPATHY = "dataset_coco.json"
YEARS = ("2014", "2017")
PUBLISHED: Mapping[str, Split] = {"train": "train", "val": "validation"}
KARPATHY_SPLITS: Mapping[str, Split] = {"train": "train", "restval": "train", "val": "validation", "test": "test"}
LAYOUT = (
    "COCO captions: lists 'images' (id, file_name) and 'annotations' (image_id, caption), or Karpathy's: a list 'images' "
    "(filename, split, sentences with 'raw')"
)


def read_annotations(settings: CorpusSettings, on_problem: OnProblem) -> Annotations:
    """The images with their captions; see `loading.load_annotations`."""
    root = check_folder(settings.root, f"the folder of COCO with {KARPATHY} or annotations/") if settings.root else None
    files = _caption_files(root, settings.captions)
    images = settings.videos or root or files[0].parent
    clips = read_each(files, lambda file: list(_clips(file, images, on_problem)), on_problem)
    return Annotations("COCO", tuple(clips))


def _caption_files(root: Path | None, given: Sequence[Path]) -> list[Path]:
    if given:
        return find_files(root, given, LAYOUT)
    if root is None:
        raise CorpusError("corpus.root is not set. Give the folder of the corpus, for example corpus.root=data/coco.")
    if (root / KARPATHY).is_file():
        return [root / KARPATHY]
    for year in YEARS:
        published = [root / "annotations" / f"captions_{split}{year}.json" for split in PUBLISHED]
        if published[0].is_file():
            return [file for file in published if file.is_file()]
    raise CorpusError(
        f"{root}: neither {KARPATHY} nor annotations/captions_train2014.json (or 2017) is there. "
        "Put one of them there, or name the files in corpus.captions."
    )


def _clips(file: Path, images: Path, on_problem: OnProblem) -> Iterator[Clip]:
    content = read_json(file, LAYOUT, on_problem)
    records = _records(file, content, "images")
    if "annotations" in content:
        yield from _published(file, records, _records(file, content, "annotations"), images, on_problem)
    else:
        yield from _karpathy(file, records, images, on_problem)


def _published(
    file: Path,
    records: Sequence[Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
    images: Path,
    on_problem: OnProblem,
) -> Iterator[Clip]:
    """A file a split, named captions_<folder of its images>.json."""
    split = _split_of(file)
    folder = _folder(images, file.stem.removeprefix("captions_"))
    captions: dict[Any, list[str]] = {_field(file, record, "id", int): [] for record in records}
    for annotation in annotations:
        image, caption = _field(file, annotation, "image_id", int), _field(file, annotation, "caption", str)
        if image in captions:
            captions[image].append(caption)
        else:
            on_problem(Problem("name", f"{file}: a caption belongs to image {image}, which is not among the images."))
    for record in records:
        path = folder / _field(file, record, "file_name", str)
        yield from _with_captions(file, path, split, captions[record["id"]], on_problem)


def _karpathy(file: Path, records: Sequence[Mapping[str, Any]], images: Path, on_problem: OnProblem) -> Iterator[Clip]:
    folders: dict[str, Path] = {}
    for record in records:
        name, split = _field(file, record, "filename", str), _field(file, record, "split", str)
        if split not in KARPATHY_SPLITS:
            on_problem(Problem("split", f"{file}: {name} is in split {split!r}. Expected {', '.join(KARPATHY_SPLITS)}."))
            continue
        captions = [_field(file, sentence, "raw", str) for sentence in _records(file, record, "sentences")]
        inside = str(record.get("filepath", ""))  # COCO's images lie in two folders, Flickr's in one
        folder = folders.setdefault(inside, _folder(images, inside))
        yield from _with_captions(file, folder / name, KARPATHY_SPLITS[split], captions, on_problem)


def _with_captions(file: Path, path: Path, split: Split, captions: list[str], on_problem: OnProblem) -> Iterator[Clip]:
    if captions:
        yield Clip(path.stem, path, split, tuple(captions))
    else:
        on_problem(Problem("no caption", f"{file}: {path.name} has no caption. Add one, or take the image out."))


def _split_of(file: Path) -> Split:
    found = [split for sign, split in PUBLISHED.items() if sign in file.stem]
    if len(found) != 1:
        raise CorpusError(
            f"{file}: its name does not tell which split it is. Expected 'train' or 'val' in it, as in captions_train2014.json."
        )
    return found[0]


def _folder(images: Path, name: str) -> Path:
    """Where the images of one folder of the corpus are: under this name, under images/ and this name, or all in one folder."""
    places = [images / name, images / "images" / name] if name else [images / "images"]
    return next((place for place in places if place.is_dir()), images)


def _records(file: Path, content: Any, name: str) -> list[dict[str, Any]]:
    records = content.get(name) if isinstance(content, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise CorpusError(f"{file}: no list of objects called {name!r}. Expected {LAYOUT}.")
    return records


def _field(file: Path, record: Mapping[str, Any], name: str, kind: type) -> Any:
    value = record.get(name)
    if not isinstance(value, kind):
        what = "text" if kind is str else "a whole number"
        raise CorpusError(f"{file}: {name!r} is {value!r} in {dict(record)!r}. Expected {what}.")
    return value
