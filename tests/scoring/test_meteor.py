"""METEOR's process, with a stand-in that speaks its protocol: kept, ended, and heard when it fails."""

import gc
import sys
import textwrap

import pytest

from raising import error_of
from stap.errors import ScoringError
from stap.scoring import meteor as meteor_module
from stap.scoring.meteor import MeteorProcess

STAND_IN = """
    import sys
    for line in sys.stdin:
        kind, *fields = [field.strip() for field in line.split("|||")]
        if kind == "SCORE":
            *references, hypothesis = fields
            if hypothesis == "die":
                print("java.lang.OutOfMemoryError", file=sys.stderr)
                sys.exit(3)
            if hypothesis == "complain":
                print("Error: specify SCORE or EVAL", flush=True)
            else:
                print(len(references), len(hypothesis.split()), flush=True)
        else:
            values = [float(field.split()[1]) for field in fields]
            for value in [*values, sum(values)]:
                print(value, flush=True)
"""


@pytest.fixture
def meteor(monkeypatch, tmp_path):
    program = tmp_path / "stand_in.py"
    program.write_text(textwrap.dedent(STAND_IN))
    monkeypatch.setattr(meteor_module, "java_command", lambda: [sys.executable, str(program)])
    process = MeteorProcess()
    yield process
    process.close()


def test_statistics_and_scores(meteor):
    statistics = [meteor.statistics("two words", ["a", "b", "c"]), meteor.statistics("one", ["a"])]
    assert statistics == ["3 2", "1 1"]
    assert meteor.evaluate(statistics) == (3.0, [2.0, 1.0])


def test_bars_in_captions_do_not_part_fields(meteor):
    assert meteor.statistics("a ||| b", ["c ||| d"]) == "1 2"


def test_a_hypothesis_without_words_is_scored(meteor):
    assert meteor.statistics("", ["a"]) == "1 0"


def test_close_ends_the_process_and_may_be_repeated(meteor):
    java = meteor._process
    assert java.poll() is None
    meteor.close()
    assert java.returncode is not None  # waited for: no zombie
    meteor.close()


def test_a_forgotten_process_is_ended():
    meteor = None
    java = None

    def forget():
        nonlocal meteor, java
        java = meteor._process
        meteor = None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meteor_module, "java_command", lambda: [sys.executable, "-c", "import sys; sys.stdin.read()"])
        meteor = MeteorProcess()
    forget()
    gc.collect()
    assert java.returncode is not None


def test_a_process_that_dies_is_heard_and_ended(meteor):
    assert error_of(ScoringError, meteor.statistics, "die", ["a"]) == (
        "METEOR ended with exit status 3. It said: java.lang.OutOfMemoryError. "
        "It needs about 2 GB of memory; leave 'meteor' out of the metrics to go on without it."
    )
    assert meteor._process.returncode == 3


@pytest.mark.slow
def test_a_complaint_instead_of_numbers_is_an_error(meteor):
    assert error_of(ScoringError, meteor.statistics, "complain", ["a"]) == (
        "METEOR answered with no score. It said: Error: specify SCORE or EVAL. "
        "It needs about 2 GB of memory; leave 'meteor' out of the metrics to go on without it."
    )
    assert meteor._process.returncode is not None


def test_an_interrupt_in_the_middle_of_an_answer_ends_the_process(meteor):
    class Interrupting:
        def readline(self):
            raise KeyboardInterrupt

        def close(self):
            pass

    meteor._process.stdout.close()
    meteor._process.stdout = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        meteor.statistics("a", ["a"])
    assert meteor._process.returncode is not None
