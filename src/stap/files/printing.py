"""Text of strangers that is safe to show, and errors in one line."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["html_bytes", "json_text", "markdown_text", "one_line", "printable", "shortened", "unforeseen"]

# What a terminal obeys or a line cannot hold: control characters, marks that turn the direction of text, line separators, and the
# surrogates that stand for the bytes of a name that is not UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def json_text(content: Any) -> str:
    """Indented JSON that a terminal shows and UTF-8 holds: letters stay, unprintable characters are escaped (see `printable`)."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def markdown_text(text: str) -> str:
    """A page in Markdown: HTML that strangers put into names and captions is shown, and is no element of the page."""
    without_entities = re.sub(r"&(?=#?\w+;)", "&amp;", printable(text, keep="\n"))
    return without_entities.replace("<", "&lt;").replace(">", "&gt;")


def html_bytes(text: str) -> bytes:
    """A page in HTML, made with escaping, as a file: unprintable characters in it are escaped too."""
    return printable(text, keep="\n\r\t").encode()


def one_line(error: BaseException) -> str:
    """What an error says, in one line without a full stop; its type where it says nothing."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def printable(text: object, keep: str = "") -> str:
    """Text for one line or cell, with escapes such as \\n, \\x1b or \\u202e for what a terminal would obey.   keep: characters that stay."""
    return _UNPRINTABLE.sub(
        lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode(), str(text)
    )


def shortened(text: str, longest: int = 200) -> str:
    """Text of a file for a message: its beginning, if it is long."""
    return text if len(text) <= longest else f"{text[:longest]} ... ({len(text):,} characters)"


def unforeseen(path: object, error: Exception) -> str:
    """The message of an unexpected error of one file among many, without a full stop."""
    return f"{path}: {type(error).__name__}: {one_line(error)}"
