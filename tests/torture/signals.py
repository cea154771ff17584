"""SIGINT, SIGTERM and SIGHUP at random moments of caption, extract and train: an end within five seconds, and the same line finishes."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.torture.outcome import Outcome
from tests.torture.workshop import Ran, Workshop, complaint, make_workshop, start
from tests.torture.workshop import run as run_stap

__all__ = ["run"]

CASES = 24
SECONDS = 5.0
MARK = "STAP_TORTURE"
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


def run(folder: Path, share: float, seed: int) -> Outcome:
    """Interrupt each command in turn at moments spread over its time."""
    outcome = Outcome()
    shop = make_workshop(folder / "shop")
    draw = random.Random(seed)
    lengths = {command: _seconds(command, shop, folder) for command in COMMANDS}
    for case in range(max(3, round(share * CASES))):
        command = list(COMMANDS)[case % len(COMMANDS)]
        name = draw.choice(SIGNALS)
        problem, was_in_time = _interrupt(command, shop, folder, name, draw.uniform(0, lengths[command]))
        outcome.counts[f"{command} {'interrupted' if was_in_time else 'done before'}"] += 1
        if problem:
            outcome.failures.append(f"{command}, {name}: {problem}")
    return outcome


def _interrupt(command: str, shop: Workshop, folder: Path, name: str, delay: float) -> tuple[str | None, bool]:
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    line, _ = COMMANDS[command]
    running = start(line(shop, work, False), folder / "said", {MARK: str(work)})
    time.sleep(delay)
    running.send(getattr(signal, name))
    sent = time.monotonic()
    ran = running.wait(20)
    took = time.monotonic() - sent
    was_in_time = ran.status != 0
    return _problem(command, shop, folder, ran, took), was_in_time


def _problem(command: str, shop: Workshop, folder: Path, ran: Ran, took: float) -> str | None:
    work = folder / "work"
    line, check = COMMANDS[command]
    if wrong := complaint(
        ran, (0, 130, *(-getattr(signal, name) for name in SIGNALS))
    ):  # before main begins, a signal ends it at once
        return wrong
    if took > SECONDS:
        return f"ended after {took:.1f} s"
    if ran.status == 130 and "interrupted." not in ran.err:
        return f"nothing said: {ran.err!r}"
    if _is_alive(f"{MARK}={work}"):
        return "left a process"
    if left := [path for path in work.rglob("*") if ".tmp" in path.name]:
        return f"left {left}"
    if wrong := check(work, False):
        return wrong
    again = run_stap(line(shop, work, True), folder / "said")
    if again.status != 0:
        return f"the same line again: status {again.status}: {again.err[-300:]!r}"
    return check(work, True)


def _is_alive(mark: str) -> bool:
    """Whether a process with this in its environment is still there after some seconds; Linux alone tells."""
    for _ in range(100):
        found = False
        for file in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                found |= mark.encode() in file.read_bytes().split(b"\0")
        if not found:
            return False
        time.sleep(0.1)
    return True


def _seconds(command: str, shop: Workshop, folder: Path) -> float:
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    return run_stap(COMMANDS[command][0](shop, work, False), folder / "said").seconds


def _caption(shop: Workshop, work: Path, again: bool) -> list[object]:
    """Of a folder, whose videos are decoded in a process of their own."""
    return ["caption", shop.corpus, "--model", shop.model, "--format", "json", "--out", work / "captions.json"]


def _check_captions(work: Path, is_done: bool) -> str | None:
    out = work / "captions.json"
    count = len(json.loads(out.read_text())) if out.exists() else 0
    return f"{count} captions" if is_done and count != 12 else None


def _extract(shop: Workshop, work: Path, again: bool) -> list[object]:
    return shop.line("extract", f"features.store={work / 'store'}")


def _check_store(work: Path, is_done: bool) -> str | None:
    count = len(list(work.glob("store/*/video*.safetensors")))
    return f"{count} features" if is_done and count != 12 else None


def _train(shop: Workshop, work: Path, again: bool) -> list[object]:
    begun = (work / "run/state/last.safetensors").exists()
    return shop.line("train", "training.epochs=6", "--out", work / "run", *(["--resume"] if again and begun else []))


def _check_run(work: Path, is_done: bool) -> str | None:
    metrics = work / "run/metrics.json"
    epochs = len(json.loads(metrics.read_text())["history"]) if metrics.exists() else 0
    return f"{epochs} epochs" if is_done and epochs != 6 else None


COMMANDS: dict[str, tuple[Callable[[Workshop, Path, bool], list[object]], Callable[[Path, bool], str | None]]] = {
    "caption": (_caption, _check_captions),
    "extract": (_extract, _check_store),
    "train": (_train, _check_run),
}
