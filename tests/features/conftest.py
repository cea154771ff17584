from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from stap.recipes.settings import FeatureSettings
from stap.video import write_video


@pytest.fixture(scope="session")
def resnet_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of timm's smallest ResNet (0.4 million), with its classifier, as people save them."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    safetensors.torch.save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), path)
    return path


@pytest.fixture
def settings(resnet_weights: Path, tmp_path: Path) -> FeatureSettings:
    """Four frames of 64 pixels to a 2x2 grid of 96 features."""
    return FeatureSettings(
        backbone="test_resnet",
        weights=str(resnet_weights),
        frames=4,
        image_size=64,
        crop=1.0,
        stored_as="float32",
        store=tmp_path / "store",
    )


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Path]:
    """A factory of small moving videos: clip('a.mp4', frames=8, height=64, width=80)."""

    def make(name: str, *, frames: int = 8, height: int = 64, width: int = 80, seed: int = 0) -> Path:
        generator = np.random.default_rng(seed)
        wide = generator.integers(0, 256, (height // 8, width // 8 + frames, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        write_video(
            tmp_path / name, [np.ascontiguousarray(wide[:, 8 * k : 8 * k + width]) for k in range(frames)], frame_rate=8
        )
        return tmp_path / name

    return make
