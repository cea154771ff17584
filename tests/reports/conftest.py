"""A video, and model folders with random weights."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from stap.captioning.model_folder import save_description, save_weights
from stap.features.grid import GridExtractor
from stap.models.build import build_model
from stap.recipes.files import recipe_from_dict
from stap.recipes.streams import StreamSpec
from stap.reports.clip import ClipReport
from stap.reports.places import Grid
from stap.text.vocabulary import Vocabulary
from stap.video import write_video
from vocabularies import vocabulary_of

SENTENCES = ["a man is running", "a dog runs in the park", "two women are singing"]


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small are slower with more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of a square that moves over noise, wider than high."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    pictures = np.random.default_rng(1).integers(0, 90, (12, 96, 128, 3), dtype=np.uint8)
    for index, picture in enumerate(pictures):
        picture[30:60, 8 * index : 8 * index + 30, 0] = 250
    write_video(path, pictures, 12)
    return path


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    """The words of a few sentences."""
    return vocabulary_of(SENTENCES)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, vocabulary: Vocabulary) -> Path:
    """A folder of an L-STAP as training writes it, but for the metrics."""
    work = tmp_path_factory.mktemp("work")
    torch.manual_seed(1)
    backbone = work / "backbone.safetensors"
    safetensors.torch.save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), backbone)
    recipe = recipe_from_dict(
        {
            "corpus": {"root": str(work / "corpus")},
            "features": {"backbone": "test_resnet", "weights": str(backbone), "frames": 6, "image_size": 64},
            "model": {"hidden_size": 8, "attention_size": 4, "embedding_size": 5},
            "decoding": {"beam_width": 3, "max_words": 7},
        }
    )
    extractor = GridExtractor(recipe.features)
    model = build_model(recipe.model, {"grid": StreamSpec("grid", extractor.feature_size)}, vocabulary_size=len(vocabulary))
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)
    save_description(work / "run", recipe, vocabulary, {"grid": extractor.spec}, {"features": backbone})
    save_weights(work / "run", model)
    return work / "run"


@pytest.fixture
def clip() -> ClipReport:
    """Three words over five frames with a grid of 2 x 3 cells; word w looks at frame w, and in frame t at cell t."""
    attention, weights = np.full((3, 5), 0.05), np.full((5, 6), 0.04)
    attention[range(3), range(3)], weights[range(5), range(5)] = 0.8, 0.8
    rgb_uint8 = np.random.default_rng(0).integers(0, 255, (5, 40, 60, 3), dtype=np.uint8)
    return ClipReport("video1", ("a", "dog", "runs"), (), rgb_uint8, np.arange(5) / 2, attention, weights, Grid(2, 3))
