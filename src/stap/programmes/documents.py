"""The file of one video, in any format."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from stap.files import json_text
from stap.programmes.cues import CueRules, cues_of
from stap.programmes.page import html
from stap.programmes.timed import CaptionedVideo
from stap.programmes.writers import ROWS, clock, srt, ttml, vtt

__all__ = ["DocumentRules", "document"]


@dataclass(frozen=True)
class DocumentRules:
    """How a document is written.   cues: limits of subtitles.   kind: of a WebVTT track."""

    cues: CueRules = field(default_factory=CueRules)
    kind: str = "captions"


def document(
    video: CaptionedVideo, name: str, rules: DocumentRules | None = None, folder: Path | None = None
) -> tuple[str, tuple[str, ...]]:
    """The file of one video in the format of this name, and sentences about what is not in it.   folder: where it will lie."""
    rules = rules or DocumentRules()
    if name in ROWS:
        head, rows = ROWS[name]
        return "".join(f"{row}\n" for row in [*head, *rows(video)]), ()
    if name == "json":
        return json_text(video.to_json()), ()
    cues, left_out = cues_of(video.captions, rules.cues)
    if name == "html":
        return html(video, cues, folder), ()
    text = vtt(cues, rules.kind) if name == "vtt" else {"srt": srt, "ttml": ttml}[name](cues)
    if not left_out:
        return text, ()
    first = clock(left_out[0].start_seconds)
    return text, (
        f"{video.path}: {len(left_out)} of {len(video.captions)} captions are not in the subtitles, the first at {first}: their shots "
        "were over before the cues before them could be read. Longer shots (--min-shot) or --merge leave more time.",
    )
