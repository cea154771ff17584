"""`stap doctor`: what is installed, what is missing, how to get it."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from stap.commands.shared.options import DeviceOption, UnusedSeedOption


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Also ask whether the Hugging Face Hub can be reached.")] = False,
    device: DeviceOption = "auto",
    seed: UnusedSeedOption = None,
) -> None:
    """Say what is installed and what is missing.

    For what is missing it says how to get it; the exit status is 1 if it is needed.
    """
    from stap.commands.shared.doctor import examine

    findings = examine(device=device, online=online)
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            print(f"{finding.verdict:8} {finding.name:{width}}  {finding.found}")
            if not finding.is_there:
                print(f"{'':8} {'':{width}}  {finding.how_to_get}")
    if any(finding.is_needed and not finding.is_there for finding in findings):
        raise typer.Exit(1)
