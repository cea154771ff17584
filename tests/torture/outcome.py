"""What a part of the torture suite returns."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """counts: cases by what happened.   failures: a line for each case that broke a promise of docs/reliability.md."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
