"""MSVD (Chen & Dolan 2011), as the captioning papers split it.

root/AllVideoDescriptions.txt     "clip caption" a line; lines that start with # are comments
root/youtube_mapping.txt          "clip vidN" a line; vid1-1200 train, 1201-1300 validation, 1301-1970 test
root/YouTubeClips/clip.avi ...
"""

from __future__ import annotations

from pathlib import Path

from stap.corpora.corpus import Clip, Corpus, Split
from stap.corpora.files import check_folder, read_text, with_video_files
from stap.errors import CorpusError

__all__ = ["read_annotations", "read_msvd"]

DESCRIPTIONS = "AllVideoDescriptions.txt"
MAPPING = "youtube_mapping.txt"
FOLDER = "YouTubeClips"
LAST_TRAIN, LAST_VALIDATION, LAST = 1200, 1300, 1970


def read_msvd(root: Path, *, videos: Path | None = None, available_only: bool = False) -> Corpus:
    """The corpus in `root`, clips in the order vid1, vid2 ..., captions unchanged.

    videos: folder of the video files, named as in YouTubeClips/; otherwise root/YouTubeClips.
    available_only: leave out clips whose video file is missing.
    Raises CorpusError for a missing or malformed file, a clip without caption or video, a caption of an unknown clip.
    """
    root = check_folder(Path(root), f"the folder of MSVD with {DESCRIPTIONS} and {MAPPING}")
    folder = check_folder(Path(videos), "the folder of the video files") if videos is not None else root / FOLDER
    return Corpus("MSVD", with_video_files(read_annotations(root, folder), str(root), available_only=available_only))


def read_annotations(root: Path, videos: Path) -> list[Clip]:
    """The clips, whether their video files are there or not."""
    numbers = _read_mapping(root / MAPPING)
    captions = _read_descriptions(root / DESCRIPTIONS, numbers)
    silent = [clip for clip, lines in captions.items() if not lines]
    if silent:
        raise CorpusError(
            f"{root / DESCRIPTIONS}: {len(silent)} of {len(captions)} clips of {MAPPING} have no caption, the first is {silent[0]}. "
            "Expected at least one each."
        )
    return [
        Clip(f"vid{number}", videos / f"{clip}.avi", _split(number), tuple(captions[clip]))
        for clip, number in sorted(numbers.items(), key=lambda item: item[1])
    ]


def _read_mapping(file: Path) -> dict[str, int]:
    """Clip name to number N of vidN."""
    expected = "lines of a clip name, a space and vidN, N from 1 to 1970"
    numbers: dict[str, int] = {}
    for line_number, line in enumerate(read_text(file, expected).split("\n"), start=1):
        if not line.strip():
            continue
        clip, _, name = line.strip().partition(" ")
        number = int(name[3:]) if name.startswith("vid") and name[3:].isdecimal() else 0
        if not 1 <= number <= LAST:
            raise CorpusError(f"{file}, line {line_number}: {line.strip()!r}. Expected {expected}.")
        if clip in numbers or number in numbers.values():
            raise CorpusError(f"{file}, line {line_number}: {line.strip()!r} comes twice. Expected each clip and number once.")
        numbers[clip] = number
    return numbers


def _read_descriptions(file: Path, numbers: dict[str, int]) -> dict[str, list[str]]:
    """Captions of each clip. Lines end with \\n only: captions hold other characters that split lines elsewhere."""
    expected = "lines of a clip name, a space and a caption"
    captions: dict[str, list[str]] = {clip: [] for clip in numbers}
    for line_number, line in enumerate(read_text(file, expected).split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        clip, space, caption = line.partition(" ")
        if not space or not caption.strip():
            raise CorpusError(f"{file}, line {line_number}: {line!r}. Expected {expected}.")
        if clip not in captions:
            raise CorpusError(
                f"{file}, line {line_number}: the clip {clip!r} is not in {MAPPING}. Expected captions of its clips only."
            )
        captions[clip].append(caption)
    return captions


def _split(number: int) -> Split:
    if number <= LAST_TRAIN:
        return "train"
    return "validation" if number <= LAST_VALIDATION else "test"
