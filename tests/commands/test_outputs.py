"""Rows of results stay as they are made: through interruptions, full disks and other encodings."""

import contextlib
import errno
import io
import json
import os
from pathlib import Path

import pytest

from stap.commands.shared import outputs
from stap.commands.shared.console import SafeStream, say
from stap.commands.shared.outputs import JSON_LIST, LINES, Form, growing_rows
from stap.errors import StapError

ODD = "a\x1b[31mb\u202ec\nd\udce9"


def rows_in(text: str, form: Form) -> list[str]:
    return json.loads(text) if form is JSON_LIST else text.splitlines()


def as_row(text: str, form: Form) -> str:
    return json.dumps(text) if form is JSON_LIST else text


@pytest.mark.parametrize("form", [LINES, JSON_LIST])
def test_a_file_is_whole_after_every_row(form: Form, tmp_path: Path) -> None:
    path = tmp_path / "new" / "result"
    with growing_rows(path, form) as rows:
        assert not path.exists()
        for count in range(1, 4):
            rows.add(as_row("x" * count, form))
            assert rows_in(path.read_text(), form) == ["x" * n for n in range(1, count + 1)]
    assert rows_in(path.read_text(), form) == ["x", "xx", "xxx"]


@pytest.mark.parametrize("form", [LINES, JSON_LIST])
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_rows_stay_after_an_error_and_without_rows_the_old_file_does(
    form: Form, error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "result"
    path.write_text("before")
    with contextlib.suppress(error), growing_rows(path, form):
        raise error
    assert path.read_text() == "before"
    with contextlib.suppress(error), growing_rows(path, form) as rows:
        rows.add(as_row("one", form))
        raise error
    assert rows_in(path.read_text(), form) == ["one"]


@pytest.mark.parametrize(("form", "empty"), [(LINES, ""), (JSON_LIST, "[]\n")])
def test_no_rows_replace_the_old_file_too(form: Form, empty: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "result"
    path.write_text("before")
    with growing_rows(path, form):
        pass
    with growing_rows(None, form):
        pass
    assert (path.read_text(), capsys.readouterr().out) == (empty, empty)


class FullDisk(io.FileIO):
    """A file on a disk with room for so many bytes."""

    room = 0

    def write(self, content) -> int:  # type: ignore[no-untyped-def]
        left = self.room - self.tell()
        if len(content) and left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(bytes(content)[:left])


@pytest.mark.parametrize("form", [LINES, JSON_LIST])
@pytest.mark.parametrize("room", [*range(0, 70, 3), 1000])
def test_a_full_disk_keeps_the_rows_that_fit(form: Form, room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FullDisk.room = room
    monkeypatch.setattr(outputs, "_open", lambda path: FullDisk(path, "w"))
    path = tmp_path / "result"
    texts = [f"{n} {'x' * 8}" for n in range(5)]
    kept, sentence = 0, ""
    try:
        with growing_rows(path, form) as rows:
            for text in texts:
                rows.add(as_row(text, form))
                kept += 1
    except StapError as error:
        sentence = str(error)
    expected = (
        f"{path}: cannot be written (No space left on device). It ends with the last result that fitted ({kept} are there)"
    )
    assert sentence.startswith(expected) if kept < 5 else not sentence
    if kept or form is LINES:
        assert rows_in(path.read_text(), form) == texts[:kept]
    else:
        assert path.read_text() == ""
    assert path.stat().st_size <= room


@pytest.mark.parametrize("form", [LINES, JSON_LIST])
def test_stdout_holds_a_whole_document_after_ctrl_c(form: Form, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(KeyboardInterrupt), growing_rows(None, form) as rows:
        rows.add(as_row("one", form))
        rows.add(as_row("two", form))
        raise KeyboardInterrupt
    assert rows_in(capsys.readouterr().out, form) == ["one", "two"]


def test_a_device_is_written_and_not_replaced() -> None:
    with growing_rows(Path(os.devnull), LINES) as rows:
        rows.add("nothing")
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "é ☃ \\x1b[31m \\u202e \\udce9\ttab\n"),
        ("latin-1", "é \\u2603 \\x1b[31m \\u202e \\udce9\ttab\n"),
        ("ascii", "\\xe9 \\u2603 \\x1b[31m \\u202e \\udce9\ttab\n"),
    ],
)
def test_a_stream_of_any_encoding_takes_any_text(encoding: str, shown: str) -> None:
    content = io.BytesIO()
    stream = io.TextIOWrapper(content, encoding=encoding, newline="")
    print("é ☃ \x1b[31m \u202e \udce9\ttab", file=SafeStream(stream))  # type: ignore[arg-type]
    stream.flush()
    assert content.getvalue().decode(encoding) == shown


def test_a_line_end_in_a_name_begins_no_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    say("recipe.yaml: 2 problems:\n  - one\n  - two")
    say("a\nstap: all is well.mp4: no.")
    assert capsys.readouterr().err == "recipe.yaml: 2 problems:\n  - one\n  - two\na\\nstap: all is well.mp4: no.\n"
