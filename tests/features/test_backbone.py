from __future__ import annotations

import socket

import huggingface_hub
import pytest
import timm
import torch

import stap.features.pretrained
from raising import error_of
from stap.errors import CheckpointError, ConfigError, FeatureError
from stap.features.backbone import build_backbone, find_layout, last_map, own_preprocessing

SMALL_SWIN = {"embed_dim": 24, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}
BACKBONES = [  # name, options, image size, order, (height, width), features, prefix tokens
    ("test_resnet", {}, 64, "NCHW", (2, 2), 96, 0),
    ("test_mambaout", {}, 96, "NHWC", (3, 3), 64, 0),
    ("swin_tiny_patch4_window7_224", SMALL_SWIN, 224, "NHWC", (7, 7), 192, 0),
    ("swin_tiny_patch4_window7_224", SMALL_SWIN, 96, "NHWC", (3, 3), 192, 0),
    ("test_vit", {}, 160, "tokens", (10, 10), 64, 1),
    ("vit_tiny_patch16_224", {"depth": 1, "embed_dim": 24}, 96, "tokens", (6, 6), 24, 1),
    ("vit_tiny_patch16_224", {"depth": 1, "embed_dim": 24, "reg_tokens": 4}, 224, "tokens", (14, 14), 24, 5),
    ("vit_tiny_r_s16_p8_224", {"depth": 1}, 64, "tokens", (2, 2), 192, 1),
    ("gmixer_12_224", {}, 96, "tokens", (6, 6), 384, 0),
]


@pytest.mark.parametrize(("name", "options", "size", "order", "grid", "features", "prefix"), BACKBONES)
def test_the_grid_of_every_layout(
    name: str, options: dict[str, object], size: int, order: str, grid: tuple[int, int], features: int, prefix: int
) -> None:
    network = build_backbone(name, options, weights="random", image_size=size)
    layout = find_layout(network, size, name=name)
    assert (layout.order, layout.height, layout.width, layout.feature_size, layout.prefix_tokens) == (
        order,
        *grid,
        features,
        prefix,
    )
    with torch.inference_mode():
        last = last_map(network, torch.rand(2, 3, size, size))
    found = layout.grid(last)
    assert found.shape == (2, grid[0] * grid[1], features)
    for row in range(grid[0]):
        for column in range(grid[1]):
            place = row * grid[1] + column
            expected = {"NCHW": lambda: last[:, :, row, column], "NHWC": lambda: last[:, row, column]}.get(  # noqa: B023
                order,
                lambda: last[:, prefix + place],  # noqa: B023
            )()
            assert torch.equal(found[:, place], expected)


def test_locations_run_from_the_top_left_row_by_row() -> None:
    """A bright patch moves only the feature of the place where it is, in a network whose patches do not meet."""
    options = {"depth": 0, "embed_dim": 24}
    network = build_backbone("vit_tiny_patch16_224", options, weights="random", image_size=64)
    layout = find_layout(network, 64, name="vit")
    image = torch.zeros(1, 3, 64, 64)
    with torch.inference_mode():
        before = layout.grid(last_map(network, image))
        image[:, :, 16:32, 48:64] = 1  # row 1, column 3 of 4x4
        changed = (layout.grid(last_map(network, image)) != before).any(2)[0]
    assert changed.nonzero().flatten().tolist() == [1 * 4 + 3]


@pytest.mark.parametrize(
    ("name", "shown", "features"),
    [("pit_ti_224", "shape [1, 1, 256]", 256), ("coat_tiny", "type list", 152), ("volo_d1_224", "shape [1, 197, 384]", 384)],
)
@pytest.mark.slow
def test_what_is_no_grid_is_refused(name: str, shown: str, features: int) -> None:
    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False, num_classes=0).eval()
    assert error_of(FeatureError, find_layout, network, 224, name=name) == (
        f"{name}: its last map has {shown}, where a grid of {features} features per location was expected: [1, {features}, h, w], "
        f"[1, h, w, {features}] or [1, prefix tokens + h*h, {features}]. Choose another backbone."
    )


def test_an_unknown_backbone_and_tag_name_the_nearest() -> None:
    assert error_of(ConfigError, build_backbone, "resnet5O", weights="random").startswith(
        "features.backbone: timm has no model 'resnet5O'; nearest: resnet50, "
    )
    assert error_of(ConfigError, build_backbone, "resnet50.a1_in1l", weights="random").startswith(
        "features.backbone: timm has no weights 'a1_in1l' of resnet50; nearest: a1_in1k, "
    )


def test_options_that_the_network_does_not_take() -> None:
    assert error_of(ConfigError, build_backbone, "test_resnet", {"padtype": "same"}, weights="random") == (
        "features.backbone_options: test_resnet does not take {'padtype': 'same'} "
        "(ResNet.__init__() got an unexpected keyword argument 'padtype'). See timm's page of this model."
    )


@pytest.mark.parametrize("option", ["checkpoint_path", "pretrained_cfg_overlay", "num_classes"])
def test_options_that_would_load_files_or_change_the_contract(option: str) -> None:
    assert error_of(ConfigError, build_backbone, "test_resnet", {option: "x"}, weights="random") == (
        f"features.backbone_options: {option} cannot be given here. The weights are named by features.weights, "
        "and a backbone always has three channels and no classifier."
    )


def test_a_size_that_the_network_cannot_take() -> None:
    network = build_backbone("levit_128s", weights="random")
    with pytest.raises(ConfigError) as caught:
        find_layout(network, 100, name="levit_128s")
    assert str(caught.value).startswith("levit_128s cannot take images of 100x100 (")
    assert str(caught.value).endswith("). Set features.image_size to another size; its own is 224.")


def test_own_preprocessing_is_timms() -> None:
    own = own_preprocessing(build_backbone("vit_tiny_patch16_224", {"depth": 1}, weights="random"))
    assert (own.image_size, own.crop, own.mean, own.std) == (224, 0.9, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(stap.features.pretrained, "getproxies", dict)


@pytest.mark.usefixtures("empty_cache")
def test_pretrained_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("would try for a minute"))
    assert error_of(CheckpointError, build_backbone, "test_resnet") == (
        "test_resnet: its pretrained weights could not be fetched from the Hugging Face Hub (huggingface.co cannot be reached: "
        "Name or service not known). Connect this machine once, or give a file: "
        "features.weights=/path/to/weights.safetensors (or .pth)."
    )


@pytest.mark.usefixtures("empty_cache")
def test_pretrained_when_the_hub_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise ConnectionError("503 from the\nHub.")

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])
    monkeypatch.setattr(timm, "create_model", failing)
    assert error_of(CheckpointError, build_backbone, "test_resnet") == (
        "test_resnet: its pretrained weights could not be fetched from the Hugging Face Hub (503 from the Hub). Connect this "
        "machine once, or give a file: features.weights=/path/to/weights.safetensors (or .pth)."
    )


def test_pretrained_where_timm_has_none() -> None:
    assert error_of(CheckpointError, build_backbone, "samvit_base_patch16_224") == (
        "samvit_base_patch16_224: timm has no pretrained weights of it. Give a file: features.weights=/path/to/weights.safetensors."
    )
