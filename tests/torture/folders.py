"""Folders of six good videos and one bad file of each kind: caption, extract and prepare always have six results."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.torture.outcome import Outcome
from tests.torture.workshop import Workshop, complaint, make_workshop
from tests.torture.workshop import run as run_stap

__all__ = ["BAD", "run"]

GOOD = 6
SECONDS = 60


def written(content: bytes) -> Callable[[Path, bytes], None]:
    return lambda path, _: path.write_bytes(content) and None


def damaged(change: Callable[[bytearray, random.Random], None]) -> Callable[[Path, bytes], None]:
    def make(path: Path, whole: bytes) -> None:
        content = bytearray(whole)
        change(content, random.Random(len(whole)))
        path.write_bytes(content)

    return make


def _noise(content: bytearray, draw: random.Random) -> None:
    content[:] = draw.randbytes(len(content))


def _cut(content: bytearray, draw: random.Random) -> None:
    del content[len(content) // 2 :]


def _speckled(content: bytearray, draw: random.Random) -> None:
    for _ in range(len(content) // 40):
        content[draw.randrange(len(content))] = draw.randrange(256)


def _no_pictures(content: bytearray, draw: random.Random) -> None:
    place = content.index(b"mdat") + 4
    content[place:] = bytes(len(content) - place)


def _renamed_codec(content: bytearray, draw: random.Random) -> None:
    content[:] = content.replace(b"avc1", b"zzz1").replace(b"avcC", b"zzzC")


def _huge(content: bytearray, draw: random.Random) -> None:
    place = content.index(b"avc1") + 28
    content[place : place + 4] = b"\xff\xff\xff\xff"


def _link(target: str) -> Callable[[Path, bytes], None]:
    return lambda path, _: path.symlink_to(target)


# How each kind of bad file is made: from its path and the bytes of a good one.
BAD: dict[str, Callable[[Path, bytes], None]] = {
    "empty": written(b""),
    "text": written(b"this is no video\n"),
    "zeros": written(bytes(4096)),
    "noise": damaged(_noise),
    "cut": damaged(_cut),
    "speckled": damaged(_speckled),
    "no pictures": damaged(_no_pictures),
    "codec nobody knows": damaged(_renamed_codec),
    "huge": damaged(_huge),
    "html": written(b"<!doctype html><title>404</title>not found"),
    "subtitles": written(b"1\n00:00:00,000 --> 00:00:01,000\nhello\n"),
    "playlist": written(b"#EXTM3U\n#EXTINF:1,\ngood0.mp4\n#EXT-X-ENDLIST\n"),
    "concat script": written(b"ffconcat version 1.0\nfile good0.mp4\n"),
    "concat of a pipe": written(b"ffconcat version 1.0\nfile pipe\n"),
    "sound only": written(b"RIFF\x2c\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x40\x1f\0\0\1\0\x08\0data\x08\0\0\0abcdefgh"),
    "broken link": _link("nowhere.mp4"),
    "link to itself": _link("bad.mp4"),
    "device": _link("/dev/zero"),
    "named pipe": lambda path, _: os.mkfifo(path),
    "folder": lambda path, _: path.mkdir(),
    "json": written(b'{"path": "good0.mp4"}'),
    "zip": written(b"PK\3\4" + bytes(60)),
}


def run(folder: Path, share: float, seed: int) -> Outcome:
    """Make the workshop, then the folders with a share of the kinds."""
    outcome = Outcome()
    shop = make_workshop(folder / "shop")
    kinds = random.Random(seed).sample(sorted(BAD), max(1, round(share * len(BAD))))
    for kind in kinds:
        films = folder / "films"
        shutil.rmtree(films, ignore_errors=True)
        for name, problem in _problems(shop, films, kind, folder):
            outcome.counts[name] += 1
            if problem:
                outcome.failures.append(f"{name}, {kind}: {problem}")
    return outcome


def _problems(shop: Workshop, films: Path, kind: str, folder: Path) -> Iterator[tuple[str, str | None]]:
    films.mkdir()
    good = [films / f"good{number}.mp4" for number in range(GOOD)]
    for path, video in zip(good, shop.videos, strict=False):
        shutil.copy(video, path)
    os.mkfifo(films / "pipe")
    BAD[kind](films / "bad.mp4", good[0].read_bytes())
    names = [*good, films / "bad.mp4"]
    (films / "captions.csv").write_text(
        "video,caption,split\n" + "".join(f"{path.name},a {path.stem} thing,train\n" for path in names)
    )
    yield "caption", _captioned(shop, films, good, folder)
    yield "extract", _extracted(shop, films, folder)
    yield "prepare", _prepared(films, good, folder)


def _captioned(shop: Workshop, films: Path, good: list[Path], folder: Path) -> str | None:
    out = folder / "captions.json"
    line = ["caption", films, "--model", shop.model, "--format", "json", "--out", out]
    ran = run_stap(line, folder / "said", seconds=SECONDS)
    if wrong := complaint(ran):
        return wrong
    captioned = [entry["path"] for entry in json.loads(out.read_text())]
    missing = [path.name for path in good if str(path) not in captioned]
    return f"without {', '.join(missing)}: {ran.err[-300:]!r}" if missing else None


def _extracted(shop: Workshop, films: Path, folder: Path) -> str | None:
    store = folder / "store"
    shutil.rmtree(store, ignore_errors=True)
    line = shop.line(
        "extract", "corpus.kind=folder", f"corpus.root={films}", f"features.store={store}", "corpus.available_only=true"
    )
    ran = run_stap(line, folder / "said", seconds=SECONDS)
    written = len(list(store.glob("*/good*.safetensors")))
    return complaint(ran) or (None if written == GOOD else f"{written} of {GOOD} stored: {ran.err[-300:]!r}")


def _prepared(films: Path, good: list[Path], folder: Path) -> str | None:
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    ran = run_stap(["prepare", "folder", "--root", films, "--report", report], folder / "said", seconds=SECONDS)
    if wrong := complaint(ran):
        return wrong
    if not report.exists():
        return f"nothing reported: {ran.err[-300:]!r}"
    content = json.loads(report.read_text())
    blamed = [
        one["sentence"]
        for one in content["problems"]
        if one["kind"] == "video" and any(path.name in one["sentence"] for path in good)
    ]
    clips = sum(split["clips"] for split in content["splits"])
    return f"{clips} clips, good videos blamed: {blamed}" if blamed or clips != GOOD + 1 else None
