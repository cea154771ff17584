"""SIGKILL at every temporary file, rename and mkdir of every writer, then the same call again: bit for bit what an undisturbed run writes.

Python's audit events tell when a file is opened for writing, renamed or a folder made; the process kills itself at the n-th. The writers run
in forks of one process, which imports everything once.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # which optimisers import when they are first made: here, instead of in every fork
from tests.torture.outcome import Outcome

from stap.captioning.import_stat import import_stat_npz
from stap.corpora.corpus import Clip, Corpus
from stap.corpora.loading import load_corpus_with_files
from stap.errors import StapError
from stap.features.imported import import_features
from stap.features.store import FeatureStore, VideoFeatures
from stap.features.streams import FeatureStreams
from stap.files import write_json
from stap.importers.stat_npz import PARAMETERS
from stap.recipes.files import recipe_from_dict
from stap.recipes.settings import CorpusSettings
from stap.scenes import SceneDials, write_scenes
from stap.scenes.msvd_layout import write_msvd_layout
from stap.training.loop import fit
from stap.training.pretraining.pretrain import pretrain
from stap.training.resume import state_file

WRITING = os.O_WRONLY | os.O_RDWR
SCENES = SceneDials(pixels=48, seconds=1)
CORPUS = Corpus(
    "balls", tuple(Clip(f"v{n}", Path(f"{n}.mp4"), "train" if n < 6 else "validation", (f"a ball {n}",)) for n in range(8))
)
RECIPE: dict[str, Any] = {
    "name": "tiny",
    "model": {"hidden_size": 4, "attention_size": 2, "embedding_size": 2},
    "training": {"epochs": 3, "batch_size": 3, "captions_per_video": 1, "best_by": "log-likelihood"},
}
PRETRAINING: dict[str, Any] = {
    "features": {"backbone": "test_resnet", "image_size": 48},
    "pretraining": {
        "initial_weights": "random",
        **{"epochs": 2, "batch_size": 2, "frames_per_video": 1, "joint_size": 4, "embedding_size": 2},
    },
}
Writer = Callable[[Path], None]


def run(folder: Path, share: float, seed: int) -> Outcome:
    """In a process of its own, whose forks share no thread and no lock with this one."""
    command = [sys.executable, "-m", "tests.torture.kills", str(folder), str(share), str(seed)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=600)
    outcome = Outcome()
    for line in (json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")):
        outcome.counts[line["what"]] += 1
        if line["failure"]:
            outcome.failures.append(line["failure"])
    if ended.returncode:
        outcome.failures.append(f"the process ended with {ended.returncode}: {ended.stderr[-500:]}")
    return outcome


def _trials(folder: Path, share: float, seed: int) -> None:
    sources = folder / "sources"
    _make_sources(sources)
    draw = random.Random(seed)
    for name, write in _writers(sources).items():
        (folder / name).mkdir()
        status, events = _forked(write, folder / name / "whole", kill_at=None)
        expected = _content(folder / name / "whole")
        if status:
            _report("undisturbed", f"{name}: the undisturbed run ended with {status}")
        points = list(range(1, events + 1))
        for point in sorted(draw.sample(points, max(1, round(share * events)))):
            out = folder / name / "killed"
            status, _ = _forked(write, out, kill_at=point)
            killed = "" if status == -signal.SIGKILL else f"{name}, event {point}: was not killed but ended with {status}"
            status, _ = _forked(write, out, kill_at=None)
            problem = (
                f"{name}, killed at event {point}: the next run ended with {status}" if status else _difference(expected, out)
            )
            _report("kills", killed or (problem and f"{name}, killed at event {point}: {problem}"))
            shutil.rmtree(out)
        _report("two writers", _two_at_once(name, write, folder / name / "two", expected))


def _report(what: str, failure: str) -> None:
    print(json.dumps({"what": what, "failure": failure}), flush=True)


def _forked(write: Writer, out: Path, kill_at: int | None) -> tuple[int, int]:
    """Run the writer in a fork, which kills itself at that event. Its exit status (negative: a signal), and the number of events."""
    process, pipe = _begun(write, out, kill_at)
    with os.fdopen(pipe) as told:
        events = told.read()
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), int(events or 0)


def _begun(write: Writer, out: Path, kill_at: int | None) -> tuple[int, int]:
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return process, reading
    events, status = 0, 1

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal events
        is_tmp = (
            event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & WRITING) and str(out) in str(arguments[0])
        )
        if is_tmp or (event in ("os.mkdir", "os.rename") and str(out) in str(arguments[0])):
            events += 1
            if events == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        time.perf_counter = lambda: 0.0  # type: ignore[assignment]  # seconds are written, and differ
        sys.addaudithook(hook)
        write(out)
        status = 0
    except StapError as error:
        status = 3
        print(error, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        os.write(writing, str(events).encode())
        os._exit(status)


def _two_at_once(name: str, write: Writer, out: Path, expected: dict[str, str]) -> str:
    """Two processes begin the same work: the second one is refused, or helps; afterwards the folder is as after one."""
    begun = [_begun(write, out, None) for _ in range(2)]
    statuses = []
    for process, pipe in begun:
        os.close(pipe)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
    if sorted(statuses) not in ([0, 0], [0, 3]):
        return f"{name}, two at once: they ended with {statuses}"
    problem = _difference(expected, out)
    return problem and f"{name}, two at once: {problem}"


def _content(folder: Path) -> dict[str, str]:
    """The hash of each file; TensorBoard's hold times."""
    files = [path for path in folder.rglob("*") if path.is_file() and "tensorboard" not in path.parts]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def _difference(expected: dict[str, str], folder: Path) -> str:
    found = _content(folder)
    if left := [name for name in found if Path(name).name.startswith(".") or ".tmp" in name]:
        return f"left behind: {', '.join(left)}"
    differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    return f"other content: {', '.join(differing)}" if differing else ""


def _make_sources(folder: Path) -> None:
    """What some writers read."""
    store = FeatureStore(folder / "features", {"kind": "grid", "feature_size": 3, "grid": [1, 2]})
    random_numbers = np.random.default_rng(1)
    for clip in CORPUS.clips:
        grid = torch.from_numpy(random_numbers.normal(size=(2, 2, 3))).half()
        store.write(clip.id, VideoFeatures({"grid": grid, "times_seconds": torch.arange(2.0)}))
    (folder / "arrays").mkdir()
    for number in range(3):
        np.save(folder / "arrays" / f"v{number}.npy", random_numbers.normal(size=(4, 5)).astype("f4"))
    sizes = {"V": 11, "E": 4, "H": 6, "4H": 24, "G": 6, "M": 5, "L": 7, "1": 1}
    arrays = {
        name: random_numbers.normal(size=[sizes[axis] for axis in axes]).astype("f4") for name, (_, axes) in PARAMETERS.items()
    }
    np.savez(folder / "stat.npz", **arrays)
    (folder / "words.json").write_text(json.dumps({"a": 2, "man": 3}))
    write_scenes(folder / "scenes", videos=3, seed=1, dials=SCENES, workers=1)
    write_scenes(folder / "more scenes", videos=8, seed=1, dials=SCENES, workers=1)


def _writers(sources: Path) -> dict[str, Writer]:
    """Each is what a user runs again after a kill."""

    def train(out: Path) -> None:
        store = FeatureStreams({"grid": FeatureStore.at(next((sources / "features").iterdir()))})
        fit(recipe_from_dict(RECIPE), CORPUS, store, out, resume=state_file(out).exists())

    def pretraining(out: Path) -> None:
        corpus = {"corpus": {"kind": "msrvtt", "root": str(sources / "more scenes")}}
        pretrain(recipe_from_dict(PRETRAINING | corpus), out, resume=state_file(out).exists())

    def features(out: Path) -> None:
        store = FeatureStore(out, {"kind": "grid"})
        store.begin()
        for number in range(4):
            if f"v{number}" not in store:
                store.write(f"v{number}", VideoFeatures({"grid": torch.full((2, 2, 3), float(number))}))

    def layout(out: Path) -> None:
        shutil.copytree(sources / "scenes", out, dirs_exist_ok=True, copy_function=_copy_absent)
        write_msvd_layout(load_corpus_with_files(CorpusSettings(kind="msrvtt", root=out)), out)

    def imported(out: Path) -> None:
        if not (out / "README.md").exists():
            import_stat_npz(sources / "stat.npz", sources / "words.json", out)

    return {
        "scenes": lambda out: _ignored(write_scenes(out, videos=3, seed=1, dials=SCENES, workers=1)),
        "msvd layout": layout,
        "features": features,
        "import-features": lambda out: _ignored(import_features([sources / "arrays"], out, "frames")),
        "import": imported,
        "train": train,
        "pretrain": pretraining,
        "json": lambda out: write_json(out / "a" / "b" / "result.json", {"scores": [1, 2, 3]}),
    }


def _ignored(_: object) -> None:
    """What a writer returns."""


def _copy_absent(source: str, target: str) -> None:
    if not Path(target).exists() or Path(target).stat().st_size != Path(source).stat().st_size:
        shutil.copyfile(source, target)


if __name__ == "__main__":
    _trials(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
