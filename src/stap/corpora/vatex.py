"""VATEX (Wang et al. 2019): ten English and ten Chinese captions per clip, a file per split.

root/vatex_training_v1.0.json    root/vatex_validation_v1.0.json    root/vatex_public_test_english_v1.1.json
    each a list of {"videoID": "<YouTube id>_<start>_<end>", "enCap": [...], "chCap": [...]}
root/videos/<videoID>.mp4 ...    (the corpus comes without videos)

The file's name gives the split. The private test set has no captions, and so it is not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stap.corpora.corpus import Annotations, Clip, Split
from stap.corpora.files import check_folder, find_files, read_each, read_json
from stap.corpora.problems import OnProblem, Problem
from stap.corpora.recognise import looks_like
from stap.errors import CorpusError
from stap.recipes.settings import CorpusSettings

__all__ = ["PUBLISHED", "read_annotations"]

PUBLISHED: Mapping[Split, str] = {
    "train": "vatex_training_v1.0.json",
    "validation": "vatex_validation_v1.0.json",
    "test": "vatex_public_test_english_v1.1.json",
}
SPLIT_SIGNS: Mapping[str, Split] = {"train": "train", "val": "validation", "test": "test"}
FIELDS = {"english": "enCap", "chinese": "chCap"}
FOLDER = "videos"
LAYOUT = "VATEX's layout: a list of objects with 'videoID', 'enCap' and 'chCap'"


def read_annotations(settings: CorpusSettings, on_problem: OnProblem) -> Annotations:
    """The clips of the files that are there; see `loading.load_annotations`."""
    root, files = _caption_files(settings, on_problem)
    videos = settings.videos or root / FOLDER
    clips = read_each(files, lambda file: _clips(file, FIELDS[settings.language], videos, on_problem), on_problem)
    return Annotations("VATEX", tuple(clips))


def _caption_files(settings: CorpusSettings, on_problem: OnProblem) -> tuple[Path, list[Path]]:
    """The folder in which everything else is, and the files of captions."""
    root = check_folder(settings.root, f"the folder of VATEX with {PUBLISHED['train']}") if settings.root is not None else None
    if settings.captions:
        files = find_files(root, settings.captions, PUBLISHED["train"])
        return root or files[0].parent, files
    assert root is not None, "load_annotations asks for a root or captions"
    there = [root / name for name in PUBLISHED.values() if (root / name).is_file()]
    if root / PUBLISHED["train"] not in there:
        raise CorpusError(f"{root / PUBLISHED['train']}: no such file. Expected {LAYOUT}.")
    for split, name in PUBLISHED.items():
        if root / name not in there:
            on_problem(Problem("file", f"{root / name}: not there, so {split} is empty.", is_error=False))
    return root, there


def _clips(file: Path, field: str, videos: Path, on_problem: OnProblem) -> Iterator[Clip]:
    split = _split(file)
    content = read_json(file, LAYOUT, on_problem)
    if not isinstance(content, list) or not all(isinstance(record, dict) and "videoID" in record for record in content):
        raise CorpusError(
            f"{file}: no list of objects with 'videoID'. Expected {LAYOUT}.{looks_like(content, other_than='vatex')}"
        )
    if content and not any(field in record for record in content):
        sentence = f"{file}: no {field!r} in it, so {split} is empty. The captions of this language are not in this file."
        on_problem(Problem("file", sentence, is_error=False))
        return
    for record in content:
        video_id, captions = record["videoID"], _captions(record, field)
        if not isinstance(video_id, str) or not captions:
            shown = {name: record.get(name) for name in ("videoID", field)}
            on_problem(Problem("line", f"{file}: {shown!r}. Expected text in 'videoID' and a list of texts in {field!r}."))
        else:
            yield Clip(video_id, videos / f"{video_id}.mp4", split, captions)


def _captions(record: Mapping[str, Any], field: str) -> tuple[str, ...]:
    captions = record.get(field)
    is_texts = isinstance(captions, list) and all(isinstance(caption, str) for caption in captions)
    return tuple(captions) if captions and is_texts else ()


def _split(file: Path) -> Split:
    """'vatex_training_v1.0.json' is train."""
    places = {file.name.lower().rfind(sign): split for sign, split in SPLIT_SIGNS.items() if sign in file.name.lower()}
    if len(places) != 1:
        raise CorpusError(
            f"{file}: its name does not tell which split it is. Expected 'train', 'val' or 'test' in it, as in {PUBLISHED['train']}; "
            "rename it."
        )
    return next(iter(places.values()))
