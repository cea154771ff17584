"""From what was asked to the recipes: which settings reach which rows, and which are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raising import error_of
from stap.errors import ConfigError
from stap.experiments.reproduce.request import Request, motion_start
from stap.experiments.reproduce.tables import rows_named


def request(rows: str, **more: Any) -> Request:
    return Request("msvd", Path("out"), rows_named("msvd", rows), **more)


def test_a_setting_reaches_the_rows_that_have_its_section() -> None:
    recipes = request("stat,stat-temporal-only,lrcn", overrides=("regions.frames=3", "training.epochs=2")).recipes()
    assert recipes["stat"].regions is not None
    assert recipes["stat"].regions.frames == 3
    assert (recipes["lrcn"].regions, recipes["stat-temporal-only"].regions) == (None, None)
    assert {recipe.training.epochs for recipe in recipes.values()} == {2}


def test_a_setting_for_no_row_is_refused() -> None:
    assert error_of(ConfigError, request("lrcn", overrides=("regions.frames=3",)).recipes) == (
        "regions.frames=3: none of the rows has a section regions. Leave it out, or choose other rows."
    )


def test_a_backbone_is_for_the_rows_that_have_one() -> None:
    override = "features.backbone=resnet50"
    recipes = request("stat,stat-local-only", overrides=(override,)).recipes()
    assert (recipes["stat"].features.backbone, recipes["stat-local-only"].features.backbone) == ("resnet50", None)
    assert (
        error_of(ConfigError, request("stat-local-only", overrides=(override,)).recipes)
        == f"{override}: none of the rows has a backbone. Leave it out, or choose other rows."
    )
    with pytest.raises(ConfigError, match=r"The rows use fasterrcnn_resnet50_fpn\.$"):
        request("stat-local-only", weights={"googlenet": Path("x")}).recipes()


def test_weights_go_to_their_network_alone() -> None:
    recipes = request("lrcn,stat", weights={"i3d": Path("a.pt"), "resnet152": Path("b.pth")}).recipes()
    lrcn, stat = recipes["lrcn"], recipes["stat"]
    assert lrcn.motion is not None
    assert stat.motion is not None
    assert (lrcn.motion.weights, lrcn.features.weights) == ("a.pt", "b.pth")
    assert (stat.motion.weights, stat.features.weights) == ("pretrained", "pretrained")


def test_weights_of_a_network_that_no_row_uses_are_refused() -> None:
    assert error_of(ConfigError, request("lrcn", weights={"resnet15": Path("x")}).recipes) == (
        "--weights resnet15: no row uses this network. Did you mean resnet152? The rows use i3d, resnet152."
    )


def test_the_place_of_corpus_and_store() -> None:
    recipe = request("lrcn", place={"root": Path("data")}, seeds=(4, 5)).recipes()["lrcn"]
    assert (recipe.corpus.root, recipe.corpus.available_only, recipe.features.store) == (
        Path("data"),
        True,
        Path("out/features"),
    )
    assert (recipe.seed, recipe.name) == (4, "msvd/lrcn")
    assert request("lrcn", overrides=("features.store=big",)).recipes()["lrcn"].features.store == Path("big")


def test_the_start_state_is_made_of_the_clip_s_motion_vector() -> None:
    recipes = request("lstap-attention,stat,lstap-clip").recipes()
    started = {key: motion_start(recipe, {"motion": 600}).model.motion_size for key, recipe in recipes.items()}
    assert started == {
        "lstap-attention": 600,
        "stat": None,
        "lstap-clip": None,
    }  # STAT's motion is a sequence; CLIP's row has none
    without = request("lstap-attention", overrides=("motion=null",)).recipes()["lstap-attention"]
    assert motion_start(without, {}).model.motion_size is None
