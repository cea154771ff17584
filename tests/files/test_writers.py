"""Temporary files of dead writers go, those of living ones stay, whatever the clocks say."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stap.files import remove_leftovers, replacing
from stap.files.writers import is_running, machine, start_of, temporary_beside

WRITER = """
import sys, time
from pathlib import Path
from stap.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    time.sleep(60)
"""


def begun(path: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that is writing the file, and its temporary file."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    return writer, Path(writer.stdout.readline().strip())


@pytest.mark.parametrize("hours", [-30, -1, 0, 1, 30])
def test_a_living_writer_keeps_its_file_and_a_dead_one_loses_it(tmp_path: Path, hours: float) -> None:
    writer, temporary = begun(tmp_path / "a.json")
    try:
        os.utime(temporary, (time.time() + 3600 * hours,) * 2)
        remove_leftovers(tmp_path)
        assert temporary.exists()
    finally:
        writer.kill()
        writer.communicate()
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_another_process_got_does_not_keep_a_file(tmp_path: Path) -> None:
    """In a container that starts again, the writer has the same number as before."""
    left = tmp_path / temporary_beside(tmp_path / "a.json").name.replace(f"-{start_of(os.getpid())}-", "-1-")
    left.touch()
    own = temporary_beside(tmp_path / "a.json")
    own.touch()
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [own]


@pytest.mark.parametrize("name", [".01234567-12-34-89abcdef.tmp.json", "." + "0" * 32 + ".tmp.safetensors"])
def test_files_of_other_machines_stay_for_a_day(tmp_path: Path, name: str) -> None:
    """By the clock of the file system: a process there cannot be asked, and its clock may be off."""
    other = tmp_path / name
    other.touch()
    for hours, stays in ((0, True), (1, True), (23, True), (25, False)):
        os.utime(other, (time.time() - 3600 * hours,) * 2)
        remove_leftovers(tmp_path)
        assert other.exists() == stays, hours
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [".hidden", ".notes.tmp", "a.tmp", ".vim-1-2-3.tmp", ".tmp"])
def test_files_of_others_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    os.utime(tmp_path / name, (0, 0))
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_next_writer_in_a_folder_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    writer, temporary = begun(tmp_path / "a.json")
    writer.kill()
    writer.communicate()
    assert temporary.exists()
    with replacing(tmp_path / "b.json") as unfinished:
        unfinished.touch()
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]


def test_processes() -> None:
    assert is_running(os.getpid(), start_of(os.getpid()))
    assert not is_running(os.getpid(), "1")
    assert not is_running(2**22 + 1, "0")  # above Linux's highest number
    assert not is_running(2**70, "0")
    assert len(machine()) == 8
