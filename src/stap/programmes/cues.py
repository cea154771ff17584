"""Timed captions as cues of subtitles: never two at a time, and each long enough to be read."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stap.programmes.timed import TimedCaption, one_line_of

__all__ = ["Cue", "CueRules", "cues_of"]


@dataclass(frozen=True)
class CueRules:
    """The limits of a cue. The defaults are those of broadcasters: two lines of 42 characters, 17 characters a second."""

    line_characters: int = 42
    lines: int = 2
    characters_per_second: float = 17.0


@dataclass(frozen=True)
class Cue:
    """Lines of text that are shown from start to end, in whole milliseconds."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The lines as one."""
        return "\n".join(self.lines)


def cues_of(captions: Iterable[TimedCaption], rules: CueRules | None = None) -> tuple[list[Cue], list[TimedCaption]]:
    """The cues, and the captions for which there was no time: those of shots that were over before the cues before them were read.

    A caption of more lines than fit becomes several cues. A cue that cannot be read while its shot lasts stays longer, and the next
    one begins after it.
    """
    rules = rules or CueRules()
    cues: list[Cue] = []
    left_out: list[TimedCaption] = []
    free_ms = 0
    for caption in captions:
        lines = textwrap.wrap(one_line_of(caption.text), rules.line_characters)
        if not lines:
            continue
        start, end = max(free_ms, round(1000 * caption.start_seconds)), round(1000 * caption.end_seconds)
        if start >= end:
            left_out.append(caption)
            continue
        pages = [tuple(lines[first : first + rules.lines]) for first in range(0, len(lines), rules.lines)]
        cues += _in_turn(pages, start, end, rules)
        free_ms = cues[-1].end_ms
    return cues, left_out


def _in_turn(pages: Sequence[tuple[str, ...]], start: int, end: int, rules: CueRules) -> list[Cue]:
    """A cue a page, one after another; what is left of the time is shared by their lengths."""
    sizes = [len("\n".join(page)) for page in pages]
    needed = [-int(-1000 * size // rules.characters_per_second) for size in sizes]
    spare, cues = max(0, end - start - sum(needed)), []
    done = 0
    for page, size, least in zip(pages, sizes, needed, strict=True):
        done += size
        until = start + least + spare * done // sum(sizes) - spare * (done - size) // sum(sizes)
        cues.append(Cue(start, until, page))
        start = until
    return cues
