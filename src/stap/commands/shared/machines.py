"""Options for more than one machine: `--shard I/N`, a part of the work, by hand or by a Slurm array, and `--cluster`, all of it by Ray."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from stap.errors import ConfigError

if TYPE_CHECKING:
    from stap.commands.shared.cluster import Cluster

__all__ = ["MachineOptions", "Shard"]

MACHINES = "Several machines"


@dataclass(frozen=True)
class Shard:
    """Part `number`, from 1, of `count` parts of all videos.

    The part of a video depends on its name in its folder or corpus alone: every machine finds the same parts, wherever the folder is
    mounted there, and a video that is added or removed moves no other.
    """

    number: int
    count: int

    @classmethod
    def named(cls, text: str, environment: Mapping[str, str] = os.environ) -> Shard:
        """The part that '3/8' names, or 'slurm' in a task of a Slurm array. Raises ConfigError for anything else."""
        if text == "slurm":
            return _of_slurm(environment)
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise ConfigError(f"--shard {text}: expected I/N, the I-th of N parts, such as 1/8 ... 8/8, or slurm.")
        return cls(int(found[1]), int(found[2]))

    def holds(self, name: str) -> bool:
        """Whether the video of this name is in this part."""
        composed = unicodedata.normalize("NFC", name)  # macOS hands out é as two characters
        digest = hashlib.sha256(composed.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1

    @property
    def as_name(self) -> str:
        """Of a file of this part."""
        return f"{self.number}-of-{self.count}"

    def __str__(self) -> str:
        """As it is given."""
        return f"{self.number}/{self.count}"


def _of_slurm(environment: Mapping[str, str]) -> Shard:
    """Of `sbatch --array=1-8`, 0-7 or 0-14:2. Raises ConfigError outside of an array, and where tasks are left out or alone."""

    def number(name: str, default: int | None = None) -> int:
        given = environment.get(f"SLURM_ARRAY_TASK_{name}", "" if default is None else str(default))
        if not re.fullmatch(r"\d{1,9}", given, re.ASCII):
            raise ConfigError(
                f"--shard slurm: SLURM_ARRAY_TASK_{name} is {given!r}, expected a number. Start an array, such as `sbatch --array=1-8`, or "
                "name the part: --shard I/N."
            )
        return int(given)

    task, count, step = number("ID"), number("COUNT"), number("STEP", 1) or 1
    first = number("MIN", 0)
    last = number("MAX", first + (count - 1) * step)
    if count < 2 or (last - first) // step + 1 != count:
        raise ConfigError(
            f"--shard slurm: the array has {count} tasks, from {first} to {last}. Expected at least two and none left out, such as "
            "`sbatch --array=1-8`. To run some parts again, name each: --shard I/N."
        )
    return Shard((task - first) // step % count + 1, count)


@dataclass(frozen=True)
class MachineOptions:
    """How the work is divided."""

    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Only the I-th of N parts of the videos; N commands, on any machines, do all of them once. slurm: the part of this task of "
            "a Slurm array.",
            rich_help_panel=MACHINES,
        ),
    ] = None

    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Spread the videos over a Ray cluster (host:port), a worker on each GPU, or on every two cores. auto: the cluster that "
            "RAY_ADDRESS names, otherwise this machine.",
            rich_help_panel=MACHINES,
        ),
    ] = None
    cluster_workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Workers of --cluster; on processors they share the cores.", rich_help_panel=MACHINES
        ),
    ] = None

    def part(self, model: str | None = "") -> Shard | None:
        """The part to be done; None for all.   model: of a command that takes one. Raises ConfigError."""
        if self.cluster_workers is not None and self.cluster is None:
            raise ConfigError("--cluster-workers: expected --cluster ADDRESS, whose workers these are.")
        if self.shard is not None and self.cluster is not None:
            raise ConfigError("--shard and --cluster both divide the videos. Give one of them.")
        if self.cluster is not None and model is None:
            raise ConfigError("--cluster: expected --model MODEL, so that all workers caption by the same one.")
        return None if self.shard is None else Shard.named(self.shard)

    def device_here(self, device: str) -> str:
        """Where the command itself loads networks: with a cluster on the processor, because its workers have the GPUs."""
        return device if self.cluster is None else "cpu"

    def connected(self, device: str) -> AbstractContextManager[Cluster | None]:
        """The cluster of --cluster; None without. Raises as `stap.commands.shared.cluster.connected` does."""
        if self.cluster is None:
            return nullcontext()
        from stap.commands.shared.cluster import connected

        return connected(self.cluster, device, self.cluster_workers)
