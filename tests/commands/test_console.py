"""Messages of commands on stderr."""

import pytest

from stap.commands.shared.console import complain


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({}, "stap: no such file."),
        ({"RANK": "0", "WORLD_SIZE": "1"}, "stap: no such file."),
        ({"RANK": "1", "WORLD_SIZE": "2"}, "stap: process 1: no such file."),
    ],
)
def test_an_error_of_one_of_several_processes_names_it(
    environment: dict[str, str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    complain("no such file.")
    assert capsys.readouterr().err == f"{line}\n"
