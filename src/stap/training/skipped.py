"""Batches whose step was left out because their loss or gradient was not a finite number: counted, kept on disk, and too many end the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stap.errors import StapError
from stap.files import write_json

__all__ = ["MOST_IN_A_ROW", "SKIPPED_FILE", "Skipped"]

MOST_IN_A_ROW = 3
SKIPPED_FILE = "skipped.json"


@dataclass
class Skipped:
    """The batches that a run left out.

    folder: of the run; None in a process that writes nothing.   seed: of the recipe.   setting: 'section.name=value' of the learning rate.
    """

    folder: Path | None
    seed: int
    setting: str
    batches: list[dict[str, Any]] = field(default_factory=list)
    in_a_row: int = 0

    def add(self, update: int, norm_and_loss: Sequence[float], **batch: Any) -> None:
        """Count a batch and write RUN/skipped.json: the recipe's seed, and each batch with what is needed to make it again.

        update: its number, from 1.   batch: what else to keep of it.   Raises StapError after too many in a row.
        """
        self.in_a_row += 1
        norm, loss = norm_and_loss
        self.batches.append({"update": update, "loss": str(loss), "gradient_norm": str(norm)} | batch)
        if self.folder is not None:
            write_json(self.folder / SKIPPED_FILE, {"seed": self.seed, "batches": self.batches})
        if self.in_a_row == MOST_IN_A_ROW:
            raise StapError(
                f"updates {update - MOST_IN_A_ROW + 1} to {update}: the loss or its gradient was not a finite number {MOST_IN_A_ROW} times in "
                f"a row (the last loss is {loss}). {SKIPPED_FILE} in the run's folder holds their captions. Lower the learning rate "
                f"({self.setting}) or check the features; the state of the last whole epoch is kept."
            )

    def end_row(self) -> None:
        """A step was made again."""
        self.in_a_row = 0
