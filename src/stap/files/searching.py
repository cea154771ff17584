"""What lies in a folder and below it."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

__all__ = ["files_below", "is_folder"]


def files_below(folder: Path) -> list[Path]:
    """What lies in a folder and below it, sorted by path; names that begin with a dot are left out.

    Linked folders are entered too, every folder once, by its own name if it has one here. What cannot be opened is in the list, so that
    whoever opens it says why: broken links, pipes, and folders that may not be read. Raises OSError if `folder` itself may not be.
    """
    found: list[Path] = []
    folders, links = [folder], deque[Path]()
    entered: set[tuple[int, int]] = set()
    while folders or links:
        current = folders.pop() if folders else links.popleft()
        status = current.stat()
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        try:
            entries = [entry for entry in os.scandir(current) if not entry.name.startswith(".")]
        except OSError:
            if current == folder:
                raise
            found.append(current)
            continue
        links += sorted(current / entry.name for entry in entries if entry.is_symlink() and is_folder(entry))
        folders += [current / entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        found += [current / entry.name for entry in entries if not is_folder(entry)]
    return sorted(found)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether this is a folder, or a link to one; not where that cannot be found out, as of a link to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False
