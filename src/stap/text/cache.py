"""Results on disk between runs: tokenized captions and scores, under a hash of their inputs.

The folder is `$STAP_CACHE`, or else `$XDG_CACHE_HOME/stap`, or else `~/.cache/stap`; without a home folder it is a temporary one of this process.
All of it may be deleted at any time. A file is complete or absent, and holds a checksum: the content of a damaged one is computed again.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from stap.errors import StapError
from stap.files import read_json, write_atomically

__all__ = ["cache_folder", "digest", "read", "write"]

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """The folder of results; it need not exist yet."""
    if named := os.environ.get("STAP_CACHE"):
        return Path(named)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "stap"
    home = os.path.expanduser("~")  # noqa: PTH111 -- "~" itself where neither HOME nor the user's entry says it, as in some containers
    return (_folder_of_this_process() if home == "~" else Path(home)) / ".cache" / "stap"


@lru_cache(maxsize=1)
def _folder_of_this_process() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="stap-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def digest(content: Any) -> str:
    """A name for JSON-able content: the SHA-256 of it as text."""
    return hashlib.sha256(_text(content).encode()).hexdigest()


def read(kind: str, key: str) -> Any | None:
    """The content under this kind and key; None without a file, or if the file is damaged."""
    path = _path(kind, key)
    try:
        record = read_json(path)
        if record["sha256"] == digest(record["content"]):
            return record["content"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        _log.warning("%s: cannot be used (%s); its content is computed again.", path, error)
        return None
    _log.warning("%s: is damaged (its checksum differs); its content is computed again.", path)
    return None


def write(kind: str, key: str, content: Any) -> None:
    """Keep JSON-able content. If the folder cannot be written, that is logged, and the content is computed again next time."""
    path = _path(kind, key)
    try:
        write_atomically(path, _text({"sha256": digest(content), "content": content}).encode())
    except StapError as error:
        _log.warning("%s The result is computed again next time.", error)


def _path(kind: str, key: str) -> Path:
    return cache_folder() / kind / f"{key}.json"


def _text(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
