"""One writer in a folder: who holds the lock is named, and a lock whose holder died is free at once."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from raising import error_of
from stap.errors import CheckpointError, StapError
from stap.files import folder_lock, locks
from stap.files.locks import LOCK_FILE
from stap.files.writers import machine

HOLDER = """
import sys, time
from pathlib import Path
from stap.files import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def lock(folder: Path) -> None:
    with folder_lock(folder, CheckpointError):
        pass


def test_a_second_writer_is_refused_with_the_name_of_the_first_until_that_dies(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        since = json.loads((folder / LOCK_FILE).read_text())["since"]
        assert error_of(CheckpointError, lock, folder) == (
            f"{folder}: `-c {folder}` (process {holder.pid} on {os.uname().nodename}, since {since}) is writing in this folder. "
            "Wait until it has ended, or name another folder."
        )
        assert (folder / LOCK_FILE).exists()
    finally:
        holder.kill()
        holder.communicate()
    assert (folder / LOCK_FILE).exists()  # nobody removed it
    lock(folder)
    assert list(folder.iterdir()) == []


def test_the_lock_goes_with_the_block_and_a_folder_that_it_made_and_nobody_used(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with contextlib.suppress(ZeroDivisionError), folder_lock(tmp_path / "new"), folder_lock(tmp_path / "there"):
        assert [path.name for path in (tmp_path / "new").iterdir()] == [LOCK_FILE]
        _ = 1 / 0
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert list((tmp_path / "there").iterdir()) == []


def test_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    inside, most, done = 0, 0, []

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            try:
                with folder_lock(tmp_path):
                    inside += 1
                    most = max(most, inside)
                    time.sleep(0.0005)
                    inside -= 1
                    done.append(1)
            except StapError:
                time.sleep(0.0002)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert len(done) > 4


def written_by(folder: Path, **changes: object) -> Path:
    file = folder / LOCK_FILE
    content = {"process": 7, "host": "elsewhere", "machine": "0" * 8, "start": "5", "command": "stap train", "since": "noon"}
    file.write_text(json.dumps(content | changes))
    return file


@pytest.mark.parametrize(("seconds", "is_alive"), [(0, True), (300, True), (3600, False), (-3600, True)])
def test_a_lock_of_another_machine_holds_while_it_is_touched(tmp_path: Path, seconds: float, is_alive: bool) -> None:
    file = written_by(tmp_path)
    os.utime(file, (time.time() - seconds,) * 2)
    if is_alive:
        assert error_of(StapError, lock, tmp_path) == (
            f"{tmp_path}: `stap train` (process 7 on elsewhere, since noon) is writing in this folder. "
            "Wait until it has ended, or name another folder."
        )
    else:
        lock(tmp_path)


def test_the_holder_touches_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.01)
    with folder_lock(tmp_path):
        os.utime(tmp_path / LOCK_FILE, (0, 0))
        deadline = time.monotonic() + 5
        while not (tmp_path / LOCK_FILE).stat().st_mtime and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (tmp_path / LOCK_FILE).stat().st_mtime


def test_where_files_cannot_be_locked_the_process_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_flock", lambda descriptor: None)
    with folder_lock(tmp_path):
        assert f"(process {os.getpid()} on " in error_of(StapError, lock, tmp_path)
    written_by(tmp_path, machine=machine(), process=2**22 + 1)
    lock(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"process": "x"}', "[" * 5000])
def test_a_lock_file_that_was_cut_short_is_free(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK_FILE).write_text(content)
    lock(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert error_of(CheckpointError, lock, tmp_path / "file" / "run") == (
        f"{tmp_path}/file/run: cannot be written (Not a directory). Name a folder where you may write."
    )
