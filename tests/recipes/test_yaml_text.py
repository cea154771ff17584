"""YAML of strangers: plain values or one line that says what is wrong with it."""

import datetime
from pathlib import Path

import pytest

from raising import error_of
from stap.errors import ConfigError
from stap.recipes.files import load_recipe
from stap.recipes.yaml_text import parse_yaml


def test_plain_values() -> None:
    text = "a: 1\nb: {c: [x, 2.5, true, null], d: 'e: f'}\nday: 2024-02-29\nlong: |\n  two\n  lines\n"
    expected = {
        "a": 1,
        "b": {"c": ["x", 2.5, True, None], "d": "e: f"},
        "day": datetime.date(2024, 2, 29),
        "long": "two\nlines\n",
    }
    assert parse_yaml(text) == expected
    assert parse_yaml("") is None


LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAUGHS, "line 1, column 4: aliases (& and *) are not read; write the value again"),
        ("a: *b", "line 1, column 4: aliases (& and *) are not read; write the value again"),
        ("a: &b 1", "line 1, column 4: aliases (& and *) are not read; write the value again"),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: 'a' is given twice"),
        ("x: {a: 1, b: 2, a: 1}", "line 1, column 17: 'a' is given twice"),
        ("[" * 100_000, "line 1, column 51: values are nested more than 50 deep"),
        (
            "a: " + "9" * 5000,
            "a value cannot be read: Exceeds the limit (4300 digits) for integer string conversion: value has 5000 digits",
        ),
        ("a: 2023-02-30", "a value cannot be read: day is out of range for month"),
        ("a: 2023-13-01", "a value cannot be read: month must be in 1..12"),
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor for the tag"),
        ("a: [1", "line 1, column 6: expected ',' or ']', but got '<stream end>'"),
        ("? [a]\n: 1", "line 1, column 3: found unhashable key"),
        ("a: \x01", "unacceptable character #x0001: special characters are not allowed"),
        ("#" * 1_000_001, "it has 1,000,001 characters, and at most 1,000,000 were expected"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    assert reason in error_of(ValueError, parse_yaml, text)


def test_a_recipe_of_any_such_kind_is_one_sentence(tmp_path: Path) -> None:
    for text in (LAUGHS, "training: {epochs: 2, epochs: 3}", "seed: " + "9" * 5000, "name: 2023-02-30", "[" * 9999):
        (tmp_path / "a.yaml").write_text(text)
        message = error_of(ConfigError, load_recipe, tmp_path / "a.yaml")
        assert message.startswith(f"{tmp_path}/a.yaml: cannot be read as YAML: ")
        assert len(message.splitlines()) == 1
    assert error_of(ConfigError, load_recipe, tmp_path) == (
        f"{tmp_path}: a folder, and a file was expected. Expected `section:` lines with settings under them."
    )


@pytest.mark.parametrize("override", ["seed=" + "9" * 5000, "name=&a x", "text=" + "[" * 5000, "name=2023-02-30"])
def test_an_override_of_such_a_kind(override: str) -> None:
    assert "the value cannot be read: " in error_of(ConfigError, load_recipe, "msvd/lstap-mean", [override])


@pytest.mark.parametrize(
    "override",
    ["model.hidden_size=1" + "0" * 30, "training.clip_norm=.nan", "training.clip_norm=.inf", "features.frames=1000000000",
     "decoding.beam_width=1000000000", "features.image_size=1000000", "features.crop=0.000001", "motion.resize=[1, 1000000]"],
)  # fmt: skip
def test_numbers_beyond_any_machine_are_refused(override: str) -> None:
    name = override.partition("=")[0]
    assert name in error_of(ConfigError, load_recipe, "msvd/stat", [override])
