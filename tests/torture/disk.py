"""A disk of 4 to 1,500 KB under every command that writes: done or a sentence, nothing half written, and with room the same line finishes."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.torture.outcome import Outcome
from tests.torture.workshop import Ran, Workshop, complaint, make_workshop
from tests.torture.workshop import run as run_stap

__all__ = ["run"]

SIZES_KB = (4, 16, 60, 200, 600, 1500)
ROOM_KB = 60_000
Line = Callable[[Workshop, Path], list[object]]


def run(folder: Path, share: float, seed: int) -> Outcome:
    """Every command on a disk of every size; where nobody may mount one, nothing, with a sentence that says so."""
    outcome = Outcome()
    disk = folder / "disk"
    disk.mkdir()
    try:
        with mounted(disk, ROOM_KB):
            pass
    except (OSError, subprocess.CalledProcessError):
        outcome.counts["skipped, because a tmpfs may not be mounted here"] += 1
        return outcome
    shop = make_workshop(folder / "shop")
    (folder / "predictions.json").write_text(json.dumps({path.stem: "a red square" for path in shop.videos}))
    cases = [(name, size) for name in COMMANDS for size in SIZES_KB]
    for name, size in random.Random(seed).sample(cases, max(1, round(share * len(cases)))):
        with mounted(disk, size):
            happened, problem = _fill(name, shop, disk, folder)
        outcome.counts[happened] += 1
        if problem:
            outcome.failures.append(f"{name} on {size} KB: {problem}")
    return outcome


@contextmanager
def mounted(disk: Path, size_kb: int) -> Iterator[None]:
    """A file system in memory of this size."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "none", disk], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def _fill(name: str, shop: Workshop, disk: Path, folder: Path) -> tuple[str, str | None]:
    line, check = COMMANDS[name]
    ran = run_stap(line(shop, disk), folder / "said")
    happened = "fitted" if ran.status == 0 else "disk full, said so"
    if wrong := complaint(ran) or _half_written(disk):
        return happened, wrong
    subprocess.run(["mount", "-o", f"remount,size={ROOM_KB}k", disk], check=True)
    again = run_stap(line(shop, disk), folder / "said")
    return happened, _finished(again, ran) or _half_written(disk) or check(disk)


def _half_written(disk: Path) -> str | None:
    for path in disk.rglob("*"):
        if ".tmp" in path.name:
            return f"left {path}"
        if path.suffix == ".json" and path.stat().st_size:
            try:
                json.loads(path.read_text())
            except ValueError:
                return f"{path}: half written"
    return None


def _finished(again: Ran, before: Ran) -> str | None:
    return None if again.status == 0 else f"the same line again: {again.err[-300:]!r}; before: {before.err[-300:]!r}"


def _holds(pattern: str, count: int) -> Callable[[Path], str | None]:
    """A check: so many files of this pattern, none of them empty."""

    def check(disk: Path) -> str | None:
        sizes = [path.stat().st_size for path in disk.glob(pattern)]
        return None if len(sizes) == count and all(sizes) else f"{pattern}: sizes {sizes}, expected {count} files"

    return check


def _train(shop: Workshop, disk: Path) -> list[object]:
    begun = (disk / "run/state/last.safetensors").exists()
    return shop.line("train", "--out", disk / "run", *(["--resume"] if begun else []))


def _import(shop: Workshop, disk: Path) -> list[object]:
    import numpy as np

    source = shop.folder / "arrays"
    if not source.exists():
        source.mkdir()
        for number in range(6):
            np.save(source / f"video{number}.npy", np.ones((20 + number, 64), dtype=np.float32))
    return ["import-features", source, "--stream", "frames", "--out", disk / "imported"]


def _captions(disk: Path) -> str | None:
    count = len(json.loads((disk / "captions.json").read_text()))
    return None if count == 12 else f"{count} of 12 captions"


COMMANDS: dict[str, tuple[Line, Callable[[Path], str | None]]] = {
    "caption": (
        lambda shop, disk: ["caption", *shop.videos, "--model", shop.model, "--format", "json", "--out", disk / "captions.json"],
        _captions,
    ),
    "caption as text": (
        lambda shop, disk: ["caption", *shop.videos, "--model", shop.model, "--out", disk / "captions.txt"],
        _holds("captions.txt", 1),
    ),
    "score": (
        lambda shop, disk: [
            "score", shop.folder.parent / "predictions.json", shop.corpus / "videodatainfo.json", "--metrics", "rouge,cider", "--draws", 0,
            "--out", disk / "scores.json",
        ],
        _holds("scores.json", 1),
    ),
    "prepare": (
        lambda shop, disk: [
            "prepare", "msrvtt", "--root", shop.corpus, "--other-counts", "--frames", 0, "--report", disk / "report.json",
            "--write", disk / "mine.yaml",
        ],
        _holds("*", 2),
    ),
    "figure": (
        lambda shop, disk: ["figure", "attention", shop.model, shop.videos[0], "--out", disk / "figure.png"],
        _holds("figure.png", 1),
    ),
    "curves": (lambda shop, disk: ["figure", "curves", shop.model, "--out", disk / "curves.pdf"], _holds("curves.pdf", 1)),
    "extract": (
        lambda shop, disk: shop.line("extract", f"features.store={disk}/store"),
        _holds("store/*/video*.safetensors", 12),
    ),
    "train": (_train, _holds("run/model.safetensors", 1)),
    "scenes": (
        lambda shop, disk: ["scenes", disk / "scenes", "--videos", 9, "--seconds", 1, "--pixels", 48, "--workers", 1],
        _holds("scenes/*/*.mp4", 9),
    ),
    "import-features": (_import, _holds("imported/*/*.safetensors", 6)),
}  # fmt: skip
