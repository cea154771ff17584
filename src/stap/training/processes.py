"""One training by several processes: each computes on a part of every batch, and all make the same updates (data parallelism).

What is learned does not depend on their number, but for dropout, which every process draws for itself, and batch normalisation, which
sees the part alone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, distributed, nn

from stap.errors import ConfigError, StapError

__all__ = ["ALONE", "Processes", "several_processes"]

Item = TypeVar("Item")
Arguments = ParamSpec("Arguments")

PATIENCE = timedelta(days=7)  # the others wait while the first validates; one that has died is noticed at once
SECONDS_TO_REPORT = 10.0


@dataclass(frozen=True)
class Processes:
    """Those that train together, as one of them sees it.   rank: its number; 0 is the first, which validates, writes and reports."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that was there before the others."""
        return self.rank == 0

    def part(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's part of the items: as many as in any other, up to one."""
        return items[self.rank :: self.size]

    def numbers(self, count: int) -> Tensor:
        """(count,) int64, numbers that no other process gives."""
        return torch.arange(count, device=self.device) * self.size + self.rank

    def backward(self, loss: Tensor, count: int, parameters: Iterable[nn.Parameter]) -> None:
        """Leave in the parameters the gradient of the mean over the examples of all processes.

        loss: the mean over `count` examples, those of this process.
        """
        if self.size == 1:
            loss.backward()  # type: ignore[no-untyped-call]
            return
        (loss * count).backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        everything = torch.cat([gradient.flatten() for gradient in gradients] + [gradients[0].new_tensor([count])])
        distributed.all_reduce(everything)
        everything /= everything[-1].clone()
        parts = torch.split(everything[:-1], [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def mean(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """Means over all processes of the rows of each, (N, M), in which a process counts by its (N,) counts."""
        if self.size == 1:
            return rows
        weights = rows.new_tensor(counts)[:, None]
        weighted = torch.cat([rows * weights, weights], dim=1)
        distributed.all_reduce(weighted)
        return weighted[:, :-1] / weighted[:, -1:]

    def together(self, found: Item) -> list[Item]:
        """What each process found, in the order of their ranks."""
        if self.size == 1:
            return [found]
        everything: list[Any] = [None] * self.size
        distributed.all_gather_object(everything, found)
        return everything

    def of_first(self, found: Item | None) -> Item:
        """What the first process found."""
        if self.size == 1:
            assert found is not None
            return found
        box = [found]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        assert box[0] is not None
        return box[0]


ALONE = Processes(rank=0, size=1, device=torch.device("cpu"))


@contextmanager
def several_processes(
    count: int,
    device: torch.device,
    follow: Callable[Concatenate[Processes, Arguments], object],
    *arguments: Arguments.args,
    **options: Arguments.kwargs,
) -> Iterator[Processes]:
    """Within it this process is the first of `count`; each of the others runs follow(Processes, *arguments), which are pickled.

    On the processor they share its cores; on GPUs the one of rank r has the r-th, counted from `device`.
    Raises ConfigError if there are not so many GPUs, the StapError of another process in place of what follows from it here, and
    StapError if one was killed.
    """
    if count == 1:
        yield Processes(0, 1, device)
        return
    first = _device_of(0, count, device)
    threads, spawn = torch.get_num_threads(), multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as meeting:
        others = [
            _Other(spawn, rank, count, device, Path(meeting), threads, follow, arguments, options) for rank in range(1, count)
        ]
        try:
            for other in others:
                other.wait()
            yield _join(0, count, first, Path(meeting), threads)
        except Exception as error:
            if report := _report(others, error):
                raise report from error
            raise
        finally:
            for other in others:
                other.end()
            if distributed.is_initialized():
                distributed.destroy_process_group()
            torch.set_num_threads(threads)


class _Other:
    """One of the other processes, seen from the first."""

    def __init__(self, spawn: multiprocessing.context.SpawnContext, rank: int, *given: Any) -> None:
        self.rank = rank
        self.reports, sending = spawn.Pipe(duplex=False)
        self.process: BaseProcess = spawn.Process(target=_work, args=(sending, rank, *given), daemon=True)
        self.process.start()
        sending.close()

    def wait(self) -> None:
        """Until it is there. Raises StapError if it ended instead."""
        try:
            self.reports.recv()
        except EOFError:
            raise StapError(
                f"training process {self.rank} did not start; above is why. A script that trains with several processes needs "
                'its code under `if __name__ == "__main__":`, because each of them imports the script.'
            ) from None

    def report(self, seconds: float) -> StapError | None:
        """Why it ended, if it did so before its time."""
        try:
            if self.reports.poll(seconds):
                error: StapError = self.reports.recv()
                return error
        except EOFError:  # it ended without a word
            self.process.join(seconds)
        if self.process.exitcode:
            return StapError(
                f"training process {self.rank} was ended from outside (exit status {self.process.exitcode}); when memory runs out "
                "that is what happens. Use fewer processes or smaller batches, and continue with --resume."
            )
        return None

    def end(self) -> None:
        """End it, if it has not ended."""
        self.process.join(1.0 if self.process.exitcode is None else None)
        if self.process.exitcode is None:
            self.process.terminate()
            self.process.join()
        self.reports.close()


def _work(
    reports: Connection,
    rank: int,
    count: int,
    device: torch.device,
    meeting: Path,
    threads: int,
    follow: Callable[..., object],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> None:
    """What another process does from its first line to its last."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first, which ends the others
    reports.send(None)  # the first waits for it
    try:
        follow(_join(rank, count, _device_of(rank, count, device), meeting, threads), *arguments, **options)
    except StapError as error:
        reports.send(error)
        sys.exit(1)
    except Exception as error:
        reports.send(StapError(f"training process {rank}: {type(error).__name__}: {error}"))
        raise


def _report(others: Sequence[_Other], error: Exception) -> StapError | None:
    """Why another process ended, where `error` only follows from that."""
    if isinstance(error, StapError):
        return None
    return next(filter(None, (other.report(SECONDS_TO_REPORT) for other in others)), None)


def _device_of(rank: int, count: int, device: torch.device) -> torch.device:
    if device.type == "cpu":
        return device
    there = torch.cuda.device_count() if device.type == "cuda" else 0
    index = (device.index or 0) + rank
    if (device.index or 0) + count > there:
        raise ConfigError(
            f"{count} processes on {device}: each needs a GPU of its own, and there are {there}. Use fewer processes, or --device cpu."
        )
    return torch.device("cuda", index)


def _join(rank: int, count: int, device: torch.device, meeting: Path, threads: int) -> Processes:
    """Meet the others, all on this machine."""
    if device.type == "cpu":
        torch.set_num_threads(max(1, threads // count))
        # The name of a machine often leads to no address; they need only the one that is always there.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    else:
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "gloo" if device.type == "cpu" else "nccl",
        init_method=(meeting / "met").as_uri(),
        rank=rank,
        world_size=count,
        timeout=PATIENCE,
    )
    return Processes(rank, count, device)
