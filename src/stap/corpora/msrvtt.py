"""MSR-VTT (Xu et al. 2016), and generated scenes, which are written in its layout.

root/train_val_videodatainfo.json + test_videodatainfo.json    as published
root/videodatainfo.json                                        or all in one (generated scenes, the 2017 challenge)
root/TrainValVideo/video0.mp4 ...    root/TestVideo/video7010.mp4 ...
root/facts.json                                                generated scenes only: what each shows
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from stap.corpora.corpus import Annotations, Clip, Split
from stap.corpora.files import check_folder, find_files, read_each, read_json
from stap.corpora.problems import OnProblem, Problem, listed
from stap.corpora.recognise import looks_like
from stap.errors import CorpusError
from stap.recipes.settings import CorpusSettings

__all__ = ["FACTS", "FOLDERS", "SPLIT_NAMES", "WHOLE", "read_annotations"]

PUBLISHED = ("train_val_videodatainfo.json", "test_videodatainfo.json")
WHOLE = "videodatainfo.json"
FACTS = "facts.json"
SPLIT_NAMES: Mapping[str, Split] = {"train": "train", "validate": "validation", "test": "test"}
FOLDERS: Mapping[Split, str] = {"train": "TrainValVideo", "validation": "TrainValVideo", "test": "TestVideo"}
LAYOUT = "MSR-VTT's layout: an object with a list 'videos' (video_id, split) and a list 'sentences' (video_id, caption)"


def read_annotations(settings: CorpusSettings, on_problem: OnProblem) -> Annotations:
    """The clips of the caption files; see `loading.load_annotations`."""
    root, files = _caption_files(settings)
    videos = settings.videos or root
    name = "MSR-VTT"

    def read(file: Path) -> list[Clip]:
        nonlocal name
        content = read_json(file, LAYOUT, on_problem)
        name = (_name(content) if file.name == WHOLE else None) or name
        return _clips(file, content, videos, on_problem)

    clips = read_each(files, read, on_problem)
    return Annotations(name, tuple(_with_facts(clips, root / FACTS)))


def _caption_files(settings: CorpusSettings) -> tuple[Path, list[Path]]:
    """The folder in which everything else is, and the files of captions."""
    expected = f"the folder of MSR-VTT with {PUBLISHED[0]} and {PUBLISHED[1]}, or with {WHOLE}"
    root = check_folder(settings.root, expected) if settings.root is not None else None
    if settings.captions:
        files = find_files(root, settings.captions, f"{PUBLISHED[0]} and {PUBLISHED[1]}, or {WHOLE}")
        return root or files[0].parent, files
    assert root is not None, "load_annotations asks for a root or captions"
    return root, [root / WHOLE] if (root / WHOLE).is_file() else [root / name for name in PUBLISHED]


def _name(content: Any) -> str | None:
    info = content.get("info") if isinstance(content, dict) else None
    name = info.get("name") if isinstance(info, dict) else None
    return str(name) if name else None


def _clips(file: Path, content: Any, folder: Path, on_problem: OnProblem) -> list[Clip]:
    videos, sentences = _records(file, content, "videos"), _records(file, content, "sentences")
    usable = [video for video in videos if _is_usable(file, video, ("video_id", "split"), on_problem)]
    captions: dict[str, list[str]] = {video["video_id"]: [] for video in usable}
    left_out = {video.get("video_id") for video in videos} - captions.keys()
    for sentence in sentences:
        if not _is_usable(file, sentence, ("video_id", "caption"), on_problem):
            continue
        if sentence["video_id"] in captions:
            captions[sentence["video_id"]].append(sentence["caption"])
        elif sentence["video_id"] not in left_out:
            on_problem(Problem("name", _of_nobody(file, sentence["video_id"])))
    silent = [video_id for video_id, lines in captions.items() if not lines]
    if silent:
        sentence_ = (
            f"{file}: {len(silent)} of {len(videos)} videos have no sentence: {listed(silent)}. Expected at least one each."
        )
        on_problem(Problem("no caption", sentence_))
    return [_clip(video, captions, folder) for video in usable if captions[video["video_id"]]]


def _of_nobody(file: Path, video_id: str) -> str:
    return f"{file}: a sentence belongs to {video_id}, which is not among the videos. Expected {LAYOUT}."


def _clip(video: Mapping[str, str], captions: Mapping[str, list[str]], folder: Path) -> Clip:
    video_id, split = video["video_id"], SPLIT_NAMES[video["split"]]
    inside = folder / FOLDERS[split]
    path = (inside if inside.is_dir() else folder) / f"{video_id}.mp4"
    return Clip(video_id, path, split, tuple(captions[video_id]))


def _records(file: Path, content: Any, name: str) -> list[dict[str, Any]]:
    records = content.get(name) if isinstance(content, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise CorpusError(
            f"{file}: no list of objects called {name!r}. Expected {LAYOUT}.{looks_like(content, other_than='msrvtt')}"
        )
    return records


def _is_usable(file: Path, record: Mapping[str, Any], names: Iterable[str], on_problem: OnProblem) -> bool:
    for name in names:
        if not isinstance(record.get(name), str):
            on_problem(Problem("line", f"{file}: {name!r} is {record.get(name)!r} in {dict(record)!r}. Expected text."))
            return False
    if record.get("split", "train") not in SPLIT_NAMES:
        sentence = f"{file}: {record['video_id']} is in split {record['split']!r}. Expected one of {', '.join(SPLIT_NAMES)}."
        on_problem(Problem("split", sentence))
        return False
    return True


def _with_facts(clips: list[Clip], file: Path) -> list[Clip]:
    if not file.is_file():
        return clips
    facts = read_json(file, "the facts of each video of a generated corpus")
    missing = [clip.id for clip in clips if not isinstance(facts, dict) or not isinstance(facts.get(clip.id), dict)]
    if missing:
        raise CorpusError(
            f"{file}: no facts of {len(missing)} videos, the first is {missing[0]}. Write the scenes again, or remove the file."
        )
    return [replace(clip, facts=facts[clip.id]) for clip in clips]
