"""Tables as text: aligned, whole, and nothing but the cells."""

from stap.reports.text_table import text_table


def test_columns_are_aligned() -> None:
    lines = [("", "CIDEr", "facts"), ("L-STAP", "8.1", "100.0"), ("LRCN", "12.3", "-")]
    assert text_table(lines) == "        CIDEr  facts\nL-STAP    8.1  100.0\nLRCN     12.3      -"
    assert text_table([("a", "bb", "c"), ("aaa", "b", "c")], "left") == "a    bb  c\naaa  b   c"


def test_a_wide_table_is_not_wrapped_and_markup_is_text() -> None:
    wide = "[bold]wide[/bold] :smile: " * 20
    assert text_table([("a", wide + "|"), ("b", "|")], "left") == f"a  {wide}|\nb  |"


def test_no_lines() -> None:
    assert text_table([]) == ""
