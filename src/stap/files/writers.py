"""Who writes: temporary files carry the process that made them in their name, so that those of dead processes can be removed.

    .<machine>-<process>-<its start>-<random>.tmp<suffix>

A process is known by its number and the time of its start, because numbers are used again. The files of other machines, whose processes
cannot be seen from here, are removed when they have not changed for a day, by the clock of the file system.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import uuid
from functools import cache
from pathlib import Path

__all__ = ["is_leftover_name", "is_running", "machine", "remove_leftovers", "seconds_unchanged", "start_of", "temporary_beside"]

NAME = re.compile(r"\.([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{8}\.tmp.*")
FORMER_NAME = re.compile(r"\.[0-9a-f]{32}\.tmp.*")  # of an earlier stap, which did not say whose they were
SECONDS_TO_OUTLIVE = 24 * 3600.0


def temporary_beside(path: Path) -> Path:
    """A new temporary path in the same folder, with the suffix of `path`."""
    own = f"{machine()}-{os.getpid()}-{start_of(os.getpid())}"
    return path.parent / f".{own}-{uuid.uuid4().hex[:8]}.tmp{path.suffix}"


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of writers that are dead. What another process removes meanwhile, or may not be removed, is left."""
    with contextlib.suppress(OSError):
        for path in [Path(entry.path) for entry in os.scandir(folder) if entry.name.startswith(".") and ".tmp" in entry.name]:
            with contextlib.suppress(OSError):
                if _is_leftover(path):
                    path.unlink()


def is_leftover_name(name: str) -> bool:
    """Whether a file of this name is a temporary one of stap's."""
    return bool(NAME.fullmatch(name) or FORMER_NAME.fullmatch(name))


def _is_leftover(path: Path) -> bool:
    made_by = NAME.fullmatch(path.name)
    if made_by and made_by[1] == machine():
        return not is_running(int(made_by[2]), made_by[3])
    return is_leftover_name(path.name) and seconds_unchanged(path) > SECONDS_TO_OUTLIVE


def is_running(process: int, start: str) -> bool:
    """Whether the process of this machine with this number and this start (see `start_of`) lives."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        pass
    return start_of(process) == start


def start_of(process: int) -> str:
    """When a process started, in ticks since the machine did; '0' where the system does not say, 'dead' of one that only its parent keeps."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "0"
    state, *others = status.rpartition(")")[
        2
    ].split()  # proc(5): field 3 and on; the second is a name in parentheses, of any characters
    return "dead" if state in "ZX" else others[18]  # field 22


@cache
def machine() -> str:
    """What tells the processes that can be seen from here from those of other machines and containers: a hash of 8 digits."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):  # Linux
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), str(Path("/proc/self/ns/pid").readlink())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def seconds_unchanged(path: Path) -> float:
    """How long a file has not been written, by the clock of its file system: the clocks of two machines may differ by hours.

    Raises OSError if it is gone, or nothing can be written next to it.
    """
    probe = temporary_beside(path)
    try:
        probe.touch(exist_ok=False)
        return probe.stat().st_mtime - path.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
