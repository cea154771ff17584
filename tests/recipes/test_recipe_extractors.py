"""Every built-in recipe names features that can be made: its networks are built without their numbers, on the meta device."""

from __future__ import annotations

import json
from functools import cache

import pytest
import timm
import torch
from timm.data.config import resolve_model_data_config
from torchvision.models.detection import faster_rcnn

from stap.features.backbone import GridLayout, build_backbone, find_layout, own_preprocessing
from stap.recipes.files import built_in_recipes, load_recipe

# Patches a side, features, and prefix tokens (class, and registers) of the modern rows.
MODERN = {"dinov2": (16, 768, 5), "dinov3": (16, 768, 5), "siglip2": (16, 768, 0), "clip": (14, 768, 1)}
# The same architectures, small, with weights: what the meta device cannot show.
SMALL = {
    "vit_small_patch14_reg4_dinov2": (56, 4, 5),
    "vit_small_patch14_dinov2": (56, 4, 1),
    "vit_small_patch16_dinov3": (64, 4, 5),
    "vit_base_patch16_siglip_256": (64, 4, 0),
    "vit_base_patch16_clip_224": (64, 4, 1),
}


@cache
def layout_of(backbone: str, options: str, image_size: int | None) -> GridLayout:
    with torch.device("meta"):
        network = build_backbone(backbone, json.loads(options), weights="random", image_size=image_size)
        return find_layout(network, image_size or 224, name=backbone)


@pytest.mark.parametrize("name", built_in_recipes())
def test_the_networks_of_a_recipe_can_be_built(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    features = recipe.features
    if recipe.regions is not None:
        assert callable(getattr(faster_rcnn, recipe.regions.detector))
    if features.backbone is None:
        assert name.endswith("/stat-local-only")
        return
    layout = layout_of(features.backbone, json.dumps(features.backbone_options), features.image_size)
    row = name.rpartition("-")[2]
    if row in MODERN:
        side, size, prefix = MODERN[row]
        assert (layout.order, layout.height, layout.width) == ("tokens", side, side)
        assert (layout.feature_size, layout.prefix_tokens) == (size, prefix)
    elif features.backbone.startswith("resnet152"):
        assert (layout.order, layout.height, layout.width, layout.feature_size) == ("NCHW", 7, 7, 2048)
    elif features.backbone == "googlenet":
        assert (layout.order, layout.height, layout.width, layout.feature_size) == ("NCHW", 7, 7, 1024)


@pytest.mark.parametrize("corpus", ["msvd", "msrvtt"])
@pytest.mark.parametrize("row", MODERN)
def test_a_modern_row_differs_from_the_paper_s_in_its_features_alone(corpus: str, row: str) -> None:
    ours, theirs = load_recipe(f"{corpus}/lstap-{row}"), load_recipe(f"{corpus}/lstap-attention")
    assert (ours.text, ours.model, ours.training, ours.decoding) == (
        theirs.text,
        theirs.model.model_copy(update={"motion_size": None}),
        theirs.training,
        theirs.decoding,
    )
    stat, released = load_recipe(f"{corpus}/stat-{row}"), load_recipe(f"{corpus}/stat")
    assert stat.features == ours.features  # extracted once for both
    assert (stat.text, stat.training, stat.decoding) == (released.text, released.training, released.decoding)
    changed = {"global_from": "grid", "motion_from": None, "local_from": "grid", "project_global": True}
    assert stat.model == released.model.model_copy(update={"stat": released.model.stat.model_copy(update=changed)})
    assert (ours.motion, ours.regions, stat.motion, stat.regions) == (None, None, None, None)


@pytest.mark.parametrize("row", MODERN)
def test_the_preprocessing_of_a_modern_row_is_its_network_s_own(row: str) -> None:
    """Mean and deviation are left to the network; its published ones, by its authors' own code."""
    features = load_recipe(f"msvd/lstap-{row}").features
    assert (features.mean, features.std, features.crop, features.weights) == (None, None, 1.0, "pretrained")
    assert features.backbone in timm.list_pretrained()
    with torch.device("meta"):
        own = own_preprocessing(timm.create_model(features.backbone, pretrained=False))
    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    clip = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    expected = {"dinov2": imagenet, "dinov3": imagenet, "siglip2": ((0.5,) * 3, (0.5,) * 3), "clip": clip}
    assert (own.mean, own.std) == expected[row]


@pytest.mark.parametrize("name", SMALL)
def test_class_and_register_tokens_are_no_places(name: str) -> None:
    """Only the first tokens may be left out: a change in one corner of the picture moves its own patch's token before any block."""
    size, side, prefix = SMALL[name]
    network = build_backbone(name, {"depth": 0, "embed_dim": 96, "num_heads": 3}, weights="random", image_size=size)
    layout = find_layout(network, size, name=name)
    assert (layout.height, layout.width, layout.prefix_tokens) == (side, side, prefix)
    patch = size // side
    image = torch.zeros(1, 3, size, size)
    with torch.inference_mode():
        before = layout.grid(network.forward_features(image))
        image[:, :, 2 * patch : 3 * patch, :patch] = torch.rand(3, patch, patch)  # row 2, column 0
        moved = (layout.grid(network.forward_features(image)) != before).any(2)[0]
    assert moved.nonzero().flatten().tolist() == [2 * side]


def test_the_recipe_of_vse() -> None:
    """train.py's defaults, which the authors' README leaves as they are for VSE++ (but for --max_violation)."""
    recipe = load_recipe("vsepp/coco-resnet152")
    pretraining = recipe.pretraining
    assert (pretraining.margin, pretraining.batch_size, pretraining.embedding_size, pretraining.joint_size) == (
        0.2,
        128,
        300,
        1024,
    )
    assert (pretraining.clip_norm, pretraining.optimizer.kind, pretraining.optimizer.learning_rate) == (2, "adam", 2e-4)
    assert (pretraining.rate_falls_after, pretraining.frozen_epochs, pretraining.epochs, pretraining.hardest_after) == (
        15,
        30,
        45,
        0,
    )
    assert (pretraining.random_crops, pretraining.frames_per_video, recipe.text.min_count) == (True, 1, 4)
    assert recipe.features.backbone == "resnet152.tv_in1k"
    with torch.device("meta"):
        own = resolve_model_data_config(timm.create_model(recipe.features.backbone, pretrained=False))
    assert (own["crop_pct"], own["mean"]) == (0.875, (0.485, 0.456, 0.406))
    assert (recipe.features.image_size, recipe.features.crop) == (224, 0.875)
