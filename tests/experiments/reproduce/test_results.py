"""The table: means and deviations by hand, published numbers as printed, links to each seed's folder, captions and recipe."""

from __future__ import annotations

import json
import re
from pathlib import Path

from stap.commands.shared.reads_and_writes import TABLES
from stap.experiments.reproduce.results import Reproduction, RowResult, published_rows, write_tables
from stap.experiments.reproduce.rows import METRICS
from stap.experiments.reproduce.runs import Outcome
from stap.experiments.reproduce.tables import rows_named


def outcome(seed: int, value: float) -> Outcome:
    return Outcome(seed, dict.fromkeys(METRICS, value), {"train": 4, "validation": 0, "test": 3}, 2, 1, 100, 1.0)


[LSTAP, STAT] = rows_named("msvd", "lstap-attention,stat")
DONE = RowResult(LSTAP, "msvd/lstap-attention", (outcome(1, 0.50), outcome(2, 0.56)), ("rows/a/seed-1", "rows/a/seed-2"))
FAILED = RowResult(STAT, "msvd/stat", errors=("no <weights>.",))
FOUND = Reproduction("msvd", (DONE, FAILED), ("3 clips <are> missing.",), {"Seeds": "1, 2"})


HOSTILE = '<img src=x onerror="a()"> | a\n\x1b[31m\udce9'


def test_html_and_cells_of_strangers_stay_text(tmp_path: Path) -> None:
    row = RowResult(LSTAP, HOSTILE, (outcome(1, 0.5),), ("rows/a|b/seed-1",), errors=(HOSTILE,))
    write_tables(tmp_path, Reproduction("msvd", (row,), (HOSTILE,), {HOSTILE: HOSTILE}))
    table = (tmp_path / "table.md").read_text()
    assert "<img" not in table
    assert "\x1b" not in table
    assert "rows/a\\|b/seed-1" in table
    for file in ("table.md", "table.html"):
        assert [tag for tag in re.findall(r"<(\w+)", (tmp_path / file).read_text()) if tag == "img"] == []


def test_mean_and_the_sample_s_deviation() -> None:
    assert DONE.mean("CIDEr") == 0.53
    assert abs((DONE.deviation("CIDEr") or 0) - 0.06 / 2**0.5) < 1e-12
    one = RowResult(LSTAP, "msvd/lstap-attention", (outcome(1, 0.5),), ("f",))
    assert (one.mean("CIDEr"), one.deviation("CIDEr")) == (0.5, None)
    assert (FAILED.mean("CIDEr"), FAILED.deviation("CIDEr")) == (None, None)
    assert not FOUND.is_complete


def test_markdown_has_the_published_line_under_ours_and_links() -> None:
    lines = FOUND.to_markdown().splitlines()
    place = next(k for k, line in enumerate(lines) if line.startswith("| L-STAP, attention |"))
    assert lines[place].startswith("| L-STAP, attention | 53.0 ± 4.2 | 53.0 ± 4.2 | ")
    assert "[captions](rows/a/seed-2/captions.json) [recipe](rows/a/seed-2/recipe.yaml)" in lines[place]
    assert lines[place + 1] == (
        "| *published* | *84.0* | *74.1* | *64.5* | *55.1* | *35.4* | *72.7* | *86.7* |  |  |  |  | *Francis & Huet 2019 (L-STAP), Table 1* |"
    )
    assert "**3 clips &lt;are&gt; missing.**" in lines
    assert "- STAT, released code: not finished. no &lt;weights&gt;." in lines


def test_the_page_says_the_same_and_escapes_it() -> None:
    page = FOUND.to_html()
    assert page.count("53.0 ± 4.2") == len(METRICS)
    assert {"rows/a/seed-1/captions.json", "rows/a/seed-2/recipe.yaml", "rows/a/seed-1/report.html"} <= set(
        re.findall(r'href="([^"]+)"', page)
    )
    assert "3 clips &lt;are&gt; missing." in page
    assert "no &lt;weights&gt;." in page


def test_the_files(tmp_path: Path) -> None:
    write_tables(tmp_path, FOUND)
    assert (tmp_path / "table.md").read_text() == FOUND.to_markdown()
    assert (tmp_path / "table.html").read_text() == FOUND.to_html()
    [lstap, stat] = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert (lstap["mean"]["METEOR"], lstap["published"][0]["values"]["METEOR"]) == (0.53, 35.4)
    assert (stat["errors"], stat["mean"]["METEOR"]) == (["no <weights>."], None)


def test_the_files_may_be_replaced_and_so_may_those_of_an_earlier_stap(tmp_path: Path) -> None:
    write_tables(tmp_path, FOUND)
    page = tmp_path / "table.html"
    assert all(kind.is_in(tmp_path / name) for name, kind in TABLES.items())
    page.write_text(page.read_text().replace('<meta name="generator" content="stap">', ""))
    assert TABLES["table.html"].is_in(page)
    page.write_text("<!doctype html><title>my results</title>")
    assert not TABLES["table.html"].is_in(page)


def test_the_text_has_a_line_per_row_and_one_for_each_source() -> None:
    lines = str(FOUND).splitlines()
    assert lines[0].split() == list(METRICS)
    assert lines[2].split()[-7:] == ["84.0", "74.1", "64.5", "55.1", "35.4", "72.7", "86.7"]
    assert lines[-1] == "stat: no <weights>."


def test_rows_for_the_page_of_a_run_are_fractions() -> None:
    [row] = published_rows(LSTAP, "msvd")
    assert row.is_published
    assert dict(zip(METRICS, row.values, strict=True))["BLEU-4"] == 0.551
    assert published_rows(STAT, "msvd") == ()
