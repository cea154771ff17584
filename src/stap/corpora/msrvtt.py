"""MSR-VTT (Xu et al. 2016), and generated scenes, which are written in its layout.

root/train_val_videodatainfo.json + test_videodatainfo.json    as published
root/videodatainfo.json                                        or all in one (generated scenes, the 2017 challenge)
root/TrainValVideo/video0.mp4 ...    root/TestVideo/video7010.mp4 ...
root/facts.json                                                generated scenes only: what each shows
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stap.corpora.corpus import Clip, Corpus, Split
from stap.corpora.files import check_folder, read_json, with_video_files
from stap.errors import CorpusError

__all__ = ["FACTS", "FOLDERS", "SPLIT_NAMES", "WHOLE", "read_annotations", "read_msrvtt"]

PUBLISHED = ("train_val_videodatainfo.json", "test_videodatainfo.json")
WHOLE = "videodatainfo.json"
FACTS = "facts.json"
SPLIT_NAMES: Mapping[str, Split] = {"train": "train", "validate": "validation", "test": "test"}
FOLDERS: Mapping[Split, str] = {"train": "TrainValVideo", "validation": "TrainValVideo", "test": "TestVideo"}
LAYOUT = "MSR-VTT's layout: an object with a list 'videos' (video_id, split) and a list 'sentences' (video_id, caption)"


def read_msrvtt(root: Path, *, videos: Path | None = None, available_only: bool = False) -> Corpus:
    """The corpus in `root`, clips in the order of the files, captions unchanged.

    videos: folder that holds TrainValVideo/ and TestVideo/ or the video files themselves; otherwise `root`.
    available_only: leave out clips whose video file is missing.
    Raises CorpusError for a missing or malformed file, a clip without caption or video, a caption of an unknown clip.
    """
    root = check_folder(Path(root), f"the folder of MSR-VTT with {PUBLISHED[0]} and {PUBLISHED[1]}, or with {WHOLE}")
    folder = check_folder(Path(videos), "the folder of the video files") if videos is not None else root
    name, clips = read_annotations(root, folder)
    return Corpus(name, with_video_files(clips, str(root), available_only=available_only))


def read_annotations(root: Path, videos: Path) -> tuple[str, list[Clip]]:
    """The corpus's name and its clips, whether their video files are there or not."""
    whole = (root / WHOLE).is_file()
    files = [root / WHOLE] if whole else [root / name for name in PUBLISHED]
    contents = [read_json(file, LAYOUT) for file in files]
    clips = [clip for file, content in zip(files, contents, strict=True) for clip in _clips(file, content, videos)]
    info = contents[0].get("info") if whole else None
    name = info.get("name") if isinstance(info, dict) else None
    return str(name or "MSR-VTT"), _with_facts(clips, root / FACTS)


def _clips(file: Path, content: Any, folder: Path) -> list[Clip]:
    videos, sentences = _records(file, content, "videos"), _records(file, content, "sentences")
    captions: dict[str, list[str]] = {_field(file, video, "video_id"): [] for video in videos}
    for sentence in sentences:
        video_id = _field(file, sentence, "video_id")
        if video_id not in captions:
            raise CorpusError(f"{file}: a sentence belongs to {video_id}, which is not among the videos. Expected {LAYOUT}.")
        captions[video_id].append(_field(file, sentence, "caption"))
    silent = [video_id for video_id, lines in captions.items() if not lines]
    if silent:
        raise CorpusError(
            f"{file}: {len(silent)} of {len(videos)} videos have no sentence, the first is {silent[0]}. Expected at least one each."
        )
    return [_clip(file, video, captions, folder) for video in videos]


def _clip(file: Path, video: dict[str, Any], captions: Mapping[str, list[str]], folder: Path) -> Clip:
    video_id, split_name = _field(file, video, "video_id"), _field(file, video, "split")
    if split_name not in SPLIT_NAMES:
        raise CorpusError(f"{file}: {video_id} is in split {split_name!r}. Expected one of {', '.join(SPLIT_NAMES)}.")
    split = SPLIT_NAMES[split_name]
    inside = folder / FOLDERS[split]
    path = (inside if inside.is_dir() else folder) / f"{video_id}.mp4"
    return Clip(video_id, path, split, tuple(captions[video_id]))


def _records(file: Path, content: Any, name: str) -> list[dict[str, Any]]:
    records = content.get(name) if isinstance(content, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise CorpusError(f"{file}: no list of objects called {name!r}. Expected {LAYOUT}.")
    return records


def _field(file: Path, record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise CorpusError(f"{file}: {name!r} is {value!r} in {dict(record)!r}. Expected text.")
    return value


def _with_facts(clips: list[Clip], file: Path) -> list[Clip]:
    if not file.is_file():
        return clips
    facts = read_json(file, "the facts of each video of a generated corpus")
    missing = [clip.id for clip in clips if not isinstance(facts, dict) or not isinstance(facts.get(clip.id), dict)]
    if missing:
        raise CorpusError(
            f"{file}: no facts of {len(missing)} videos, the first is {missing[0]}. Write the scenes again, or remove the file."
        )
    return [Clip(clip.id, clip.path, clip.split, clip.captions, facts[clip.id]) for clip in clips]
