"""A small corpus, its features and a model, and commands of stap in processes of their own that start at once."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Ran", "Running", "Workshop", "complaint", "run", "start"]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.torture.preloaded"])  # importing PyTorch takes longer than a command


@dataclass(frozen=True)
class Ran:
    """What a command left. seconds: until it ended."""

    line: str
    status: int | None
    out: str
    err: str
    seconds: float


class Running:
    """A command that runs."""

    def __init__(
        self, line: list[object], folder: Path, environment: Mapping[str, str | None], setup: Callable[[], None] | None
    ):
        self.line = [str(word) for word in line]
        self.files = folder / "stdout", folder / "stderr"
        self.started = time.monotonic()
        self.process: Any = _context.Process(target=_work, args=(self.line, *self.files, dict(environment), setup))
        self.process.start()

    def send(self, number: int) -> None:
        if self.process.is_alive():
            with contextlib.suppress(ProcessLookupError):  # it ended since
                os.kill(self.process.pid, number)

    def wait(self, seconds: float) -> Ran:
        """What it left; a status of None means that it had to be killed."""
        self.process.join(seconds)
        status = self.process.exitcode
        if status is None:
            self.process.kill()
            self.process.join()
        out, err = (file.read_text(encoding="utf-8", errors="replace") if file.exists() else "" for file in self.files)
        return Ran(" ".join(self.line), status, out, err, time.monotonic() - self.started)


def start(
    line: list[object],
    folder: Path,
    environment: Mapping[str, str | None] | None = None,
    setup: Callable[[], None] | None = None,
) -> Running:
    """`stap LINE` in a process of its own. folder: for its stdout and stderr.   environment: changes; None takes a variable away."""
    folder.mkdir(parents=True, exist_ok=True)
    return Running(line, folder, environment or {}, setup)


def run(
    line: list[object],
    folder: Path,
    environment: Mapping[str, str | None] | None = None,
    setup: Callable[[], None] | None = None,
    seconds: float = 60,
) -> Ran:
    """The same, to its end."""
    return start(line, folder, environment, setup).wait(seconds)


def complaint(ran: Ran, statuses: tuple[int, ...] = (0, 1)) -> str | None:
    """What is wrong with how a command ended, if anything: neither done nor a sentence."""
    if ran.status not in statuses:
        return f"{ran.line}: exit status {ran.status}: {ran.err[-300:]!r}"
    if "Traceback" in ran.err or (ran.status == 1 and "stap: " not in ran.err):
        return f"{ran.line}: no sentence: {ran.err[-500:]!r}"
    if found := re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", ran.out + ran.err):
        return f"{ran.line}: {found[0]!r} is written as it is"
    return None


def _work(
    line: list[str], out: Path, err: Path, environment: Mapping[str, str | None], setup: Callable[[], None] | None
) -> None:
    for name, value in environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    for number, file in ((1, out), (2, err)):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, number)
    encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding=encoding)
    sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", closefd=False), encoding=encoding, line_buffering=True)
    sys.__stderr__ = sys.stderr
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    if setup is not None:
        setup()
    from stap.cli import main

    status = main(line)
    sys.stdout.flush()
    os._exit(status)


@dataclass(frozen=True)
class Workshop:
    """corpus: MSR-VTT's layout, 12 clips of a second.   recipe: for it.   model: trained on it for two epochs."""

    folder: Path
    corpus: Path
    recipe: Path
    model: Path

    @property
    def videos(self) -> list[Path]:
        return sorted((self.corpus / "TrainValVideo").iterdir()) + sorted((self.corpus / "TestVideo").iterdir())

    def line(self, verb: str, *rest: object) -> list[object]:
        return [verb, self.recipe, *rest]


def make_workshop(folder: Path, videos: int = 12) -> Workshop:
    """Made by the commands themselves. Raises AssertionError with what they said if one fails."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus, recipe, model = folder / "corpus", folder / "recipe.yaml", folder / "model"
    weights = folder / "backbone.safetensors"
    maker = _context.Process(target=_make_backbone, args=(weights,))
    maker.start()
    maker.join()
    recipe.write_text(
        f"""
        name: small
        corpus: {{root: {corpus}}}
        features: {{backbone: test_resnet, weights: {weights}, frames: 6, image_size: 64, store: {folder}/store}}
        model: {{hidden_size: 16, attention_size: 8, embedding_size: 8}}
        training: {{epochs: 2, batch_size: 4, best_by: log-likelihood, optimizer: {{kind: adam, learning_rate: 0.01}}}}
        decoding: {{beam_width: 2, max_words: 12}}
        """
    )
    made = Workshop(folder, corpus, recipe, model)
    lines: list[list[object]] = [
        ["scenes", corpus, "--videos", videos, "--seed", 3, "--seconds", 1, "--pixels", 48],
        made.line("extract"),
        made.line("train", "--out", model),
    ]
    for line in lines:
        ran = run(line, folder / "said")
        assert ran.status == 0, ran.err
    return made


def _make_backbone(path: Path) -> None:
    import safetensors.torch
    import timm
    import torch

    torch.manual_seed(1)
    safetensors.torch.save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), path)


def copy_of(path: Path, to: Path) -> Path:
    """A copy of a file or folder, in place of what is there."""
    shutil.rmtree(to, ignore_errors=True)
    to.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copytree(path, to) if path.is_dir() else shutil.copy(path, to))
