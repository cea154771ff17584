"""Offline nothing is fetched: no address is looked up and no connection opened, and what is missing is named."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, NoReturn

import huggingface_hub
import pytest
import timm
import torch
from torchvision.models import GoogLeNet_Weights

from raising import error_of
from stap.captioning.captioner import load
from stap.cli import main
from stap.errors import CheckpointError
from stap.features.backbone import build_backbone
from stap.features.offline import OFFLINE, hub_as_told, is_offline
from stap.features.pretrained import fetch_torchvision


@pytest.fixture(autouse=True)
def nothing_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        pytest.fail("the network was used")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setenv(OFFLINE, "1")


def test_timm_s_weights() -> None:
    assert error_of(CheckpointError, build_backbone, "test_resnet") == (
        "test_resnet: its pretrained weights could not be fetched from the Hugging Face Hub (they are not in this machine's cache, and nothing "
        "is fetched offline). Connect this machine once, or give a file: features.weights=/path/to/weights.safetensors (or .pth)."
    )


def test_cached_weights_are_used_without_asking_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub client looks for newer versions unless it is set to offline."""
    told: list[bool] = []
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: "model.safetensors")
    plain = timm.create_model

    def create(name: str, pretrained: bool, **options: Any) -> Any:
        told.append(huggingface_hub.constants.HF_HUB_OFFLINE)
        return plain(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", create)
    build_backbone("test_resnet")
    assert told == [True]


def test_torchvision_s_weights() -> None:
    message = error_of(
        CheckpointError, fetch_torchvision, GoogLeNet_Weights.IMAGENET1K_V1, name="googlenet", setting="features.weights"
    )
    assert message.startswith(
        "googlenet: its pretrained weights could not be fetched from download.pytorch.org (they are not in this machine's cache, and nothing is "
        "fetched offline). Connect this machine once, or give a file: features.weights=/path/to/weights.pth"
    )


def test_models_of_the_hub() -> None:
    assert error_of(CheckpointError, load, "user/name") == (
        "user/name: no such folder, and the cache of the Hugging Face Hub on this machine lacks it; nothing is fetched offline. "
        "Run once with a network, or name a folder."
    )


@pytest.mark.parametrize("value", ["", "0", "no", "off"])
def test_other_values_are_no_switch(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(OFFLINE, value)
    assert not is_offline()
    with hub_as_told():
        assert not huggingface_hub.constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(
    "words", [["--offline", "caption", "{}", "--model", "user/name"], ["caption", "{}", "--model", "user/name", "--offline"]]
)
def test_the_switch_of_the_command_line(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(OFFLINE)
    (tmp_path / "clip.mp4").touch()
    assert main([word.format(tmp_path / "clip.mp4") for word in words]) == 1
    assert "lacks it; nothing is fetched offline." in capsys.readouterr().err
    assert OFFLINE not in os.environ
