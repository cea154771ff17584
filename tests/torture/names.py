"""Odd names of files and words of strangers through every command: nothing raised, nothing obeyed, and every name comes back."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.torture.outcome import Outcome
from tests.torture.workshop import Workshop, complaint, copy_of, make_workshop
from tests.torture.workshop import run as run_stap

__all__ = ["run"]

NAMES = {
    "a space": b"two words",
    "a line end": b"a\nstap: all is well",
    "a tab": b"a\tb",
    "a carriage return": b"a\rb",
    "an escape sequence": b"a\x1b[31m\x1b]0;title\x07b",
    "a C1 control": "a\u009b31mb".encode(),
    "a turned direction": "a\u202egpj".encode(),
    "a line separator": "a\u2028b".encode(),
    "Latin-1": b"caf\xe9",
    "bytes": b"\xff\xfe\x80",
    "letters of many languages": "雪 é ☃ дом".encode(),
    "an emoji": "🎬".encode(),
    "markup of rich": b"[red]a[bold",
    "HTML": b"<script>alert(1)<",
    "quotes": b"a'b\"c`d",
    "a dollar": b"$HOME",
    "a backslash": b"a\\nb",
    "a percent sign": b"100%s%d{0}",
    "a dash": b"-rf",
    "a colon": b"http:",
    "a hash": b"#1",
    "dots": b"a..b",
    "240 letters": b"x" * 240,
}
ENVIRONMENTS: dict[str, dict[str, str | None]] = {
    "UTF-8": {},
    "ASCII": {"PYTHONIOENCODING": "ascii"},
    "Latin-1": {"PYTHONIOENCODING": "latin-1"},
    "no home": {"HOME": None, "STAP_CACHE": None, "XDG_CACHE_HOME": None},
}
HOSTILE = '<script>alert("x")</script> <img src=x onerror=alert(1)> \x1b[31m\u202e & &lt;'


def run(folder: Path, share: float, seed: int) -> Outcome:
    """A share of the names, each through the commands in one of the environments; the pages once."""
    outcome = Outcome()
    shop = make_workshop(folder / "shop")
    draw = random.Random(seed)
    for name in draw.sample(sorted(NAMES), max(1, round(share * len(NAMES)))):
        environment = draw.choice(sorted(ENVIRONMENTS))
        for what, problem in _through_commands(shop, folder / "work", NAMES[name], ENVIRONMENTS[environment], draw):
            outcome.counts[what] += 1
            if problem:
                outcome.failures.append(f"{what}, {name}, {environment}: {problem}")
    for what, problem in _pages(shop, folder / "pages"):
        outcome.counts[what] += 1
        if problem:
            outcome.failures.append(f"{what}: {problem}")
    return outcome


def _nobody() -> None:
    """The user's number has no entry, as in a container."""
    import pwd

    def unknown(number: object) -> None:
        raise KeyError(f"uid not found: {number}")

    pwd.getpwuid = unknown  # type: ignore[assignment]


def _through_commands(
    shop: Workshop, work: Path, name: bytes, environment: dict[str, str | None], draw: random.Random
) -> Iterator[tuple[str, str | None]]:
    shutil.rmtree(work, ignore_errors=True)
    films = work / "films"
    films.mkdir(parents=True)
    video = films / os.fsdecode(name + b".mp4")
    shutil.copy(shop.videos[0], video)
    (films / "captions.csv").write_bytes(_table(name))
    setup: Callable[[], None] | None = _nobody if "HOME" in environment else None

    def said(*line: object, statuses: tuple[int, ...] = (0,)) -> tuple[str, str | None]:
        ran = run_stap(list(line), work / "said", environment, setup)
        return ran.out, complaint(ran, statuses)

    out, lines = work / "captions.json", work / "lines.txt"
    text, problem = said("caption", video, "--model", shop.model)
    yield "caption", problem or (None if text.count("\n") == text.count("\t") == 1 else f"not one line: {text!r}")
    lines.write_text(text)
    bad = films / os.fsdecode(name[:200] + b"-bad.mp4")
    bad.write_bytes(b"no video")
    line = ("caption", films, "--no-isolate", "--model", shop.model, "--format", "json", "--out", out)
    _, problem = said(*line, statuses=(1,))
    yield "caption as JSON", problem or _comes_back(out, video)
    (work / "references.json").write_text(json.dumps({str(Path(video.name).with_suffix("")): ["a red square"]}))
    captions = draw.choice((out, lines))
    _, problem = said("score", captions, work / "references.json", "--metrics", "rouge", "--draws", 0)
    yield f"score of {captions.suffix}", problem
    others: dict[str, list[object]] = {
        "figure": ["figure", "attention", shop.model, video, "--out", work / "figure.png"],
        "prepare": ["prepare", "folder", "--root", films, "--report", work / "report.json"],
        "extract": shop.line("extract", "corpus.kind=folder", f"corpus.root={films}", f"features.store={work}/store"),
    }
    other = draw.choice(sorted(others))
    _, problem = said(*others[other], statuses=(0, 1))
    yield other, problem


def _table(name: bytes) -> bytes:
    lines = io.StringIO()
    csv.writer(lines).writerows([("video", "caption", "split"), (os.fsdecode(name) + ".mp4", "a red square", "train")])
    return lines.getvalue().encode(errors="surrogateescape")


def _comes_back(out: Path, video: Path) -> str | None:
    [entry] = json.loads(out.read_text())
    return None if entry["path"] == str(video) else f"{entry['path']!r} came back"


def _pages(shop: Workshop, folder: Path) -> Iterator[tuple[str, str | None]]:
    """The model card of a hostile recipe, and a report of hostile captions, read by a parser of HTML."""
    model = copy_of(shop.model, folder / "model")
    recipe = folder / "recipe.yaml"
    described = json.dumps({"base": str(shop.recipe), "name": HOSTILE, "description": HOSTILE})
    recipe.write_text(described)
    corpus = copy_of(shop.corpus, folder / "corpus")
    captions = corpus / "videodatainfo.json"
    content = json.loads(captions.read_text())
    for sentence in content["sentences"]:
        sentence["caption"] += f" {HOSTILE}"
    captions.write_text(json.dumps(content))
    trained = run_stap(["train", recipe, f"corpus.root={corpus}", "--out", folder / "run"], folder / "said")
    card = folder / "run/README.md"
    yield "model card", complaint(trained, (0,)) or _foreign(card.read_text(), {})
    page = folder / "report.html"
    made = run_stap(["evaluate", "--model", model, "--corpus", corpus, "--report", page], folder / "said", seconds=120)
    yield "report", complaint(made, (0,)) or _foreign(page.read_text(), {"script": 1})


def _foreign(text: str, allowed: dict[str, int]) -> str | None:
    """Elements and attributes in a page that strangers put there."""
    found: list[str] = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            if tag in ("script", "img") and any(name.startswith("on") or value == "x" for name, value in attributes):
                found.append(f"<{tag}>")
            if tag == "script":
                found.append(tag)

        def handle_data(self, data: str) -> None:
            if "\x1b" in data or "\u202e" in data:
                found.append(repr(data[:50]))

    parser = Parser()
    parser.feed(text)
    for name, count in allowed.items():
        for _ in range(count):
            found.remove(name)
    return f"the page has {found}" if found else None
