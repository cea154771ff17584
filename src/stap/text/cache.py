"""Results kept on disk between runs: tokenized captions and METEOR's answers, found again by a hash of what they come from.

The folder is `$STAP_CACHE`, or else `$XDG_CACHE_HOME/stap`, or else `~/.cache/stap`. All of it may be deleted at any time. A
file is complete or absent, and holds a checksum: one that is damaged is computed again, never believed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["cache_folder", "digest", "read", "write"]

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where results are kept; it need not exist yet."""
    if named := os.environ.get("STAP_CACHE"):
        return Path(named)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "stap"
    return Path("~/.cache/stap").expanduser()


def digest(content: Any) -> str:
    """A name for JSON-able content: the SHA-256 of it as text."""
    return hashlib.sha256(_text(content).encode()).hexdigest()


def read(kind: str, key: str) -> Any | None:
    """What was kept under this kind and key; None if nothing was, or if the file is damaged."""
    path = _path(kind, key)
    try:
        kept = json.loads(path.read_bytes())
        if kept["sha256"] == digest(kept["content"]):
            return kept["content"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        _log.warning("%s: cannot be used (%s); what it held is computed again.", path, error)
        return None
    _log.warning("%s: is damaged (its checksum differs); what it held is computed again.", path)
    return None


def write(kind: str, key: str, content: Any) -> None:
    """Keep JSON-able content. A folder that cannot be written costs only time later: that is logged and is no error."""
    path = _path(kind, key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(_text({"sha256": digest(content), "content": content}))
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        _log.warning("%s: cannot be written (%s), so it will be computed again next time.", path, error.strerror)


def _path(kind: str, key: str) -> Path:
    return cache_folder() / kind / f"{key}.json"


def _text(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
