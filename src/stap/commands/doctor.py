"""`stap doctor`: what is installed, what is missing, how to get it."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer

from stap.commands.shared.options import DeviceOption, UnusedSeedOption

if TYPE_CHECKING:
    from stap.commands.shared.doctor import Finding


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Also ask whether the Hugging Face Hub can be reached.")] = False,
    device: DeviceOption = "auto",
    seed: UnusedSeedOption = None,
) -> None:
    """Print what is installed, what is missing, and how to get it.

    The exit status is 1 if something that stap needs is missing.
    """
    from stap.commands.shared.doctor import examine

    findings = examine(device=device, online=online)
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        from stap.reports.text_table import text_table

        print(text_table([line for finding in findings for line in _lines(finding)], "left"))
    if any(finding.is_needed and not finding.is_there for finding in findings):
        raise typer.Exit(1)


def _lines(finding: Finding) -> list[tuple[str, str, str]]:
    """A line of the table; for what is missing, a second one that says how to get it."""
    first = (finding.verdict, finding.name, finding.found)
    return [first] if finding.is_there else [first, ("", "", finding.how_to_get)]
