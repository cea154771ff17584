"""What a search of folders finds, and what it says of links."""

from pathlib import Path

import pytest

from stap.files import files_below


def test_linked_folders_are_entered_once_and_broken_links_are_listed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for path in (root / "a" / "1", root / "a" / ".hidden", root / ".dots" / "2", root / "._1", outside / "deep" / "3"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    links = {
        "0-linked": outside,
        "again": outside,
        "b": root / "a",
        "loop": root,
        "broken": root / "none",
        "self": root / "self",
        "4": outside / "deep" / "3",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    found = [path.relative_to(root).as_posix() for path in files_below(root)]
    assert found == ["0-linked/deep/3", "4", "a/1", "broken", "self"]
    with pytest.raises(FileNotFoundError):
        files_below(root / "none")
