"""Only plain files are read, and JSON that is none in any way is one error."""

import json
import math
import os
from pathlib import Path

import pytest

from raising import error_of
from stap.errors import CheckpointError
from stap.files import parse_json, read_bytes, read_json, regular_file


def test_a_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1, 2.5e3, "é", null]}', encoding="utf-8")
    (tmp_path / "link").symlink_to("a.json")
    assert regular_file(tmp_path / "link") == tmp_path / "link"
    assert read_json(tmp_path / "link") == {"a": [1, 2500.0, "é", None]}


def test_what_is_no_plain_file_is_an_error_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    sentences = {
        "pipe": "a named pipe, and a file was expected. Copy it.",
        "": "a folder, and a file was expected. Copy it.",
        "gone": "no such file. Copy it.",
        "loop": "cannot be read (Too many levels of symbolic links). Copy it.",
        "a" * 300: "cannot be read (File name too long). Copy it.",
        "zero\0": "cannot be read (embedded null byte). Copy it.",
    }
    for name, sentence in sentences.items():
        assert (
            error_of(CheckpointError, read_bytes, tmp_path / name, CheckpointError, "Copy it.")
            == f"{tmp_path / name}: {sentence}"
        )
    assert error_of(CheckpointError, read_bytes, Path("/dev/zero"), CheckpointError, "Copy it.") == (
        "/dev/zero: a device, and a file was expected. Copy it."
    )
    with pytest.raises(OSError, match="no plain file"):
        read_json(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "its values are nested too deep"),
        ('{"a":' * 100_000, "its values are nested too deep"),
        ("9" * 5000, "Exceeds the limit (4300 digits) for integer string conversion: value has 5000 digits"),
        ("NaN", "NaN is no number of JSON"),
        ("[-Infinity]", "-Infinity is no number of JSON"),
        ("1e999", "the number 1e999 is too large"),
        ("", "Expecting value"),
        ("{'a': 1}", "Expecting property name enclosed in double quotes"),
    ],
)
def test_json_that_is_none(text: str, reason: str) -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        parse_json(text)
    assert caught.value.msg == reason


def test_numbers_up_to_the_largest_are_read() -> None:
    assert parse_json("[1.7976931348623157e308, 1e-400, -0.0]") == [1.7976931348623157e308, 0.0, -0.0]
    assert math.copysign(1, parse_json("-0.0")) == -1
