"""The checkpoint that the authors of STAT released -> a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stap.captioning.model_folder import Run, load_run, save_description, save_metrics, write_tensors
from stap.errors import CheckpointError
from stap.features.imported import open_imported
from stap.importers.stat_npz import StatCheckpoint, read_stat_npz
from stap.recipes.files import load_recipe
from stap.recipes.settings import Recipe

__all__ = ["import_stat_npz"]


def import_stat_npz(file: Path, words: Path, out: Path, *, features: Path | None = None) -> Run:
    """Write the model folder `out` of a released checkpoint and load it.

    words: word to number, as `read_stat_npz` takes them.
    features: where `stap import-features` put the authors' features (streams frames, motion and regions). Without it the folder
    states the size of each stream only, and no store fits it.

    Raises CheckpointError that lists every problem of the file, StapError for the words, FeatureError for the features.
    """
    if (out / "config.json").exists():
        raise CheckpointError(f"{out}: holds a model. Name another folder.")
    checkpoint = read_stat_npz(file, words)
    fingerprint = _fingerprint(file, checkpoint.feature_sizes, features)
    recipe = _recipe(file, checkpoint, features)
    save_description(out, recipe, checkpoint.vocabulary, fingerprint)
    write_tensors(out / "model.safetensors", checkpoint.weights)
    save_metrics(out, recipe, {"best": None, "history": []})
    return load_run(out)


def _fingerprint(file: Path, sizes: Mapping[str, int], features: Path | None) -> dict[str, dict[str, Any]]:
    if features is None:
        return {stream: {"kind": "imported", "stream": stream, "feature_size": size} for stream, size in sizes.items()}
    found = {stream: open_imported(features, stream).fingerprint for stream in sizes}
    wrong = [
        f"{stream} of {found[stream].get('feature_size')} instead of {size}"
        for stream, size in sizes.items()
        if found[stream].get("feature_size") != size
    ]
    if wrong:
        raise CheckpointError(
            f"{features}: not the features of {file}: {', '.join(wrong)} values. Import those that the checkpoint was trained on."
        )
    return found


def _recipe(file: Path, checkpoint: StatCheckpoint, features: Path | None) -> Recipe:
    recipe = load_recipe("msvd/stat")
    model = {
        "hidden_size": checkpoint.hidden_size,
        "attention_size": checkpoint.hidden_size,
        "embedding_size": checkpoint.embedding_size,
    }
    stores = {} if features is None else dict.fromkeys(checkpoint.feature_sizes, features.absolute())
    return recipe.model_copy(
        update={
            "name": file.stem,
            "description": f"STAT, imported from {file.name}, the checkpoint that its authors released.",
            "model": recipe.model.model_copy(update=model),
            "features": recipe.features.model_copy(update={"imported": stores}),
            "motion": None,
            "regions": None,
        }
    )
