"""The house stays small: few entries at the top, no long function, no long list of parameters."""

from pathlib import Path

from benchmarks.size import MOST_ENTRIES, entries, functions_of_many_parameters, long_functions


def test_the_package_has_few_entries_at_the_top() -> None:
    assert len(entries()) <= MOST_ENTRIES, entries()


def test_no_function_is_long() -> None:
    assert long_functions() == {}


def test_no_function_has_many_parameters() -> None:
    assert functions_of_many_parameters() == {}


def test_long_functions_and_lists_of_parameters_are_found(tmp_path: Path) -> None:
    (tmp_path / "commands").mkdir()
    nine = ", ".join("abcdefghi")
    (tmp_path / "commands" / "score.py").write_text(f"def score({nine}): ...\ndef _print({nine}): ...\n", encoding="utf-8")
    (tmp_path / "model.py").write_text(
        f"class Model:\n    def step(self, {nine[:-3]}): ...\n    def loss(self, {nine[:-3]}, *, i): ...\n"
        "def short():\n" + "    pass\n" * 59 + "def long():\n" + "    pass\n" * 60,
        encoding="utf-8",
    )
    assert functions_of_many_parameters(tmp_path) == {"commands/score._print": 9, "model.loss": 9}
    assert long_functions(tmp_path) == {"model.long": 61}
