"""Video files on disk: finding them in folders, and a first look at one before it is opened."""

import os
from collections.abc import Iterable
from pathlib import Path

from stap.errors import VideoError
from stap.files import files_below

__all__ = ["VIDEO_SUFFIXES", "check_file", "find_videos"]

_SUFFIXES = (
    "3g2 3gp asf avi divx dv f4v flv gif m1v m2ts m2v m4v mjpeg mjpg mkv mov mp4 mpeg mpg mts mxf nut ogm ogv rm rmvb ts vob "
    "webm wmv y4m"
)
VIDEO_SUFFIXES: frozenset[str] = frozenset(f".{name}" for name in _SUFFIXES.split())


def find_videos(paths: Iterable[str | Path]) -> list[Path]:
    """The video files that the paths stand for, in the order of the paths.

    A file is taken as it is, whatever its suffix. A folder gives every file below it whose suffix is in VIDEO_SUFFIXES
    (upper or lower case), sorted by path; names that begin with a dot are left out. A file met twice is listed once.

    Raises VideoError for a path that does not exist and for a folder that holds no video.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        try:
            videos = _videos_below(path) if path.is_dir() else [_existing(path)]
        except OSError as problem:
            raise _not_accessible(path, problem) from None
        found.update(dict.fromkeys(videos))
    return list(found)


def check_file(path: Path) -> None:
    """Raise VideoError unless the path is a file with something in it."""
    try:
        size_bytes = _existing(path).stat().st_size
    except OSError as problem:
        raise _not_accessible(path, problem) from None
    if path.is_dir():
        raise VideoError(f"{path}: this is a folder, and one video file was expected. Give a file inside it.")
    if not path.is_file():
        raise VideoError(f"{path}: this is a device or a pipe, and a video file was expected. Save the video to a file first.")
    if not os.access(path, os.R_OK):
        raise VideoError(f"{path}: no permission to read this file, and a readable video was expected. Allow it (chmod +r).")
    if size_bytes == 0:
        raise VideoError(f"{path}: the file is empty (0 bytes), and a video was expected. Copy or download it again.")


def _existing(path: Path) -> Path:
    if path.exists():
        return path
    if path.is_symlink():
        raise VideoError(
            f"{path}: a broken link to '{path.readlink()}', and a video was expected. Bring the file back, or remove the link."
        )
    hint = (
        f"'{path.parent}' exists; check the name."
        if path.parent.is_dir()
        else f"The folder '{path.parent}' does not exist either."
    )
    raise VideoError(f"{path}: there is no such file, and a video was expected. {hint}")


def _videos_below(folder: Path) -> list[Path]:
    videos = [path for path in files_below(folder) if path.suffix.lower() in VIDEO_SUFFIXES or path.is_dir()]
    if not videos:
        raise VideoError(
            f"{folder}: no video in this folder or below it, and files such as .mp4, .mkv, .webm or .avi were expected. "
            "Give another folder, or name the files themselves."
        )
    return videos


def _not_accessible(path: Path, problem: OSError) -> VideoError:
    return VideoError(f"{path}: the system does not give access to it ({problem.strerror}). Check its name and permissions.")
