"""Options that stand for settings of a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from stap.commands.shared.options import with_seed, with_weights
from stap.recipes.files import load_recipe


@pytest.mark.parametrize("run", ["runs/words", "a: b/#1 [x]", "été", "1e-4"])
def test_from_names_the_initial_weights(run: str) -> None:
    overrides = with_weights(["training.epochs=2"], Path(run))
    training = load_recipe("msrvtt/features", overrides).training
    assert (training.initial_weights, training.epochs) == (Path(run), 2)
    assert load_recipe("msrvtt/features", with_weights(None, None)).training.initial_weights is None


def test_the_option_of_the_seed_wins() -> None:
    assert load_recipe("msrvtt/features", with_seed(["seed=3"], 4)).seed == 4
