"""The built-in recipes: the rows of the paper's tables with the paper's settings, and the demo's."""

from __future__ import annotations

import pytest

from stap.config import Recipe, built_in_recipes, load_recipe

ROWS = {
    "lrcn": ("lrcn", "attention", 0.0),  # pooling means nothing to LRCN
    "lrcn-matching": ("lrcn", "attention", 0.4),
    "lstap-mean": ("lstap", "mean", 0.4),
    "lstap-attention": ("lstap", "attention", 0.4),
}


def test_which_there_are() -> None:
    rows = [f"{corpus}/{row}" for corpus in ("msvd", "msrvtt") for row in ROWS]
    assert sorted(built_in_recipes()) == sorted(["demo/quick", "demo/full", *rows])


@pytest.mark.parametrize("corpus", ["msvd", "msrvtt"])
@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_paper(corpus: str, row: str) -> None:
    """Sections 4.1 and 4.2: everything but the model's kind, pooling and loss is the same in all rows."""
    recipe = load_recipe(f"{corpus}/{row}")
    assert recipe.corpus.kind == corpus
    assert (recipe.model.kind, recipe.model.pooling, recipe.model.matching_weight) == ROWS[row]
    assert recipe.text.vocabulary_size == (15_000 if corpus == "msrvtt" else None)
    assert (recipe.text.max_words, recipe.features.backbone, recipe.features.frames) == (30, "resnet152", 30)
    model, training = recipe.model, recipe.training
    assert (model.hidden_size, model.attention_size, model.embedding_size, model.motion_size) == (1024, 256, 300, None)
    optimizer = training.optimizer
    assert (optimizer.kind, optimizer.learning_rate, optimizer.decay) == ("rmsprop", 1e-4, 0.9)
    assert (optimizer.momentum, optimizer.epsilon) == (0, 1e-10)
    assert (training.batch_size, training.captions_per_video, training.clip_norm) == (64, 1, 5.0)
    assert recipe.training == Recipe().training
    assert "motion features are not extracted yet" in recipe.description


def test_the_demo_s_recipes_train_the_same_networks() -> None:
    quick, full = load_recipe("demo/quick"), load_recipe("demo/full")
    assert (quick.features, quick.decoding) == (full.features, full.decoding)
    assert quick.pretraining.optimizer.kind == full.pretraining.optimizer.kind
