"""Every benchmark that this machine can run, as one table in Markdown: python -m benchmarks [NAME ...]

Each NAME is a script of this folder; without one, all that have a ratio to report. A script runs alone too, with its options:
python -m benchmarks.encode --paper.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from benchmarks.table import CannotRunError, Row, markdown

RUNS: dict[str, tuple[tuple[str, ...], ...]] = {
    "beside_another": ((),),
    "cold_start": ((),),
    "caption_step": ((),),
    "encode": ((), ("--paper",)),
    "encode_memory": ((),),
    "stat_step": ((), ("--scenes",)),
    "reward": ((),),
    "extraction": ((), ("--backbone", "resnet50", "--size", "224", "--videos", "8")),
    "pretraining": ((),),
    "caption_folder": ((),),
    "programme": (("--minutes", "1"),),
    "beam": ((),),
    "epoch": ((), ("--places", "1")),
    "reading": ((),),
    "scoring": ((),),
}
"""Script -> the options of each of its runs."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(RUNS)}")
    names = parser.parse_args().names or list(RUNS)
    if unknown := [name for name in names if name not in RUNS]:
        parser.error(f"no benchmark {', '.join(unknown)}; choose from {', '.join(RUNS)}")
    found: list[Row] = []
    left_out = []
    for name in names:
        for options in RUNS[name]:
            print(f"{name} {' '.join(options)}", file=sys.stderr)
            try:
                found += import_module(f"benchmarks.{name}").rows(*options)
            except CannotRunError as reason:
                left_out.append(f"{name}: not run: {reason}")
    print("\n".join([markdown([row for row in found if row.goal is not None]), *left_out]))


if __name__ == "__main__":
    main()
