"""Matplotlib figures as files: PNG, PDF, and SVG whose text stays text."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stap.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SUFFIXES", "save_figure", "svg_bytes"]

SUFFIXES = (".png", ".svg", ".pdf")
DOTS_PER_INCH = 300

_RC: Any = {
    "svg.fonttype": "none",  # text as text, not as outlines: smaller, and to be searched and edited
    "svg.hashsalt": "stap",  # the same figure gives the same bytes
}
_UNDATED: dict[str, dict[str, str | None]] = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def save_figure(path: Path, figure: Figure) -> None:
    """Write a figure in the format of the suffix, one of SUFFIXES; whole or not at all, and the same bytes for the same figure.

    Raises StapError if the file cannot be written.
    """
    import matplotlib

    kind, content = path.suffix.lower(), io.BytesIO()  # in memory: on a full disk Matplotlib fails with errors of its own
    with matplotlib.rc_context(_RC):
        figure.savefig(content, format=kind[1:], dpi=DOTS_PER_INCH, metadata=_UNDATED[kind])
    write_atomically(path, content.getvalue())


def svg_bytes(figure: Figure) -> bytes:
    """A figure as an SVG file with a transparent background, the same bytes for the same figure."""
    import matplotlib

    content = io.BytesIO()
    with matplotlib.rc_context(_RC):
        figure.savefig(content, format="svg", transparent=True, metadata=_UNDATED[".svg"])
    return content.getvalue()
