"""The built-in recipes: the rows of the papers' tables with the papers' settings, and the demo's."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stap.features.extractor import sections_to_extract
from stap.recipes.files import built_in_recipes, load_recipe
from stap.recipes.settings import DecodingSettings, Recipe, STATSettings

ROWS = {
    "lrcn": ("lrcn", "attention", 0.0),  # pooling means nothing to LRCN
    "lrcn-matching": ("lrcn", "attention", 0.4),
    "lstap-mean": ("lstap", "mean", 0.4),
    "lstap-attention": ("lstap", "attention", 0.4),
}
STAT_ROWS: dict[
    str, tuple[str, set[str], dict[str, Any]]
] = {  # kind, the streams beside the frames, and what differs from the released code
    "stat": ("stat", {"motion", "regions"}, {}),
    "stat-mm17": ("stat-mm17", {"motion", "regions"}, {}),
    "stat-temporal-only": ("stat", set(), {"motion_from": None, "local_from": None}),
    "stat-without-local": ("stat", {"motion"}, {"local_from": None}),
    "stat-averaged-regions": ("stat", {"motion", "regions"}, {"local_pooling": "mean"}),
    "stat-spatial-only": ("stat", {"motion", "regions"}, {"temporal_pooling": "mean"}),
    "stat-local-only": ("stat", {"regions"}, {"global_from": None, "motion_from": None}),
}


MODERN_ROWS = [f"{model}-{backbone}" for model in ("lstap", "stat") for backbone in ("dinov2", "dinov3", "siglip2", "clip")]


def test_which_there_are() -> None:
    rows = [f"{corpus}/{row}" for corpus in ("msvd", "msrvtt") for row in (*ROWS, *STAT_ROWS, "lstap-stat", *MODERN_ROWS)]
    assert sorted(built_in_recipes()) == sorted(
        ["demo/quick", "demo/full", "distil/student", "msrvtt/features", "vsepp/coco-resnet152", *rows]
    )


def test_precomputed_features_need_two_paths_and_no_more() -> None:
    recipe = load_recipe("msrvtt/features", ["corpus.root=msrvtt", "features.imported.grid=imported"])
    assert sections_to_extract(recipe) == ()
    assert (recipe.corpus.kind, recipe.model.matching_weight, recipe.model.output_bias) == ("msrvtt", 0, "frequency")
    cider = load_recipe("msrvtt/features", ["training.objective=cider"])
    assert cider.training.optimizer_of_objective.model_dump() == recipe.training.cider.optimizer.model_dump()
    assert (cider.training.optimizer_of_objective.kind, cider.training.optimizer_of_objective.learning_rate) == ("adam", 5e-5)
    assert recipe.training.optimizer_of_objective.kind == "muon"


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
    assert (optimizer.kind, optimizer.learning_rate, optimizer.decay, optimizer.epsilon) == ("rmsprop", 1e-4, 0.9, 1e-10)
    assert (training.batch_size, training.captions_per_video, training.clip_norm) == (64, 1, 5.0)
    assert recipe.training == Recipe().training
    assert "The start state is learned" in recipe.description


@pytest.mark.parametrize("corpus", ["msvd", "msrvtt"])
@pytest.mark.parametrize("row", STAT_ROWS)
def test_a_row_of_stat(corpus: str, row: str) -> None:
    """config.py of the released code; the ablations differ in what is watched alone."""
    recipe = load_recipe(f"{corpus}/{row}")
    kind, streams, differences = STAT_ROWS[row]
    assert (recipe.name, recipe.corpus.kind, recipe.model.kind) == (f"{corpus}/{row}", corpus, kind)
    assert recipe.model.stat == STATSettings(**differences)
    assert (recipe.model.stat.positions, recipe.model.attention_penalty, recipe.model.penalty_captions) == (
        28,
        0.70602,
        32,
    )
    model, text, training = recipe.model, recipe.text, recipe.training
    assert (model.hidden_size, model.attention_size, model.embedding_size, model.dropout) == (1024, 1024, 512, 0.5)
    backbone = None if recipe.model.stat.global_from is None else "googlenet"
    assert (recipe.features.backbone, recipe.features.pooled) == (backbone, True)
    assert {name for name in ("motion", "regions") if getattr(recipe, name) is not None} == streams
    if recipe.motion is not None:
        assert (recipe.motion.network, recipe.motion.layer, recipe.motion.per) == ("c3d", "fc6", "clip")
    if recipe.regions is not None:
        assert (recipe.regions.frames, recipe.regions.regions) == (28, 8)
    optimizer = training.optimizer
    assert (optimizer.kind, optimizer.learning_rate, optimizer.decay, optimizer.epsilon) == ("adadelta", 1, 0.95, 1e-6)
    assert (optimizer.weight_decay, optimizer.schedule, optimizer.warmup_steps) == (0, "constant", 0)
    assert (training.clip_norm, training.l2, training.batch_size, training.captions_per_video) == (10, 1e-4, 32, 1)
    assert (training.best_by, training.patience, training.epoch_updates, training.reshuffle) == (
        "log-likelihood",
        21,
        2000,
        False,
    )
    captions = {"msvd": 48_780, "msrvtt": 6_513 * 20}[corpus]
    assert training.epochs == 500 * math.ceil(captions / 32) // 2000
    assert (text.tokenizer, text.max_words, text.too_long) == ("ptb", 29, "drop")
    assert text.vocabulary_size == (20_000 - 2 if corpus == "msrvtt" else None)
    decoding = DecodingSettings(beam_width=5, max_words=50, shrinking_beam=True)
    assert recipe.decoding == decoding


@pytest.mark.parametrize("corpus", ["msvd", "msrvtt"])
def test_stat_over_l_stap_is_trained_as_l_stap(corpus: str) -> None:
    ours, theirs = load_recipe(f"{corpus}/lstap-stat"), load_recipe(f"{corpus}/lstap-attention")
    assert ours.model.kind == "lstap-stat"
    assert ours.model_copy(update={"model": theirs.model, "name": "", "description": ""}) == theirs.model_copy(
        update={"name": "", "description": ""}
    )
    assert ours.model.attention_penalty == 0.70602
    assert ours.model.model_copy(update={"kind": "lstap", "attention_penalty": 0.0}) == theirs.model


def test_the_demo_s_recipes_train_the_same_networks() -> None:
    quick, full = load_recipe("demo/quick"), load_recipe("demo/full")
    assert (quick.features, quick.decoding) == (full.features, full.decoding)
    assert quick.pretraining.optimizer.kind == full.pretraining.optimizer.kind
