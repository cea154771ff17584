"""The one guard around libraries that read strangers' files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from stap.errors import StapError
from stap.files import one_line, printable, regular_file

__all__ = ["MOST_EXPANDED", "Guard", "reading"]

Guard = Callable[[Path], AbstractContextManager[None]]  # `reading` with all but the path

MOST_EXPANDED = (
    100  # times its size that a compressed file, or a part of one, may become; real features become 2 to 10 times theirs
)
LONGEST_REASON = 200  # characters of a library's message


@contextmanager
def reading(path: Path, error_type: type[StapError], what: str, advice: str) -> Iterator[None]:
    """Whatever a library raises on a damaged or hostile file becomes one sentence that names the file.

    It is as broad as that on purpose: on 3,500 damaged files h5py, NumPy, zipfile and PyTorch raised fourteen kinds of errors, MemoryError
    and RecursionError among them, and none documents them. Errors of stap's own pass through.
    what, advice: 'not a whole HDF5 file', and the end of the message. Raises error_type, also unless there is a plain file.
    """
    regular_file(path, error_type, advice)
    try:
        yield
    except StapError:
        raise
    except Exception as error:
        reason = printable(one_line(error))
        shown = reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 3] + "..."
        raise error_type(f"{path}: {what} ({shown}). {advice}") from error
