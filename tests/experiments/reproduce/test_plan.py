"""The plan: what would run, and what is missing and where to get it. Nothing is written, fetched or trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

from stap.experiments.reproduce.plan import make_plan
from stap.experiments.reproduce.request import Request
from stap.experiments.reproduce.tables import rows_named
from stap.scenes import SceneDials, write_scenes
from stap.scenes.msvd_layout import write_msvd_layout


@pytest.fixture
def request_with_a_grid(tmp_path: Path) -> Request:
    """LRCN on five scenes in MSVD's layout, one of whose videos is missing, and on a very small backbone."""
    corpus = write_scenes(tmp_path / "scenes", videos=5, seed=1, dials=SceneDials(seconds=1.0, pixels=48), workers=1)
    write_msvd_layout(corpus, tmp_path / "scenes").clips[1].path.unlink()
    weights = tmp_path / "grid.safetensors"
    safetensors.torch.save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), weights)
    return Request(
        "msvd", tmp_path / "out", rows_named("msvd", "lrcn"), {"root": tmp_path / "scenes"}, {"test_resnet": weights},
        ("features.backbone=test_resnet", "features.image_size=32"),
    )  # fmt: skip


def test_a_plan_with_muon(request_with_a_grid: Request) -> None:
    """It was a KeyError of the estimates, which knew four of the five optimisers."""
    overrides = (*request_with_a_grid.overrides, "motion=null", "training.optimizer.kind=muon")
    plan = make_plan(replace(request_with_a_grid, overrides=overrides))
    assert [row.row.key for row in plan.rows] == ["lrcn"]


def test_a_plan_names_what_is_missing(request_with_a_grid: Request, tmp_path: Path) -> None:
    plan = make_plan(request_with_a_grid)
    videos, motion = plan.missing
    assert videos.startswith(f"videos: 1 of 5 are missing in {tmp_path / 'scenes/YouTubeClips'}. MSVD is ")
    assert motion.startswith(
        "motion, i3d: motion.weights is 'pretrained', and no weights of i3d can be fetched. Fetch both files of "
    )
    text = str(plan)
    assert text.startswith(f"MSVD: 5 of 5 clips would be used, in {tmp_path / 'out'}\n")
    assert "Missing:" in text
    assert not (tmp_path / "out").exists()


def test_damaged_weights_are_missing(request_with_a_grid: Request, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"roi_heads.box_predictor.cls_score.bias": torch.zeros(91)}, other)
    overrides = (*request_with_a_grid.overrides, "motion=null")
    plan = make_plan(replace(request_with_a_grid, overrides=overrides, weights={"test_resnet": other}))
    assert plan.networks[0].weights == "cannot be used"
    assert plan.missing[-1].startswith(f"features, test_resnet: {other}: ")


def test_without_the_corpus_the_published_counts_stand(request_with_a_grid: Request, tmp_path: Path) -> None:
    overrides = (*request_with_a_grid.overrides, "motion=null")
    plan = make_plan(replace(request_with_a_grid, overrides=overrides, place={"root": tmp_path / "nowhere"}))
    assert (plan.corpus.clips, plan.corpus.in_all) == (1970, 1970)
    [captions] = plan.missing
    assert captions.startswith(f"captions: {tmp_path / 'nowhere'}: no such folder.")
