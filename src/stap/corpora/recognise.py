"""A JSON file of another corpus, recognised by its shape, so that a message can say how to read it."""

from __future__ import annotations

from typing import Any

__all__ = ["looks_like"]


def looks_like(content: Any, *, other_than: str) -> str:
    """A sentence, after a space, that names the corpus of this file and how to read it; empty if it is unknown.

    other_than: the kind of corpus that this was expected to be.
    """
    first = content[0] if isinstance(content, list) and content else None
    if isinstance(first, dict) and "videoID" in first and other_than != "vatex":
        return " This looks like a file of VATEX: read it with corpus.kind=vatex."
    if not isinstance(content, dict):
        return ""
    if "videos" in content and "sentences" in content and other_than != "msrvtt":
        return " This looks like a file of MSR-VTT: read it with corpus.kind=msrvtt."
    if "images" in content and "annotations" in content:
        return " This looks like captions of images (COCO), which have no videos."
    if content and all(isinstance(value, dict) and "timestamps" in value for value in content.values()):
        return (
            " This looks like a file of ActivityNet Captions: cut the clips, and read a table of them with corpus.kind=folder."
        )
    return ""
