"""STAT's released checkpoint -> a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stap.captioning.model_folder import Run, load_run, save_description, save_metrics, write_tensors
from stap.errors import CheckpointError
from stap.features.imported import open_imported
from stap.files import folder_lock
from stap.importers.stat_npz import StatCheckpoint, read_stat_npz
from stap.recipes.files import load_recipe
from stap.recipes.settings import Recipe
from stap.recipes.streams import StreamSpec

__all__ = ["import_stat_npz"]


def import_stat_npz(file: Path, words: Path, out: Path, *, features: Path | None = None) -> Run:
    """Write the model folder `out` of a released checkpoint and load it.

    words: word to number, as `read_stat_npz` takes them.
    features: where `stap import-features` put the authors' features (streams frames, motion and regions). Without it the folder
    states the size of each stream only, and no store fits it.

    Raises CheckpointError that lists every problem of the file, StapError for the words, FeatureError for the features.
    """
    if (out / "README.md").exists() or (out / "state").exists():  # the last file of an import; a training run
        raise CheckpointError(f"{out}: holds a model. Name another folder.")
    checkpoint = read_stat_npz(file, words)
    streams = _streams(file, checkpoint.feature_sizes, features)
    recipe = _recipe(file, checkpoint, features)
    with folder_lock(out, CheckpointError):
        save_description(out, recipe, checkpoint.vocabulary, streams)
        write_tensors(out / "model.safetensors", checkpoint.weights)
        save_metrics(out, recipe, {"best": None, "history": []})
    return load_run(out)


def _streams(file: Path, sizes: Mapping[str, int], features: Path | None) -> dict[str, StreamSpec]:
    made = {stream: {"kind": "imported", "stream": stream, "feature_size": size} for stream, size in sizes.items()}
    if features is not None:
        made = {stream: open_imported(features, stream).fingerprint for stream in sizes}
    streams = {stream: StreamSpec.from_fingerprint(stream, found) for stream, found in made.items()}
    wrong = [
        f"{stream} of {spec.feature_size} instead of {sizes[stream]}"
        for stream, spec in streams.items()
        if spec.feature_size != sizes[stream]
    ]
    if wrong:
        raise CheckpointError(
            f"{features}: not the features of {file}: {', '.join(wrong)} values. Import those that the checkpoint was trained on."
        )
    return streams


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
