"""One training by several processes: each computes the gradient of its part of every batch, and all make the same update.

`torchrun` starts the processes, on one machine or on several; `launch` starts them on this machine from a running program. Either
way `joined` reads from the environment which of them this one is.

Their number does not change what is learned, with two exceptions: every process draws its own dropout, and batch normalisation
sees one part of the batch.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, distributed, nn

from stap import errors
from stap.errors import ConfigError, StapError

__all__ = ["ALONE", "Processes", "is_first_process", "joined", "launch"]

Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

TIMEOUT = timedelta(days=7)  # the other processes wait while the first one validates; the launcher notices a dead one at once
SECONDS_TO_BE_ENDED = 10.0
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


@dataclass(frozen=True)
class Processes:
    """The processes of one training, seen from one of them.

    rank: of this process, from 0; the first one (rank 0) validates, writes and prints.   device: of this process.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that validates, writes and prints."""
        return self.rank == 0

    def part(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's part of the items. The lengths of two parts differ by at most one."""
        return items[self.rank :: self.size]

    def numbers(self, count: int) -> Tensor:
        """(count,) int64: numbers that no other process gets."""
        return torch.arange(count, device=self.device) * self.size + self.rank

    def backward(self, loss: Tensor, count: int, parameters: Iterable[nn.Parameter]) -> None:
        """Leave in the parameters the gradient of the mean over the examples of all processes.

        loss: the mean over this process's `count` examples. DistributedDataParallel would weigh uneven parts alike.
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
        """(N, M): each row's mean over all processes, in which a process counts by its (N,) counts."""
        if self.size == 1:
            return rows
        weights = rows.new_tensor(counts)[:, None]
        weighted = torch.cat([rows * weights, weights], dim=1)
        distributed.all_reduce(weighted)
        return weighted[:, :-1] / weighted[:, -1:]

    def all(self, flag: Tensor) -> bool:
        """Whether a flag, a bool tensor of one value, is set in every process."""
        if self.size > 1:
            flag = flag.to(torch.int32)
            distributed.all_reduce(flag, distributed.ReduceOp.MIN)
        return bool(flag)

    def all_gather(self, item: Item) -> list[Item]:
        """The items of all processes, in the order of their ranks."""
        if self.size == 1:
            return [item]
        items: list[Any] = [None] * self.size
        distributed.all_gather_object(items, item)
        return items

    def broadcast(self, item: Item | None) -> Item:
        """The first process's item, in every process. The others give None."""
        box = [item]
        if self.size > 1:
            distributed.broadcast_object_list(box, src=0, device=self.device)
        assert box[0] is not None
        return box[0]


ALONE = Processes(rank=0, size=1, device=torch.device("cpu"))


def is_first_process() -> bool:
    """Whether this process prints: every process does that was not started as another's helper."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """The processes that `torchrun` or `launch` started, as the environment describes them; this process alone if it names none.

    On the processor they share its cores. On GPUs each has its own, the first one on a machine `device`, and so on.
    Raises ConfigError if the machine has too few GPUs, or if the environment describes the processes in part.
    """
    size = int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1
    if size == 1:
        yield Processes(0, 1, device)
        return
    here = _device_of(device)
    if here.type == "cuda":
        torch.cuda.set_device(here)
    distributed.init_process_group("gloo" if here.type == "cpu" else "nccl", timeout=TIMEOUT)
    try:
        yield Processes(int(os.environ["RANK"]), size, here)
    except (
        RuntimeError
    ):  # a collective fails because another process has: wait to be ended, so that the other one's error is reported
        time.sleep(SECONDS_TO_BE_ENDED)
        raise
    finally:
        distributed.destroy_process_group()


def launch(count: int, work: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
    """Run work(*arguments, **options) in `count` new processes of this machine, which meet in `joined`; the first one's result.

    With a count of 1, and in a process that torchrun started, it is called here. Arguments and the result are pickled, and each
    process imports the script, so a script needs `if __name__ == "__main__":`.
    Raises ConfigError if torchrun started another number of processes, the StapError of the process that failed first, and
    KeyboardInterrupt (Ctrl-C) or SystemExit (SIGTERM) after all of them have ended.
    """
    if "RANK" in os.environ and count not in (1, started := int(os.environ.get("WORLD_SIZE", "1"))):
        raise ConfigError(f"--processes {count}: torchrun started {started} processes. Leave out --processes.")
    if "RANK" in os.environ or count == 1:
        return work(*arguments, **options)
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    here: dict[str, Any] = {
        "min_nodes": 1,
        "max_nodes": 1,
        "rdzv_backend": "c10d",
        "rdzv_endpoint": "localhost:0",
        "local_addr": "localhost",
        "start_method": "forkserver",
    }
    # One process imports PyTorch, and each of these is forked from it.
    multiprocessing.get_context("forkserver").set_forkserver_preload(["stap.training.loop"])
    with tempfile.TemporaryDirectory() as folder, _signals_and_log_restored():
        logs = DefaultLogsSpecs(log_dir=folder)
        config = LaunchConfig(**here, nproc_per_node=count, run_id="stap", max_restarts=0, logs_specs=logs)
        try:
            result: Result = elastic_launch(config, _work)(torch.get_num_threads() // count, work, arguments, options)[0]
        except ChildFailedError as error:
            raise _cause(*error.get_first_failure()) from None
        except SignalException as error:
            raise (KeyboardInterrupt if error.sigval == signal.SIGINT else SystemExit(128 + error.sigval)) from None
    return result


def _work(threads: int, work: Callable[..., Result], arguments: tuple[Any, ...], options: dict[str, Any]) -> Result | None:
    """What each new process does from its first line to its last."""
    if not is_first_process():
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends at once; the first one removes the file that it was writing
    torch.set_num_threads(max(1, threads))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK)  # a machine's name often leads to no address
    result = work(*arguments, **options)
    return result if is_first_process() else None


@contextmanager
def _signals_and_log_restored() -> Iterator[None]:
    """Undo what torch's launcher leaves behind, its signal handlers, and silence its log, which repeats every error."""
    handled = [number for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if (number := getattr(signal, name, None))]
    handlers = {number: signal.getsignal(number) for number in handled}
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)
        if threading.current_thread() is threading.main_thread():  # elsewhere torch sets no handlers
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _cause(rank: int, failure: Any) -> StapError:
    """The error of the process that failed first.   failure: torch's ProcessFailure."""
    if failure.exitcode < 0:
        return StapError(
            f"training process {rank} was killed (exit {failure.exitcode}), probably out of memory. "
            "Use fewer processes or smaller batches, and continue with --resume."
        )
    if not failure.error_file_data:
        return StapError(
            f"training process {rank} did not start; its error is above. A script that starts several processes needs "
            'its code under `if __name__ == "__main__":`, because each of them imports the script.'
        )
    reported: str = failure.message["message"]  # "FeatureError: video7: damaged."
    kind, _, message = reported.partition(": ")
    if kind in errors.__all__:
        known: type[StapError] = getattr(errors, kind)
        return known(message)
    return StapError(f"training process {rank}: {reported}")


def _device_of(device: torch.device) -> torch.device:
    """This process's device. Raises ConfigError."""
    if device.type == "cpu":
        return device
    try:
        local_rank, count = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    except KeyError as missing:
        raise ConfigError(f"RANK is set, but {missing} is not. Start the processes with torchrun.") from None
    found = torch.cuda.device_count() if device.type == "cuda" else 0
    first = device.index or 0
    if first + count > found:
        raise ConfigError(
            f"{count} processes on {device}: each needs a GPU of its own, found {found}. Use fewer processes, or --device cpu."
        )
    return torch.device("cuda", first + local_rank)
