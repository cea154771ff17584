"""Timed captions in the formats of players, editors and programs: a function a format."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stap.files import json_text, printable
from stap.programmes.cues import Cue
from stap.programmes.extra import import_extra
from stap.programmes.timed import CaptionedVideo

__all__ = [
    "CSV_COLUMNS",
    "ROWS",
    "clock",
    "csv_rows",
    "json_object",
    "jsonl_rows",
    "srt",
    "text_rows",
    "ttml",
    "vtt",
]

CSV_COLUMNS = ("path", "start_seconds", "end_seconds", "caption", "score", "confidence")
_TTML = "http://www.w3.org/ns/ttml"
_JOINER = "\u2060"  # is not seen, and parts what a parser of SubRip, which knows no escapes, would take for its own


def text_rows(video: CaptionedVideo) -> list[str]:
    """A line for each caption: file, start, end and caption, between tabs; of one clip file and caption."""
    if video.whole is not None:
        return [f"{printable(video.path)}\t{printable(one.text)}" for one in video.captions]
    return [
        "\t".join([printable(video.path), clock(one.start_seconds), clock(one.end_seconds), printable(one.text)])
        for one in video.captions
    ]


def json_object(video: CaptionedVideo) -> str:
    """The whole of it, as an entry of a list."""
    return json_text([video.to_json()]).removeprefix("[\n").removesuffix("\n]")


def jsonl_rows(video: CaptionedVideo) -> list[str]:
    """A line for each caption."""
    return [json.dumps({"path": str(video.path), **one.to_json()}, ensure_ascii=True) for one in video.captions]


def csv_rows(video: CaptionedVideo) -> list[str]:
    """A record (RFC 4180) for each caption, of CSV_COLUMNS."""
    rows = []
    for one in video.captions:
        found: Mapping[str, Any] = {"path": str(video.path), **one.to_json()}
        row = io.StringIO()
        csv.writer(row, lineterminator="").writerow([found[column] for column in CSV_COLUMNS])
        rows.append(row.getvalue())
    return rows


def srt(cues: Sequence[Cue]) -> str:
    """SubRip."""
    return _by_pysubs2(cues, "srt", _parted)


def vtt(cues: Sequence[Cue], kind: str = "captions") -> str:
    """WebVTT.   kind: of the track that it is for: 'captions', 'subtitles' or 'descriptions'."""
    text = _by_pysubs2(cues, "vtt", _referenced)
    return text.replace("WEBVTT\n", f"WEBVTT\nKind: {kind}\n", 1)


def ttml(cues: Sequence[Cue], language: str = "en") -> str:
    """TTML 1 (W3C). Written here: pysubs2 drops what stands in braces, and names styles by an attribute that TTML does not have."""
    ET.register_namespace("", _TTML)
    root = ET.Element(f"{{{_TTML}}}tt", {"{http://www.w3.org/XML/1998/namespace}lang": language})
    part = ET.SubElement(ET.SubElement(root, f"{{{_TTML}}}body"), f"{{{_TTML}}}div")
    for cue in cues:
        times = {"begin": clock(cue.start_ms / 1000), "end": clock(cue.end_ms / 1000)}
        paragraph = ET.SubElement(part, f"{{{_TTML}}}p", times)
        paragraph.text = cue.lines[0]
        for line in cue.lines[1:]:
            ET.SubElement(paragraph, f"{{{_TTML}}}br").tail = line
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


# Formats of a line a caption: the lines before them, and the lines of a video.
ROWS: Mapping[str, tuple[tuple[str, ...], Callable[[CaptionedVideo], list[str]]]] = {
    "text": ((), text_rows),
    "jsonl": ((), jsonl_rows),
    "csv": ((",".join(CSV_COLUMNS),), csv_rows),
}


def _by_pysubs2(cues: Sequence[Cue], name: str, escape: Callable[[str], str]) -> str:
    pysubs2 = import_extra("pysubs2", "writing subtitles")
    subtitles = pysubs2.SSAFile()
    for cue in cues:
        event = pysubs2.SSAEvent(cue.start_ms, cue.end_ms)
        event.plaintext = "\n".join(map(escape, cue.lines))
        subtitles.append(event)
    written: str = subtitles.to_string(name, keep_ssa_tags=True)
    return written


def _parted(line: str) -> str:
    for mark in ("<", "{", "\\", "--"):
        line = line.replace(mark, mark + _JOINER)
    return line


def _referenced(line: str) -> str:
    for mark, reference in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\\", "&#92;")):
        line = line.replace(mark, reference)
    return line


def clock(seconds: float) -> str:
    """A time as HH:MM:SS.mmm."""
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
