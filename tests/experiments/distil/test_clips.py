"""Videos, their human captions and their splits: by source, whatever the number of its shots."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raising import error_of
from stap.errors import ConfigError, CorpusError
from stap.experiments.distil.clips import find_clips, source_of, splits_of_sources
from stap.experiments.distil.request import SHOT, Request
from stap.recipes.settings import Recipe


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Ten sources of three shots each; nothing is decoded here."""
    folder = tmp_path / "films"
    for source in range(10):
        for shot in range(3):
            path = folder / "news" / f"day{source}-Scene-{shot:03}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return folder


@pytest.mark.parametrize(
    ("video", "source"),
    [
        ("a/film-Scene-012", "a/film"),
        ("film_shot12", "film"),
        ("film.part3", "film"),
        ("my clip 4", "my"),
        ("video7010", "video7010"),
        ("clip_001", "clip_001"),
        ("holiday_2019", "holiday_2019"),
        ("seashot", "seashot"),
    ],
)
def test_what_the_source_of_a_shot_is_called(video: str, source: str) -> None:
    assert source_of(video, SHOT) == source


def test_no_source_is_divided(videos: Path) -> None:
    clips = find_clips(videos, None, SHOT, seed=1)
    splits: dict[str, set[str]] = {}
    for clip in clips:
        splits.setdefault(source_of(clip.id, SHOT), set()).add(clip.split)
    assert len(splits) == 10
    assert all(len(found) == 1 for found in splits.values())
    assert sorted(clip.split for clip in clips) == ["test"] * 3 + ["train"] * 24 + ["validation"] * 3
    assert [clip.id for clip in clips][:2] == ["news/day0-Scene-000", "news/day0-Scene-001"]
    other = find_clips(videos, None, SHOT, seed=2)
    assert [clip.split for clip in other] != [clip.split for clip in clips]
    assert find_clips(videos, None, "(.+)-x", seed=1)[0].id == clips[0].id


def test_a_pattern_of_one_s_own(videos: Path) -> None:
    by_day = find_clips(videos, None, r"news/(day\d).*", seed=1)
    assert [clip.split for clip in by_day] != []
    assert len({(source_of(clip.id, r"news/(day\d).*"), clip.split) for clip in by_day}) == 10
    for pattern, reason in (
        ("day", "has 0 groups, expected one, which names the source of a clip."),
        ("(", "not a regular expression"),
    ):
        said = error_of(ConfigError, Request, videos, "t", videos, Recipe(), source=pattern)
        assert said.startswith(f"--source {pattern}: {reason}")


def test_two_files_of_one_name(videos: Path) -> None:
    (videos / "news" / "day3-Scene-001.mkv").touch()
    assert error_of(CorpusError, find_clips, videos, None, SHOT, 1) == (
        f"{videos}/news/day3-Scene-001.mkv and {videos}/news/day3-Scene-001.mp4 differ in their suffix alone, and a clip is known by the rest. "
        "Rename one of them."
    )


def test_too_few_sources() -> None:
    assert error_of(CorpusError, splits_of_sources, ["a", "b"], 1) == (
        "2 source videos (a, b): expected at least 3, one each for training, validation and testing. Add videos, or say by --source what the "
        "source of a clip is."
    )
    assert sorted(splits_of_sources(["a", "b", "c"], 1).values()) == ["test", "train", "validation"]


def write(file: Path, *rows: tuple[str, str, str | None]) -> str:
    lines = [
        {"video": f"news/day{video}.mp4", "caption": caption} | ({"split": split} if split else {})
        for video, caption, split in rows
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    return str(file)


def test_human_captions_with_splits_decide(videos: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "human.jsonl", ("2-Scene-001", "a man", "test"), ("3-Scene-001", "a dog", "validation"))
    clips = {clip.id: clip for clip in find_clips(videos, table, SHOT, seed=1)}
    held = {source_of(video, SHOT): clip.split for video, clip in clips.items() if clip.split != "train"}
    assert held == {"news/day2": "test", "news/day3": "validation"}
    assert sum(clip.split == "test" for clip in clips.values()) == 3  # all shots of the source
    human = clips["news/day2-Scene-001"].human
    assert human is not None
    assert human.captions == ("a man",)
    assert clips["news/day2-Scene-000"].human is None


def test_human_captions_without_splits_do_not(videos: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "human.jsonl", ("2-Scene-001", "a man", None))
    with_them = find_clips(videos, table, SHOT, seed=1)
    assert [clip.split for clip in with_them] == [clip.split for clip in find_clips(videos, None, SHOT, seed=1)]


def test_splits_that_would_divide_a_source(videos: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "human.jsonl", ("2-Scene-001", "a man", "test"), ("2-Scene-002", "a dog", "train"))
    assert error_of(CorpusError, find_clips, videos, table, SHOT, 1) == (
        "news/day2-Scene-002: is in train, and another clip of its source news/day2 in test. Put all clips of a source into one split, or say by "
        "--source what the source of a clip is."
    )


def test_human_captions_of_other_videos(videos: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "human.jsonl", ("99", "a man", None))
    assert error_of(CorpusError, find_clips, videos, table, SHOT, 1) == (
        f"{table}: none of its 1 clips is among the 30 videos of {videos}. Check the names."
    )
