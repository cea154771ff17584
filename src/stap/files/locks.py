"""One writer at a time in a folder.

The lock is a file in the folder that says who holds it. Where the file system locks files (flock), the system frees it when the process
dies. Processes of other machines may not see that lock; for them, and where there is no flock, the holder touches the file twice a minute,
and a lock that was not touched for ten minutes, by the clock of the file system, counts as left behind. Nobody ever waits for a lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from stap.errors import StapError
from stap.files.printing import printable
from stap.files.writers import is_running, machine, remove_leftovers, seconds_unchanged, start_of

__all__ = ["LOCK_FILE", "folder_lock"]

LOCK_FILE = ".stap.lock"
HEARTBEAT_SECONDS, SECONDS_TO_OUTLIVE = 30.0, 600.0
TRIES = 5  # to get a file that another process removes again and again
LONGEST_COMMAND = 200  # characters shown of the holder's command line


@contextmanager
def folder_lock(folder: Path, error_type: type[StapError] = StapError) -> Iterator[None]:
    """This process is the only one that writes in the folder while the block runs. Leftovers of dead writers in it are removed.

    The folder is made if it does not exist, and removed again if nothing was written.
    Raises error_type at once, which names the holder, if another has the lock, or if the folder cannot be written.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _acquired(folder, error_type)
    except OSError as error:
        raise error_type(
            f"{folder}: cannot be written ({error.strerror or error}). Name a folder where you may write."
        ) from error
    ended = threading.Event()
    try:
        remove_leftovers(folder)
        threading.Thread(target=_beat, args=(descriptor, ended), name="lock", daemon=True).start()
        yield
    finally:
        ended.set()
        with contextlib.suppress(OSError):
            (folder / LOCK_FILE).unlink()  # before it is freed: who locks the removed file finds that its name is gone
        os.close(descriptor)
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _acquired(folder: Path, error_type: type[StapError]) -> int:
    """An open file that this process has locked and written its name into."""
    path = folder / LOCK_FILE
    for _ in range(TRIES):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            locked = _flock(descriptor)
            holder = _holder(descriptor)
            if locked is False or (holder is not None and _is_alive(holder, path, locked)):
                raise error_type(_sentence(folder, holder))
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    _write(descriptor)
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed it between our opening and our locking
    raise error_type(f"{folder}: other processes keep taking its lock. Wait until they have ended, and run again.")


def _flock(descriptor: int) -> bool | None:
    """Whether the file could be locked; None where the system or the file system has no such locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_alive(holder: dict[str, Any], path: Path, locked: bool | None) -> bool:
    """Whether who wrote the file may be at work still."""
    if holder["machine"] == machine():
        return locked is None and is_running(holder["process"], holder["start"])  # a lock that we got was freed by its death
    return seconds_unchanged(path) < SECONDS_TO_OUTLIVE


def _holder(descriptor: int) -> dict[str, Any] | None:
    """Who wrote the file; None if nobody has, or it was cut short."""
    try:
        content = json.loads(os.pread(descriptor, 4096, 0))
        return {
            "process": int(content["process"]),
            **{name: str(content[name]) for name in ("machine", "start", "host", "command", "since")},
        }
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _sentence(folder: Path, holder: dict[str, Any] | None) -> str:
    who = "another process"
    if holder is not None:
        command, host, since = (printable(holder[name]) for name in ("command", "host", "since"))
        who = f"`{command}` (process {holder['process']} on {host}, since {since})"
    return f"{folder}: {who} is writing in this folder. Wait until it has ended, or name another folder."


def _write(descriptor: int) -> None:
    process = os.getpid()
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv and sys.argv[0] else "python"
    content = {
        "process": process,
        "host": platform.node(),
        "machine": machine(),
        "start": start_of(process),
        "command": command.encode("utf-8", "backslashreplace").decode()[:LONGEST_COMMAND],
        "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(content, indent=1).encode() + b"\n", 0)


def _beat(descriptor: int, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(descriptor)
