"""Every part of the torture suite, or the parts named: python -m tests.torture [PART ...] [--share 0.1] [--seed 3]."""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path

from tests.torture import PARTS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all of them if none is named")
    parser.add_argument(
        "--share", type=float, default=1.0, help="the part of each part's cases, above 0 and up to 1 (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="draws other cases (default: 0)")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.parts if name not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}; expected some of {', '.join(PARTS)}")
    if not 0 < arguments.share <= 1:
        parser.error(f"--share is {arguments.share}; expected a number above 0 and up to 1")
    return max((_run(name, arguments.share, arguments.seed) for name in arguments.parts or PARTS), default=0)


def _run(name: str, share: float, seed: int) -> int:
    run = importlib.import_module(f"tests.torture.{name}").run
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder), share, seed)
    counts = ", ".join(f"{count} {what}" for what, count in sorted(outcome.counts.items()))
    print(f"{name}: {counts}; {len(outcome.failures)} failed, {time.perf_counter() - started:.0f} s", flush=True)
    for line in outcome.failures:
        print(f"  {line}", flush=True)
    return int(bool(outcome.failures) or not outcome.counts)


if __name__ == "__main__":
    sys.exit(main())
