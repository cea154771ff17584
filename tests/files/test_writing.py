"""Files are written whole or not at all, and errors take one line."""

import contextlib
import errno
import hashlib
from pathlib import Path

import pytest

from raising import error_of
from stap.errors import CheckpointError, StapError
from stap.files import (
    json_text,
    one_line,
    printable,
    read_json,
    remove_unfinished,
    replacing,
    sha256_of_file,
    write_atomically,
    write_json,
)


def test_write_then_read(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "a.json", {"word": "café", "number": 1.5})
    assert read_json(tmp_path / "new" / "a.json") == {"word": "café", "number": 1.5}
    assert "café" in (tmp_path / "new" / "a.json").read_text(encoding="utf-8")


def test_a_file_keeps_its_content_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with contextlib.suppress(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        _ = 1 / 0
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_the_temporary_file_has_the_suffix_of_the_file(tmp_path: Path) -> None:
    """Libraries choose a format by the suffix."""
    with replacing(tmp_path / "a.png") as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".png")
        temporary.write_bytes(b"x")
    assert (tmp_path / "a.png").read_bytes() == b"x"


def test_what_the_system_refuses_is_an_error_of_the_caller(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert error_of(CheckpointError, write_atomically, tmp_path / "file" / "a.json", b"", CheckpointError) == (
        f"{tmp_path}/file/a.json: cannot be written (File exists). What was there before is kept; "
        "make room or choose another folder, and run again."
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, b"before")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert error_of(CheckpointError, write_atomically, path, b"after", CheckpointError) == (
        f"{path}: cannot be written (No space left on device). What was there before is kept; "
        "make room or choose another folder, and run again."
    )
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


HOSTILE = "a\tb\nc\x00\x1b[2J\x7f\x9b\u200f\u202e\u2066\u2028\udce9 caf\u00e9 \u96ea"


def test_what_a_terminal_would_obey_is_escaped() -> None:
    assert printable(HOSTILE) == ("a\\tb\\nc\\x00\\x1b[2J\\x7f\\x9b\\u200f\\u202e\\u2066\\u2028\\udce9 caf\u00e9 \u96ea")
    assert printable(printable(HOSTILE)) == printable(HOSTILE)
    assert printable("a\tb\n", keep="\t\n") == "a\tb\n"
    assert printable(Path("a\nb")) == "a\\nb"


def test_json_holds_any_text_and_can_be_shown(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {HOSTILE: [HOSTILE]})
    assert read_json(tmp_path / "a.json") == {HOSTILE: [HOSTILE]}
    assert printable(json_text(HOSTILE)) == json_text(HOSTILE)
    assert "caf\u00e9 \u96ea" in json_text(HOSTILE)


def test_temporary_files_are_removed_before_the_process_is_ended(tmp_path: Path) -> None:
    with contextlib.suppress(StapError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        remove_unfinished()
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_one_line() -> None:
    assert one_line(ValueError("first\n  second.")) == "first second"
    assert one_line(ValueError()) == "ValueError"


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 1000)
    assert sha256_of_file(tmp_path / "a") == hashlib.sha256(b"abc" * 1000).hexdigest()
