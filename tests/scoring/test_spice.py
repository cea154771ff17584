"""SPICE: refused with the reason where its parser is missing; with a stand-in for Java, asked and heard as it should be."""

import sys
import textwrap

import pytest

from stap.errors import MissingDependencyError, ScoringError
from stap.scoring import spice as spice_module
from stap.scoring.metrics import Scorer
from stap.scoring.spice import PARSER, Spice

STAND_IN = """
    import json, sys
    from pathlib import Path
    arguments = sys.argv[1:]
    assert arguments[:2] == ["-Xmx8G", "-jar"] and "-cache" not in arguments
    asked = json.loads(Path(arguments[3]).read_text())
    answer = Path(arguments[arguments.index("-out") + 1])
    with Path(arguments[2]).with_name("runs").open("a") as runs:
        runs.write("x")
    if asked[0]["test"] == "die":
        sys.exit("java.lang.OutOfMemoryError")
    def f(item):
        return None if item["test"] == "odd" else len(item["test"].split()) / 10 + len(item["refs"])
    answer.write_text(json.dumps([{"image_id": item["image_id"], "scores": {"All": {"f": f(item)}}} for item in asked[::-1]]))
"""


@pytest.fixture
def jar(monkeypatch, tmp_path):
    """An archive with its parser, and a Java that is a Python program."""
    program = tmp_path / "stand_in.py"
    program.write_text(textwrap.dedent(STAND_IN))
    (tmp_path / "lib").mkdir()
    for name in PARSER:
        (tmp_path / "lib" / name).touch()
    monkeypatch.setattr(spice_module, "archive", lambda _: tmp_path / "spice-1.0.jar")
    monkeypatch.setattr(spice_module, "java_command", lambda: [sys.executable, str(program)])
    return tmp_path / "spice-1.0.jar"


def test_every_caption_gets_its_own_score(jar):
    spice = Spice([["a"], ["b", "c"], ["d"]])
    found = spice.score(["one", "two words", ""])["SPICE"]
    assert found.per_video == [1.1, 2.2, 1.0]
    assert found.corpus == pytest.approx(4.3 / 3)
    assert spice.score(["one", "now three words", ""])["SPICE"].per_video == [1.1, 2.3, 1.0]
    assert jar.with_name("runs").read_text() == "xx"


def test_a_spice_that_fails_says_why(jar):
    with pytest.raises(ScoringError) as raised:
        Spice([["a"]]).score(["die"])
    assert str(raised.value) == (
        "SPICE ended with exit status 1. It said: java.lang.OutOfMemoryError. "
        "It needs about 8 GB of memory; leave 'spice' out of the metrics to go on without it."
    )


@pytest.mark.usefixtures("jar")
def test_a_caption_without_a_score_is_an_error():
    with pytest.raises(ScoringError, match=r"^SPICE has no score for a caption \(it says None\), so it has no mean\. "):
        Spice([["a"]]).score(["odd"])


def test_without_its_parser_it_is_unavailable(jar):
    (jar.parent / "lib" / PARSER[1]).unlink()
    with pytest.raises(MissingDependencyError) as raised:
        Scorer({"a": ["x"]}, ["rouge", "spice"])
    assert str(raised.value) == (
        f"SPICE is unavailable: it needs Stanford CoreNLP 3.6.0, and {jar.parent}/lib has no stanford-corenlp-3.6.0-models.jar. "
        "Get them once (about 400 MB) with: python -c 'from pycocoevalcap.spice import get_stanford_models as g; "
        "g.get_stanford_models()' - or leave 'spice' out of the metrics."
    )
