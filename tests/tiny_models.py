"""A model folder as training writes it, with untrained weights, in a second."""

from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import timm
import torch

from stap.captioning.model_folder import save_description, save_weights
from stap.features.grid import GridExtractor
from stap.models.build import build_model
from stap.recipes.files import recipe_from_dict
from stap.recipes.streams import StreamSpec
from stap.video import write_video
from vocabularies import vocabulary_of

SENTENCES = ["a red square moves to the left", "the blue square grows", "a square spins and then stops"]


def save_model(folder: Path, seed: int = 1, **model: Any) -> Path:
    """The folder.   model: settings of the recipe's section."""
    torch.manual_seed(seed)
    backbone = folder.with_name(f"{folder.name}-backbone.safetensors")
    safetensors.torch.save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), backbone)
    recipe = recipe_from_dict(
        {
            "features": {"backbone": "test_resnet", "weights": str(backbone), "frames": 6, "image_size": 64},
            "model": {"hidden_size": 8, "attention_size": 4, "embedding_size": 5, "pooling": "attention", **model},
            "decoding": {"beam_width": 2, "max_words": 7},
        }
    )
    extractor, vocabulary = GridExtractor(recipe.features), vocabulary_of(SENTENCES)
    made = build_model(recipe.model, {"grid": StreamSpec("grid", extractor.feature_size)}, vocabulary_size=len(vocabulary))
    for parameter in made.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)  # so that videos get different captions
    save_description(folder, recipe, vocabulary, {"grid": extractor.spec}, {"features": backbone})
    save_weights(folder, made)
    backbone.unlink()
    return folder


def save_video(path: Path, seed: int, frames: int = 12) -> Path:
    """A bright square on noise, of so many frames at 12 a second."""
    pictures = np.random.default_rng(seed).integers(0, 90, (frames, 48, 64, 3), dtype=np.uint8)
    for number, picture in enumerate(pictures):
        picture[4 * (seed % 8) : 4 * (seed % 8) + 16, 2 * (number % 20) : 2 * (number % 20) + 16, seed % 3] = 250
    write_video(path, pictures, 12)
    return path
