"""Features made by others, brought into a feature store of their own."""

from __future__ import annotations

import json
from pathlib import Path

from stap.errors import FeatureError
from stap.features.store import EXTRACTOR_FILE, FeatureStore

__all__ = ["open_imported"]


def open_imported(folder: Path, stream: str) -> FeatureStore:
    """The imported store of a stream: `folder` itself, or the only such store in it. Raises FeatureError."""
    found = []
    for path in [folder / EXTRACTOR_FILE, *sorted(folder.glob(f"*/{EXTRACTOR_FILE}"))]:
        if path.is_file():
            fingerprint = json.loads(path.read_text(encoding="utf-8"))
            if fingerprint.get("kind") == "imported" and fingerprint.get("stream") == stream:
                found.append((path.parent, fingerprint))
    if len(found) == 1:
        return FeatureStore(found[0][0].parent, found[0][1])
    if not found:
        raise FeatureError(
            f"{folder}: no imported features of the stream {stream!r} there. Make them with `stap import-features`, and set "
            f"features.imported.{stream} to the folder that it names."
        )
    raise FeatureError(
        f"{folder}: holds {len(found)} imports of the stream {stream!r}: {', '.join(path.name for path, _ in found)}. "
        f"Set features.imported.{stream} to one of these folders."
    )
