"""Beginning with the weights of another run (`training.initial_weights`, `stap train --from`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from stap.captioning.model_folder import check_features, load_run
from stap.errors import CheckpointError
from stap.features.weights import mismatches, weights_sha256
from stap.recipes.streams import StreamSpec
from stap.text.vocabulary import Vocabulary

__all__ = ["load_initial_weights"]


def load_initial_weights(model: nn.Module, folder: Path, vocabulary: Vocabulary, streams: Mapping[str, StreamSpec]) -> str:
    """Copy the weights of a model folder into a model for this vocabulary and these streams; the SHA-256 of the weights.

    Raises CheckpointError if the folder is none, or its model has other words or other layers, FeatureError if it reads other features.
    """
    run = load_run(folder)
    check_features(run, streams)
    if run.vocabulary.words != vocabulary.words:
        raise CheckpointError(
            f"{folder}: was trained with other words ({len(run.vocabulary)}; here {len(vocabulary)}), and weights belong to words. Train on the "
            "same captions with the same section text."
        )
    weights = run.model.state_dict()
    if problems := mismatches(model.state_dict(), weights):
        raise CheckpointError(
            f"{folder}: its weights do not fit the recipe's model: {'; '.join(problems)}. Use the recipe and the settings of model that it was "
            "trained with."
        )
    model.load_state_dict(weights)
    return weights_sha256(model)
