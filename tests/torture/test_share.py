"""A share of each part of the torture suite; `make torture` does the whole."""

import importlib
from pathlib import Path

import pytest
from tests.torture import PARTS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", PARTS)
def test_a_share_holds_every_promise(name: str, tmp_path: Path) -> None:
    outcome = importlib.import_module(f"tests.torture.{name}").run(tmp_path, PARTS[name], 0)
    assert outcome.counts.total() > 0
    assert outcome.failures == []
