import os
from pathlib import Path

import pytest

from raising import error_of
from stap.errors import VideoError
from stap.video import VIDEO_SUFFIXES, find_videos
from stap.video.files import check_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.mp4", "A.MKV", "notes.txt", "deep/er/c.webm", ".hidden.mp4", ".cache/d.mp4", "deep/e.avi"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_gives_the_videos_below_it_sorted(folder):
    assert find_videos([folder]) == [folder / name for name in ("A.MKV", "b.mp4", "deep/e.avi", "deep/er/c.webm")]


def test_paths_keep_their_order_and_a_file_is_taken_whatever_its_suffix(folder):
    assert find_videos([str(folder / "notes.txt"), folder / "deep", folder / "b.mp4"]) == [
        folder / "notes.txt",
        folder / "deep/e.avi",
        folder / "deep/er/c.webm",
        folder / "b.mp4",
    ]


def test_a_file_met_twice_is_listed_once(folder):
    assert find_videos([folder / "deep/e.avi", folder / "deep", folder / "deep/e.avi"]) == [
        folder / "deep/e.avi",
        folder / "deep/er/c.webm",
    ]


def test_links_are_followed_and_broken_ones_said(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "x.mp4").touch()
    (folder / "linked").symlink_to(outside)
    (folder / "gone.mp4").symlink_to(folder / "away.mp4")
    found = find_videos([folder])
    assert folder / "linked/x.mp4" in found
    assert folder / "gone.mp4" in found
    assert error_of(VideoError, check_file, folder / "gone.mp4") == (
        f"{folder}/gone.mp4: a broken link to '{folder}/away.mp4', and a video was expected. Bring the file back, or remove the link."
    )


def test_no_paths_are_no_videos():
    assert find_videos([]) == []


def test_suffixes_are_lower_case_with_their_dot():
    assert {".mp4", ".avi", ".mkv", ".webm", ".gif", ".mov"} <= VIDEO_SUFFIXES
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in VIDEO_SUFFIXES)


def test_a_missing_path(tmp_path):
    assert error_of(VideoError, find_videos, [tmp_path / "none.mp4"]) == (
        f"{tmp_path}/none.mp4: there is no such file, and a video was expected. '{tmp_path}' exists; check the name."
    )


def test_a_missing_folder(tmp_path):
    assert error_of(VideoError, find_videos, [tmp_path / "no" / "none.mp4"]) == (
        f"{tmp_path}/no/none.mp4: there is no such file, and a video was expected. The folder '{tmp_path}/no' does not exist either."
    )


def test_a_folder_without_videos(tmp_path):
    (tmp_path / "notes.txt").touch()
    assert error_of(VideoError, find_videos, [tmp_path]) == (
        f"{tmp_path}: no video in this folder or below it, and files such as .mp4, .mkv, .webm or .avi were expected. "
        "Give another folder, or name the files themselves."
    )


def test_a_name_that_is_too_long(tmp_path):
    path = tmp_path / ("x" * 300 + ".mp4")
    for look in (check_file, lambda path: find_videos([path])):
        assert error_of(VideoError, look, path) == (
            f"{path}: the system does not give access to it (File name too long). Check its name and permissions."
        )


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "private.mp4"
    path.write_bytes(b"x")
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser may read everything
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    error = error_of(VideoError, check_file, path)
    assert error == f"{path}: no permission to read this file, and a readable video was expected. Allow it (chmod +r)."


def test_a_file_that_is_in_order(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"x")
    check_file(tmp_path / "x.mp4")
