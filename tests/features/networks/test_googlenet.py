"""GoogLeNet's maps against torchvision's own forward pass, from one file with the published names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import GoogLeNet

from raising import error_of
from stap.errors import CheckpointError, ConfigError
from stap.features.backbone import build_backbone
from stap.features.grid import GridExtractor
from stap.recipes.settings import FeatureSettings


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[GoogLeNet, Path]:
    """torchvision's network as it is built for its published weights, and a file of random ones, auxiliary classifiers included."""
    torch.manual_seed(1)
    network = GoogLeNet(transform_input=True, init_weights=False)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64))  # statistics under which the maps stay alive
    path = tmp_path_factory.mktemp("weights") / "googlenet.pth"
    torch.save(network.state_dict(), path)
    return network.eval(), path


def test_the_pooled_map_is_pool5_of_torchvision(published: tuple[GoogLeNet, Path]) -> None:
    theirs, path = published
    settings = FeatureSettings(backbone="googlenet", weights=str(path), pooled=True, frames=2)
    extractor = GridExtractor(settings)
    images_uint8 = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    pool5: list[torch.Tensor] = []
    theirs.avgpool.register_forward_hook(lambda _, __, pooled: pool5.append(pooled.flatten(1)))
    with torch.no_grad():
        theirs((images_uint8.permute(0, 3, 1, 2) / 255 - mean) / std)
    found = extractor(extractor.normalise(images_uint8))
    assert found.shape == (2, 49, 1024)
    assert torch.allclose(found.mean(dim=1), pool5[0], rtol=1e-3, atol=1e-4 * float(pool5[0].abs().max()))
    assert float(pool5[0].std()) > 0.01
    fingerprint = extractor.spec.fingerprint
    assert (fingerprint["backbone"], fingerprint["feature_size"]) == ("googlenet", 1024)
    assert (fingerprint["image_size"], fingerprint["crop"]) == (224, 0.875)
    assert extractor.short_side == 256


def test_what_it_refuses(published: tuple[GoogLeNet, Path], tmp_path: Path) -> None:
    assert (
        error_of(ConfigError, build_backbone, "googlenet", {"aux_logits": True}, weights="random")
        == "features.backbone_options: googlenet takes none, given aux_logits. Remove them."
    )
    state = published[0].state_dict()
    del state["conv1.conv.weight"]
    torch.save(state, tmp_path / "w.pth")
    assert error_of(CheckpointError, build_backbone, "googlenet", weights=str(tmp_path / "w.pth")) == (
        f"{tmp_path}/w.pth: these weights do not fit googlenet: missing: conv1.conv.weight. Check features.backbone."
    )


def test_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_such_host(*_: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("stap.features.pretrained.getproxies", dict)
    monkeypatch.setattr("stap.features.pretrained.socket.getaddrinfo", no_such_host)
    assert error_of(CheckpointError, build_backbone, "googlenet") == (
        "googlenet: its pretrained weights could not be fetched from download.pytorch.org (Name or service not known). Connect this "
        "machine once, or give a file: features.weights=/path/to/weights.pth (or .safetensors). "
        "Theirs is https://download.pytorch.org/models/googlenet-1378be20.pth"
    )
