"""Problems of a corpus, and how they are handled.

A reader passes every problem to `on_problem` and continues as far as it can. `refuse` stops at the first error, for loading a corpus.
`Problems` collects them all, for checking it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from stap.errors import CorpusError
from stap.files import printable

__all__ = ["Kind", "OnProblem", "Problem", "Problems", "listed", "refuse", "shortened"]

Kind = Literal[
    "file",
    "encoding",
    "line",
    "caption",
    "name",
    "split",
    "count",
    "no caption",
    "no video",
    "video",
    "same video",
    "same caption",
    "no words",
    "long caption",
]

SHOWN = 3  # names listed in a sentence
LONGEST = 100  # characters of a file that are shown in a sentence


@dataclass(frozen=True)
class Problem:
    """A fault in a corpus.

    kind: to group problems of one sort.   sentence: what was given, what was expected and what to do.
    is_error: True if the corpus is refused; False for a warning.
    """

    kind: Kind
    sentence: str
    is_error: bool = True


OnProblem = Callable[[Problem], None]


def refuse(problem: Problem) -> None:
    """Raise CorpusError for an error; pass over a warning."""
    if problem.is_error:
        raise CorpusError(problem.sentence)


class Problems:
    """A list that is its own `on_problem`."""

    def __init__(self) -> None:
        """Empty."""
        self._found: list[Problem] = []

    def __call__(self, problem: Problem) -> None:
        """Add a problem."""
        self._found.append(problem)

    def __iter__(self) -> Iterator[Problem]:
        """In the order in which they were met."""
        return iter(self._found)


def listed(things: list[str]) -> str:
    """'a, b, c and 4 more', in one line."""
    shown = printable(", ".join(things[:SHOWN]))
    return shown if len(things) <= SHOWN else f"{shown} and {len(things) - SHOWN} more"


def shortened(text: str) -> str:
    """The text, or its beginning where it is long."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
