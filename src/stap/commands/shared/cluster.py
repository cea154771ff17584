"""`--cluster`: the files of a command in blocks of a few, to workers on a Ray cluster.

Ray starts a worker that died again and gives it the same block, without end. So a worker marks a file before it opens it. The files of
a block that a process died of are taken one by one, and one that a process dies of again is reported and not opened any more.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import pickle
import platform
import signal
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from stap.errors import ConfigError, MissingDependencyError, StapError, VideoError
from stap.files import folder_lock, one_line, write_json

__all__ = ["MARKS", "Cluster", "File", "Marks", "Work", "connected"]

MARKS = ".cluster"  # name of the folder for `Marks`, inside the folder of the results
FILES_PER_BLOCK, BLOCKS_PER_WORKER = 8, 4  # at most so many files; of few files at least so many blocks
CORES_PER_WORKER = 2  # on processors: one to decode and one to compute
RAY = {
    "RAY_worker_niceness": "0",  # that of the command, whose work it is; Ray's own is 15
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

# Of a cluster that this command starts: results are small, and features do not pass through it.
ALONE: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 256 << 20}


@dataclass(frozen=True)
class File:
    """A file for a worker.   name: no other file's."""

    name: str
    path: Path


class Work(Protocol):
    """What workers do; it is pickled before `begin`."""

    def begin(self) -> None:
        """Load what is needed, once in each worker."""

    def __call__(self, files: Sequence[File]) -> Any:
        """What became of these files; it is pickled."""


@dataclass(frozen=True)
class Marks:
    """Which files are open, and which ones have killed two processes: small files in a folder that all machines see."""

    folder: Path

    @contextmanager
    def kept(self) -> Iterator[None]:
        """A run, one at a time. What a run that was killed left open is forgotten; afterwards only files that killed are marked.

        Raises ConfigError if another process has one.
        """
        here = self.folder / "run.json"
        with folder_lock(self.folder, ConfigError):
            for path in self.folder.glob("*.open*"):
                path.unlink(missing_ok=True)
            write_json(here, {"machine": platform.node()})
            try:
                yield
            finally:
                for path in [*self.folder.glob("*.open*"), here]:
                    path.unlink(missing_ok=True)

    def check_seen(self) -> None:
        """Raise StapError in a worker that does not see the folder of the run."""
        if not (self.folder / "run.json").is_file():
            raise StapError(
                f"{self.folder}: is not the same folder on {platform.node()}. Expected the videos and the results on a file system that all "
                "machines of the cluster share, under one path. Name such folders."
            )

    @contextmanager
    def starting(self, most: int) -> Iterator[None]:
        """A worker loads what it needs. Raises StapError if so many processes have died of that: Ray would start others without end."""
        died = len(list(self.folder.glob("*.open-start")))
        if died >= most:
            raise StapError(
                f"the workers of the cluster die while they load their networks, {died} processes so far; probably memory ran out. Use fewer "
                "workers: --cluster-workers."
            )
        here = self.folder / f"{uuid.uuid4().hex}.open-start"
        here.touch()
        try:
            yield
        finally:
            here.unlink(missing_ok=True)

    def begins(self, file: File, attempt: int) -> bool:
        """Mark a file before it is opened. False if there was such an attempt (1 or 2) already."""
        try:
            self._open_file(file, attempt).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def end(self, files: Iterable[File]) -> None:
        """These files killed no process."""
        for file in files:
            for attempt in (1, 2):
                self._open_file(file, attempt).unlink(missing_ok=True)

    def give_up(self, file: File) -> VideoError:
        """Mark a file as one that is not to be opened any more, as long as it is the same."""
        about = {"path": os.fsencode(file.path).decode(errors="replace"), "version": _version(file.path)}
        write_json(self._verdict(file), about)
        self.end([file])
        return self._killed(file)

    def verdict(self, file: File) -> VideoError | None:
        """Why a file is not to be opened."""
        try:
            version = json.loads(self._verdict(file).read_text(encoding="utf-8"))["version"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return self._killed(file) if version == _version(file.path) else None  # otherwise it was replaced

    def _killed(self, file: File) -> VideoError:
        return VideoError(
            f"{file.path}: two processes that read it died. It is damaged, malicious, or needs more memory than there is. Get it again "
            f"or re-encode it; to try it once more as it is, delete {self._verdict(file)}."
        )

    def _verdict(self, file: File) -> Path:
        return self.folder / f"{_digest(file)}.killed.json"

    def _open_file(self, file: File, attempt: int) -> Path:
        return self.folder / f"{_digest(file)}.open{attempt}"


def _digest(file: File) -> str:
    return sha256(file.name.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _version(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


class Worker:
    """A process of the cluster: loads once, then takes blocks."""

    def __init__(self, work: Work, marks: Marks, place: Place) -> None:
        """An error is kept until the first block, with which it reaches the caller as it is."""
        self.work, self.marks = work, marks
        self.failure: StapError | None = None
        try:
            place.enter()
            marks.check_seen()
            with marks.starting(2 * place.workers + 3):
                work.begin()
        except StapError as error:
            self.failure = error

    def __call__(self, block: Mapping[str, bytes]) -> dict[str, bytes]:
        """The results of the files of a block."""
        if self.failure is not None:
            raise self.failure
        return {"results": pickle.dumps(self.results(pickle.loads(block["files"])))}

    def results(self, files: Sequence[File]) -> list[tuple[list[File], Any]]:
        """Some files at a time with what became of them; one alone with a VideoError where two processes died of it."""
        found: list[tuple[list[File], Any]] = []
        again: list[File] = []  # their block died, perhaps of one of them
        new: list[File] = []
        for file in files:
            if (verdict := self.marks.verdict(file)) is not None:
                found.append(([file], verdict))
            else:
                (new if self.marks.begins(file, 1) else again).append(file)
        if new:
            found.append((new, self._done(new)))
        for file in again:
            found.append(([file], self._done([file]) if self.marks.begins(file, 2) else self.marks.give_up(file)))
        return found

    def _done(self, files: Sequence[File]) -> Any:
        try:
            return self.work(files)
        finally:
            self.marks.end(files)


@dataclass(frozen=True)
class Place:
    """What a worker has in common with the command: the current folder, and what it may fetch.

    cores: of a worker.   workers: that there are.
    """

    cores: int
    workers: int = 1
    folder: Path = field(default_factory=Path.cwd)
    environment: Mapping[str, str] = field(
        default_factory=lambda: {name: os.environ[name] for name in ("HF_HUB_OFFLINE",) if name in os.environ}
    )

    def enter(self) -> None:
        """Make them this process's. Raises StapError where the folder is not there."""
        os.environ.update(self.environment)
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise StapError(
                f"{self.folder}: {platform.node()} has no such folder ({error.strerror}). Start the command in a folder that all machines of "
                "the cluster share."
            ) from error
        import torch

        from stap.video.threads import keep_to_cores

        torch.set_num_threads(self.cores)
        keep_to_cores(self.cores)


def pool_of(nodes: Sequence[Mapping[str, float]], device: str, workers: int | None) -> tuple[int, int, int]:
    """How many workers, and the cores and GPUs of each.   nodes: the resources of each machine.

    Raises ConfigError for a device that no cluster can share, and for more workers than there are GPUs or cores.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--device {device}: --cluster gives each worker its GPU. Expected auto, cpu or cuda.")
    with_gpus = [node for node in nodes if node.get("GPU", 0) >= 1] if device != "cpu" else []
    if device == "cuda" and not with_gpus:
        raise ConfigError("--device cuda: the cluster has no GPU. Use --device auto or cpu.")
    most = int(sum(node["GPU"] for node in with_gpus) if with_gpus else sum(node.get("CPU", 0) for node in nodes))
    if most < (workers or 1):
        what = "GPUs" if with_gpus else "cores"
        raise ConfigError(f"--cluster-workers {workers or 1}: the cluster has {most} {what}. Use at most one worker for each.")
    if with_gpus:
        return workers or most, max(1, int(min(node.get("CPU", 1) // node["GPU"] for node in with_gpus))), 1
    sizes = [int(node.get("CPU", 0)) for node in nodes]
    widest = max(sizes) if workers else min(CORES_PER_WORKER, max(sizes))
    cores = next(cores for cores in range(widest, 0, -1) if sum(size // cores for size in sizes) >= (workers or 1))
    return workers or sum(size // cores for size in sizes), cores, 0


class Cluster:
    """A Ray cluster to which this process is connected."""

    def __init__(self, ray: Any, device: str, workers: int | None) -> None:
        """Find the machines. Raises ConfigError as `pool_of` does."""
        self._data = ray.data
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self.workers, cores, gpus = pool_of(nodes, device, workers)
        self._share = {"num_cpus": cores, "num_gpus": gpus}
        self._place = Place(cores, self.workers)

    def run(self, work: Work, files: Sequence[File], marks: Path) -> Iterator[tuple[list[File], Any]]:
        """Some files at a time with what became of them, as they come; one alone with a VideoError where two processes died of it.

        marks: a folder that all machines see. Raises StapError as the work does.
        """
        size = max(1, min(FILES_PER_BLOCK, len(files) // (BLOCKS_PER_WORKER * self.workers)))
        blocks = [{"files": pickle.dumps(list(files[first : first + size]))} for first in range(0, len(files), size)]
        if not blocks:
            return
        seen = Marks(marks)
        with seen.kept():
            results = self._data.from_items(blocks, override_num_blocks=len(blocks)).map(
                Worker,
                fn_constructor_args=(work, seen, self._place),
                compute=self._data.ActorPoolStrategy(size=min(self.workers, len(blocks)), max_tasks_in_flight_per_actor=1),
                **self._share,
            )
            try:
                for row in results.iter_rows():
                    yield from pickle.loads(row["results"])
            except (StapError, GeneratorExit):
                raise
            except Exception as error:
                raise _as_stap_error(error) from error


def _as_stap_error(error: BaseException) -> StapError:
    """Ours, if a worker raised one; otherwise what Ray says, in a sentence."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, StapError):
            return seen
        if isinstance(cause := getattr(seen, "cause", None), StapError):
            return cause
        seen = seen.__cause__ or seen.__context__
    lines = [line for line in str(error).splitlines() if line.strip()]
    said = one_line(Exception(lines[-1] if lines else ""))
    return StapError(f"a worker of the cluster failed ({type(error).__name__}: {said}). Run the same line again.")


@contextmanager
def connected(address: str, device: str, workers: int | None) -> Iterator[Cluster]:
    """The cluster at this address, or as 'auto' says, while the block runs; what Ray prints is dropped.

    Raises MissingDependencyError without the extra `stap[cluster]`, ConfigError if no cluster answers.
    """
    for name, value in RAY.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingDependencyError(
            "--cluster needs the package ray, which is not installed. Install it with: pip install 'stap[cluster]'"
        ) from None
    with contextlib.redirect_stdout(io.StringIO()):  # where Ray says that workers died; a command prints nothing meanwhile
        began = not ray.is_initialized()
        if began:
            _join(ray, address)
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        ray.data.DataContext.get_current().enable_progress_bars = False
        try:
            yield Cluster(ray, device, workers)
        finally:
            if began:
                ray.shutdown()


def _join(ray: Any, address: str) -> None:
    named = (os.environ.get("RAY_ADDRESS") or "local") if address == "auto" else address
    before = signal.getsignal(signal.SIGTERM)
    try:
        with _silent_stderr():
            ray.init(address=named, log_to_driver=False, logging_level="CRITICAL", **(ALONE if named == "local" else {}))
    except Exception as error:  # Ray has no family of errors for it
        raise ConfigError(
            f"--cluster {address}: no cluster could be joined at {named} ({one_line(error)[:300]}). Expected host:port of one that "
            "`ray start --head` began and that this machine belongs to (`ray start --address host:port`), or auto."
        ) from error
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGTERM, before)  # Ray takes it; the command ends by it as by Ctrl-C


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Ray's C++ part says on stderr that it was told to say nothing."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
