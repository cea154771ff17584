"""MSVD (Chen & Dolan 2011), as the captioning papers split it.

root/AllVideoDescriptions.txt     "clip caption" a line; lines that start with # are comments
  or root/MSR Video Description Corpus.csv (also called video_corpus.csv), the table as first published, in many languages
root/youtube_mapping.txt          "clip vidN" a line; vid1-1200 train, 1201-1300 validation, 1301-1970 test
root/YouTubeClips/clip.avi ...

A clip is called <YouTube id>_<start>_<end>. The numbers N are the places (from 1) of the 1,970 names in the order of their bytes,
so a missing mapping is made up for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from stap.corpora.corpus import Annotations, Clip, Split
from stap.corpora.files import check_folder, find_files, read_json, read_rows, read_text
from stap.corpora.problems import OnProblem, Problem, listed, shortened
from stap.corpora.recognise import looks_like
from stap.errors import CorpusError
from stap.recipes.settings import CorpusSettings

__all__ = ["LAST", "MAPPING", "number_by_bytes", "read_annotations"]

DESCRIPTIONS = "AllVideoDescriptions.txt"
TABLES = ("MSR Video Description Corpus.csv", "video_corpus.csv")
COLUMNS = ("VideoID", "Start", "End", "Source", "Language", "Description")
MAPPING = "youtube_mapping.txt"
FOLDER = "YouTubeClips"
LAST_TRAIN, LAST_VALIDATION, LAST = 1200, 1300, 1970

Captions = dict[str, list[str]]


def read_annotations(settings: CorpusSettings, on_problem: OnProblem) -> Annotations:
    """The clips of the mapping with their captions; see `loading.load_annotations`."""
    file, mapping = _caption_files(settings)
    videos = settings.videos or (settings.root or settings.captions[0].parent) / FOLDER
    captions = _read_table(file, settings, on_problem) if file.suffix.lower() == ".csv" else _read_lines(file, on_problem)
    if mapping is not None:
        numbers = _read_mapping(mapping, on_problem)
    else:
        numbers = number_by_bytes(captions, _names_of_videos(videos), file, on_problem)
    _check_agreement(captions, numbers, file, mapping, on_problem)
    clips = [
        Clip(f"vid{number}", videos / f"{clip}.avi", _split(number), tuple(captions[clip]))
        for clip, number in sorted(numbers.items(), key=lambda item: item[1])
        if clip in captions
    ]
    return Annotations("MSVD", tuple(clips))


def number_by_bytes(names: Iterable[str], videos: Iterable[str], file: Path, on_problem: OnProblem) -> dict[str, int]:
    """The number of each clip, as in the published mapping: its place, from 1, among the 1,970 names in the order of their bytes.

    videos: names of the clips that have a file. They choose the 1,970 where the captions are of more clips, as in the first table.
    """
    names = set(names)
    if len(names) != LAST and len(names & set(videos)) == LAST:
        names &= set(videos)
    if len(names) != LAST:
        on_problem(
            Problem(
                "count",
                f"{file}: captions of {len(names)} clips and no {MAPPING} next to it. Expected {LAST:,} clips, which can be numbered by "
                f"their names, or {MAPPING}; without it, the splits would not be those of the papers. Put {MAPPING} there.",
            )
        )
    return {name: number for number, name in enumerate(sorted(names, key=str.encode), start=1)}


def _caption_files(settings: CorpusSettings) -> tuple[Path, Path | None]:
    """The file of captions, and that of the mapping if there is one."""
    expected = f"the folder of MSVD with {DESCRIPTIONS} and {MAPPING}"
    root = check_folder(settings.root, expected) if settings.root is not None else None
    given = find_files(root, settings.captions, f"{DESCRIPTIONS} or {TABLES[0]}")
    mappings = [file for file in given if "mapping" in file.name]
    captions = [file for file in given if file not in mappings]
    if not captions:
        assert root is not None, "load_annotations asks for a root or captions"
        captions = [root / name for name in (DESCRIPTIONS, *TABLES) if (root / name).is_file()] or [root / DESCRIPTIONS]
    beside = [folder / MAPPING for folder in (root, captions[0].parent) if folder is not None]
    return captions[0], next((file for file in [*mappings, *beside] if file.is_file()), None)


def _names_of_videos(folder: Path) -> set[str]:
    from stap.video.files import VIDEO_SUFFIXES  # its package is heavy

    return {path.stem for path in folder.glob("*") if path.suffix.lower() in VIDEO_SUFFIXES}


def _read_mapping(file: Path, on_problem: OnProblem) -> dict[str, int]:
    """Clip name to number N of vidN."""
    expected = "lines of a clip name, a space and vidN, N from 1 to 1970"
    numbers: dict[str, int] = {}
    taken: set[int] = set()
    for line_number, line in enumerate(read_text(file, expected, on_problem).split("\n"), start=1):
        if not line.strip():
            continue
        clip, _, name = line.strip().partition(" ")
        number = int(name[3:]) if name.startswith("vid") and name[3:].isdecimal() else 0
        if not 1 <= number <= LAST:
            on_problem(Problem("line", f"{file}, line {line_number}: {shortened(line.strip())!r}. Expected {expected}."))
        elif clip in numbers or number in taken:
            sentence = f"{file}, line {line_number}: {line.strip()!r} comes twice. Expected each clip and number once."
            on_problem(Problem("split", sentence))
        else:
            numbers[clip] = number
            taken.add(number)
    return numbers


def _read_lines(file: Path, on_problem: OnProblem) -> Captions:
    """Captions of each clip. Lines end with \\n only: captions hold other characters that split lines elsewhere."""
    expected = "lines of a clip name, a space and a caption"
    captions: Captions = {}
    text = read_text(file, expected, on_problem)
    if text.lstrip()[:1] in ("{", "["):
        raise CorpusError(f"{file}: JSON. Expected {expected}.{looks_like(read_json(file, expected), other_than='msvd')}")
    for line_number, line in enumerate(text.split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        clip, space, caption = line.partition(" ")
        if not space or not caption.strip():
            on_problem(Problem("line", f"{file}, line {line_number}: {shortened(line)!r}. Expected {expected}."))
        else:
            captions.setdefault(clip, []).append(caption)
    return captions


def _read_table(file: Path, settings: CorpusSettings, on_problem: OnProblem) -> Captions:
    """Captions of each clip from the table as first published, in the language and from the sources that are wanted."""
    expected = f"the table of the MSR Video Description Corpus, with the columns {', '.join(COLUMNS)}"
    captions: Captions = {}
    for line_number, row in read_rows(file, COLUMNS, expected, on_problem):
        if row["Language"].lower() != settings.language or (settings.sources == "clean" and row["Source"].lower() != "clean"):
            continue
        where = f"{file}, line {line_number}"
        if not row["Description"].strip():
            on_problem(Problem("caption", f"{where}: no description. It is left out.", is_error=False))
        elif not _names_a_clip(row):
            on_problem(Problem("line", f"{where}: {_damaged(row)}"))
        else:
            captions.setdefault(_clip_name(row), []).append(row["Description"])
    return captions


def _clip_name(row: Mapping[str, str]) -> str:
    return f"{row['VideoID']}_{int(row['Start'])}_{int(row['End'])}"


def _names_a_clip(row: Mapping[str, str]) -> bool:
    is_id = re.fullmatch(r"[A-Za-z0-9_-]{11}", row["VideoID"])
    return is_id is not None and row["Start"].isdecimal() and row["End"].isdecimal()


def _damaged(row: Mapping[str, str]) -> str:
    shown = ", ".join(repr(row[name]) for name in ("VideoID", "Start", "End"))
    return (
        f"VideoID, Start and End are {shown}. Expected the 11 characters of a YouTube id and two whole numbers of seconds. "
        "Programs for tables change ids that begin with - or look like numbers: get the file again and do not save it from there."
    )


def _check_agreement(
    captions: Captions, numbers: Mapping[str, int], file: Path, mapping: Path | None, on_problem: OnProblem
) -> None:
    """Whether captions and numbers are of the same clips."""
    if mapping is None:
        return
    unknown = [clip for clip in captions if clip not in numbers]
    if unknown and file.suffix.lower() == ".csv":  # the first table has more clips than the papers use
        sentence = f"{file}: {len(unknown)} clips are not in {mapping.name}: {listed(unknown)}. They are left out."
        on_problem(Problem("count", sentence, is_error=False))
    else:
        for clip in unknown:
            sentence = f"{file}: the clip {clip!r} is not in {mapping.name}. Expected captions of its clips only."
            on_problem(Problem("name", sentence))
    silent = [clip for clip in numbers if clip not in captions]
    if silent:
        on_problem(
            Problem(
                "no caption",
                f"{file}: {len(silent)} of {len(numbers)} clips of {mapping.name} have no caption: {listed(silent)}. "
                "Expected at least one each.",
            )
        )


def _split(number: int) -> Split:
    if number <= LAST_TRAIN:
        return "train"
    return "validation" if number <= LAST_VALIDATION else "test"
