"""The rows and their published numbers: each number is one of those that were read in a source, and each row has its recipe."""

from __future__ import annotations

import pytest

from stap.errors import ConfigError
from stap.experiments.reproduce.papers import OTHERS, ROWS
from stap.experiments.reproduce.rows import METRICS, CorpusName
from stap.experiments.reproduce.tables import TABLES, rows_named
from stap.recipes.files import built_in_recipes

CORPORA: tuple[CorpusName, ...] = ("msvd", "msrvtt")
# As printed: BLEU-1 to 4, METEOR, ROUGE-L, CIDEr.
PRINTED = {
    ("msvd", "lstap-attention"): [("84.0", "74.1", "64.5", "55.1", "35.4", "72.7", "86.7")],
    ("msvd", "stat-mm17"): [(None, None, None, "51.1", None, None, None)],
    ("msrvtt", "stat-mm17"): [(None, None, None, "37.4", None, None, None), (None, None, None, None, "26.6", None, "41.5")],
}
# The abstract: 10.1 % and 0.8 % over the method without local features, 18.3 % and 9.0 % over temporal attention alone.
GAINS = {("msvd", "stat-without-local"): (51.1, 0.101), ("msrvtt", "stat-without-local"): (37.4, 0.008),
         ("msvd", "stat-temporal-only"): (51.1, 0.183), ("msrvtt", "stat-temporal-only"): (37.4, 0.090)}  # fmt: skip


def test_every_row_has_a_recipe_for_both_corpora_and_every_recipe_a_row() -> None:
    own_features = {"msrvtt/features"}  # of no paper, for precomputed features
    recipes = {name for name in built_in_recipes() if name.split("/")[0] in CORPORA} - own_features
    assert {f"{corpus}/{row.key}" for corpus in CORPORA for row in ROWS} == recipes


def test_the_numbers_are_those_that_were_read() -> None:
    found = {(corpus, row.key): row.numbers(corpus) for corpus in CORPORA for row in ROWS if row.numbers(corpus)}
    assert found.keys() == PRINTED.keys() | GAINS.keys()
    for place, lines in PRINTED.items():
        expected = [{m: float(v) for m, v in zip(METRICS, line, strict=True) if v is not None} for line in lines]
        assert [dict(numbers.values) for numbers in found[place]] == expected
    for place, (full, gain) in GAINS.items():
        [numbers] = found[place]
        assert dict(numbers.values) == {"BLEU-4": round(full / (1 + gain), 1)}
        assert numbers.source.startswith("computed from the relative gains in Tu et al. 2017 (STAT), abstract: about ")


def test_every_number_names_its_source_and_a_known_metric() -> None:
    every = [numbers for corpus in CORPORA for row in ROWS for numbers in row.numbers(corpus)]
    every += [numbers for corpus in CORPORA for _, numbers in OTHERS[corpus]]
    assert all(numbers.source and numbers.values.keys() <= set(METRICS) for numbers in every)


def test_rows_are_chosen_by_name_pattern_and_group() -> None:
    assert [row.key for row in rows_named("msvd", "stat, lrcn")] == ["lrcn", "stat"]
    assert [row.key for row in rows_named("msvd", "lrcn*,lstap-mean")] == ["lrcn", "lrcn-matching", "lstap-mean"]
    assert rows_named("msvd", "papers") == TABLES["msvd"].selections["papers"] == rows_named("msvd")
    assert rows_named("msvd", "papers,modern") == rows_named("msvd", "all") == ROWS


@pytest.mark.parametrize(("names", "begins"), [
    ("lrcn,lstap-atention", "lstap-atention: no such row. Did you mean lstap-attention? Choose among papers, modern, all, lrcn, "),
    ("xyz*", "xyz*: no such row. Choose among papers, "),
    ("", "'': no such row. Choose among papers, "),
])  # fmt: skip
def test_an_unknown_row_gets_the_nearest(names: str, begins: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rows_named("msvd", names)
    assert str(caught.value).startswith(begins)
    assert str(caught.value).endswith("with commas between them; * stands for anything.")
