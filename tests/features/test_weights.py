from __future__ import annotations

import hashlib
import struct

import pytest
import timm
import torch
from torch import nn

from raising import error_of
from stap.errors import CheckpointError
from stap.features.weights import load_weights, weights_sha256


def bare() -> nn.Module:
    network: nn.Module = timm.create_model("test_resnet", pretrained=False, num_classes=0)
    return network


def test_weights_arrive_and_the_classifier_is_left_out() -> None:
    torch.manual_seed(2)
    whole, network = timm.create_model("test_resnet", pretrained=False), bare()
    load_weights(network, whole.state_dict(), network_name="test_resnet", source="w.pth", advice="Do this.")
    assert "fc.weight" in whole.state_dict()
    assert all(torch.equal(value, whole.state_dict()[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["levit_128s", "test_convnext", "test_vit"])
def test_classifiers_of_every_form_are_left_out(name: str) -> None:
    with torch.device("meta"):
        whole, network = timm.create_model(name, pretrained=False), timm.create_model(name, pretrained=False, num_classes=0)
    network.to_empty(device="cpu")
    weights = {key: torch.ones(value.shape, dtype=value.dtype) for key, value in whole.state_dict().items()}
    assert weights.keys() > network.state_dict().keys()
    load_weights(network, weights, network_name=name, source="w.pth", advice="Do this.")
    assert all((value == 1).all() for value in network.state_dict().values())


def test_old_files_without_batch_counters_and_with_computed_tables_fit() -> None:
    network = timm.create_model(
        "swin_tiny_patch4_window7_224", pretrained=False, num_classes=0, embed_dim=24, depths=(1, 1, 1, 1)
    )
    weights = network.state_dict()
    table = "layers.0.blocks.0.attn.relative_position_index"
    assert table in dict(network.named_buffers())
    assert table not in weights
    load_weights(network, weights | {table: torch.zeros(49, 49)}, network_name="swin", source="w.pth", advice="Do this.")
    resnet = bare()
    counted = {key: value for key, value in resnet.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert len(counted) < len(resnet.state_dict())
    load_weights(resnet, counted, network_name="test_resnet", source="w.pth", advice="Do this.")


def test_what_does_not_fit_is_named() -> None:
    network = bare()
    weights = {key: value for key, value in network.state_dict().items() if not key.startswith("layer1.0.bn")}
    weights["layer9.weight"] = torch.zeros(2)
    weights["conv1.0.weight"] = torch.zeros(8, 3, 5, 5)
    own = list(network.state_dict()["conv1.0.weight"].shape)
    missing = sorted(
        key for key in network.state_dict() if key.startswith("layer1.0.bn") and not key.endswith("num_batches_tracked")
    )
    assert error_of(
        CheckpointError, load_weights, network, weights, network_name="test_resnet", source="w.pth", advice="Do this."
    ) == (
        f"w.pth: these weights do not fit test_resnet: missing: {', '.join(missing[:5])} and {len(missing) - 5} more; "
        f"unexpected: layer9.weight; of another shape: conv1.0.weight [8, 3, 5, 5] where {own} is needed. "
        "Do this."
    )


def test_the_hash_is_of_names_types_shapes_and_bytes() -> None:
    network = nn.Linear(2, 1)
    network.load_state_dict({"weight": torch.tensor([[1.0, -2.0]]), "bias": torch.tensor([0.5])})
    expected = (
        b"bias torch.float32 [1]\n" + struct.pack("<f", 0.5) + b"weight torch.float32 [1, 2]\n" + struct.pack("<2f", 1, -2)
    )
    assert weights_sha256(network) == hashlib.sha256(expected).hexdigest()
    with torch.no_grad():
        network.bias += 1e-7
    assert weights_sha256(network) != hashlib.sha256(expected).hexdigest()
