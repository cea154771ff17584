"""What is written of timed captions is read by others: FFmpeg, an XML parser, csv, json."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from html import unescape
from itertools import pairwise
from pathlib import Path

import av
import pytest

from stap.programmes.cues import Cue, CueRules, cues_of
from stap.programmes.timed import CaptionedVideo, TimedCaption, marked, merged, one_line_of, without_uncertain
from stap.programmes.writers import CSV_COLUMNS, csv_rows, json_object, jsonl_rows, srt, text_rows, ttml, vtt

ODD = [
    "a man is <b>running</b> --> home",
    "{\\an8}a dog & a cat; 1 < 2 > 0 \\N \\h \\n",
    "00:00:01,000 --> 00:00:02,000",
    'she says "no", then &amp; leaves',
    "un café, 一只狗 在 跑, 🐕",
    "<script>alert(1)</script> -- NOTE STYLE",
    "=1+1",
]
CAPTIONS = tuple(
    TimedCaption(
        10.0 * k,
        round(10.0 * k + 9.1234, 4),
        text,
        -3.25,
        0.5,
        (("a", 10.0 * k + 1.5), ("man", None)),
        (10.0 * k + 1.5, 10.0 * k + 2.0),
        (("b", -4.5),),
    )
    for k, text in enumerate(ODD)
)
VIDEO = CaptionedVideo(Path("films") / "a\tb.mp4", 70.5, CAPTIONS, {"model": "m"}, ("a remark.",))


def by_ffmpeg(path: Path, text: str) -> list[tuple[int, int, str]]:
    """Start, end (milliseconds) and payload of each cue."""
    path.write_text(text, encoding="utf-8")
    with av.open(str(path)) as container:
        [stream] = container.streams.subtitles
        return [
            (
                round(1000 * packet.pts * stream.time_base),
                round(1000 * (packet.pts + packet.duration) * stream.time_base),
                bytes(packet).decode(),
            )
            for packet in container.demux(stream)
            if packet.size
        ]


def expected(cues: list[Cue]) -> list[tuple[int, int, str]]:
    return [(cue.start_ms, cue.end_ms, cue.text) for cue in cues]


def test_subrip_is_read_by_ffmpeg(tmp_path: Path) -> None:
    cues, left_out = cues_of(CAPTIONS)
    found = [(start, end, text.replace("\u2060", "")) for start, end, text in by_ffmpeg(tmp_path / "a.srt", srt(cues))]
    assert found == expected(cues)
    assert left_out == []
    assert not re.search(
        r"<[a-z/]|\{\\|-->(?! \d\d:\d\d)", re.sub(r"(?m)^\d.* --> .*$", "", srt(cues))
    )  # nothing to be taken for markup


def test_webvtt_is_read_by_ffmpeg(tmp_path: Path) -> None:
    cues, _ = cues_of(CAPTIONS)
    written = vtt(cues, "descriptions")
    assert written.startswith("WEBVTT\nKind: descriptions\n\n")
    assert [(start, end, unescape(text)) for start, end, text in by_ffmpeg(tmp_path / "a.vtt", written)] == expected(cues)
    assert vtt([]) == "WEBVTT\nKind: captions\n\n"


def test_ttml_is_xml_with_a_paragraph_a_cue() -> None:
    cues, _ = cues_of(CAPTIONS)
    space = "{http://www.w3.org/ns/ttml}"
    root = ET.fromstring(ttml(cues).encode())
    assert root.attrib == {"{http://www.w3.org/XML/1998/namespace}lang": "en"}
    found = []
    for p in root.findall(f"{space}body/{space}div/{space}p"):
        hours, minutes, seconds = zip(*(p.attrib[name].split(":") for name in ("begin", "end")), strict=True)
        at = [round(1000 * (3600 * int(h) + 60 * int(m) + float(s))) for h, m, s in zip(hours, minutes, seconds, strict=True)]
        found.append((*at, "\n".join([p.text or "", *(br.tail or "" for br in p)])))
    assert found == expected(cues)


def test_json_and_csv_hold_everything_exactly() -> None:
    whole = json.loads(json_object(VIDEO))
    assert tuple(map(TimedCaption.from_json, whole["shots"])) == CAPTIONS
    assert {name: whole[name] for name in ("path", "duration_seconds", "made_by", "warnings")} == {
        "path": "films/a\tb.mp4", "duration_seconds": 70.5, "made_by": {"model": "m"}, "warnings": ["a remark."],
    }  # fmt: skip
    rows = [json.loads(row) for row in jsonl_rows(VIDEO)]
    assert tuple(map(TimedCaption.from_json, rows)) == CAPTIONS
    table = list(csv.DictReader(io.StringIO("\n".join([",".join(CSV_COLUMNS), *csv_rows(VIDEO)]), newline="")))
    assert [(row["caption"], float(row["start_seconds"]), float(row["end_seconds"])) for row in table] == [
        (one.text, one.start_seconds, one.end_seconds) for one in CAPTIONS
    ]
    assert text_rows(VIDEO)[0] == "films/a\\tb.mp4\t00:00:00.000\t00:00:09.123\ta man is <b>running</b> --> home"


def test_control_characters_and_line_ends_do_not_reach_a_cue() -> None:
    wild = "a\x00 man\x1b[31m\r\n\r\n2\u2028runs\ud800 \ufffe\u0085 home\x7f"
    assert one_line_of(wild) == "a man [31m 2 runs home"
    cues, _ = cues_of([TimedCaption(0, 5, wild), TimedCaption(5, 9, " \n\x01")])
    assert [cue.text for cue in cues] == ["a man [31m 2 runs home"]
    ET.fromstring(ttml(cues).encode())


def check_readable(cues: list[Cue], rules: CueRules) -> None:
    for before, after in pairwise(cues):
        assert before.end_ms <= after.start_ms
    for cue in cues:
        assert len(cue.lines) <= rules.lines
        assert all(len(line) <= rules.line_characters for line in cue.lines)
        assert len(cue.text) / (cue.end_ms - cue.start_ms) * 1000 <= rules.characters_per_second


def test_cues_are_readable_whatever_the_captions() -> None:
    rules = CueRules()
    long = TimedCaption(0.0004, 3, " ".join(["word"] * 60) + " " + "x" * 100)
    short = [TimedCaption(3 + 0.5 * k, 3.5 + 0.5 * k, f"shot number {k} is short") for k in range(100)]
    late = TimedCaption(100, 110, "a man walks")
    cues, left_out = cues_of([long, *short, late])
    check_readable(cues, rules)
    said = " ".join(line for cue in cues for line in cue.lines)
    assert said.startswith("word word")
    assert said.endswith("a man walks")
    assert cues[-1] == Cue(100_000, 110_000, ("a man walks",))
    shown = [one for one in short if one.text in said]
    assert sorted([*shown, *left_out], key=lambda one: one.start_seconds) == short
    assert len(shown) > 10
    words = sum(cue.text.count("word") for cue in cues)
    assert words == 60


@pytest.mark.slow
def test_a_hundred_thousand_captions_are_written_in_seconds(tmp_path: Path) -> None:
    cues, left_out = cues_of(TimedCaption(2.0 * k, 2.0 * k + 2, "a man walks") for k in range(100_000))
    assert (len(cues), left_out) == (100_000, [])
    assert cues[-1].end_ms == 200_000_000
    assert "55:33:18.000 --> 55:33:20.000" in vtt(cues)


def test_neighbours_that_say_the_same_are_merged_and_the_unsure_marked_or_left_out() -> None:
    said = [("a", 0.9), ("a", 0.95), ("b", 0.4), ("a", 0.8)]
    captions = [TimedCaption(k, k + 1, text, -1, sure, frame_seconds=(k + 0.5,)) for k, (text, sure) in enumerate(said)]
    joined = merged(captions)
    assert [(one.start_seconds, one.end_seconds, one.text, one.confidence) for one in joined] == [
        (0, 2, "a", 0.95), (2, 3, "b", 0.4), (3, 4, "a", 0.8),
    ]  # fmt: skip
    assert joined[0].frame_seconds == (0.5, 1.5)
    assert [one.text for one in marked(joined, 0.5)] == ["a", "(?) b", "a"]
    assert [one.start_seconds for one in without_uncertain(joined, 0.5)] == [0, 3]


@pytest.mark.parametrize("write", [srt, vtt, ttml])
def test_no_cue_is_a_document_too(write) -> None:
    assert isinstance(write([]), str)
