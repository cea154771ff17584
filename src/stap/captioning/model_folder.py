"""The model folder, which training writes and captioning reads.

    config.json             the recipe, and the versions of Python and packages
    model.safetensors       weights
    vocabulary.json         words in the order of their ids
    features.json           the fingerprint of each stream of the training features
    metrics.json            best epoch and the history of all epochs
    README.md               model card
    backbone.safetensors    the weights of the frame extractor, if they came from a local file;
    motion.safetensors      likewise of the motion extractor, and
    regions.safetensors     of the region extractor

Only JSON and safetensors are read, so that a folder from a stranger cannot run code. No weights lie outside of it.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor, nn

from stap.captioning.model_card import model_card
from stap.errors import CheckpointError, ConfigError, FeatureError
from stap.features.extractor import sections_to_extract
from stap.features.weights import mismatches
from stap.files import one_line, parse_json, read_bytes, regular_file, write_atomically, write_json
from stap.importers import checksums
from stap.importers.weights import read_weights
from stap.models.build import build_model
from stap.models.caption_model import CaptionModel
from stap.recipes.files import recipe_from_config
from stap.recipes.settings import Recipe
from stap.recipes.streams import StreamSpec, differences
from stap.text.vocabulary import Vocabulary

__all__ = [
    "WEIGHTS_FILES",
    "Run",
    "check_features",
    "load_run",
    "model_for",
    "read_recipe",
    "read_tensors",
    "save_description",
    "save_metrics",
    "save_weights",
    "write_tensors",
]

# The recipe's section of each extractor -> its weights file.
WEIGHTS_FILES = {"features": "backbone.safetensors", "motion": "motion.safetensors", "regions": "regions.safetensors"}
PUBLISHED = ("pretrained", "random")  # weights that are no file
COPY_AGAIN = "Copy the model folder again, whole."
PACKAGES = ("stap", "torch", "timm", "numpy")


@dataclass(frozen=True)
class Run:
    """A trained model with its vocabulary, recipe and streams.

    recipe: weights files in the folder have paths inside `folder`.   streams: those of training, by name.
    """

    model: CaptionModel
    vocabulary: Vocabulary
    recipe: Recipe
    streams: Mapping[str, StreamSpec]
    folder: Path


def save_description(
    folder: Path,
    recipe: Recipe,
    vocabulary: Vocabulary,
    streams: Mapping[str, StreamSpec],
    weights: Mapping[str, Path] | None = None,
) -> None:
    """Write everything except the model's weights and the metrics.

    streams: of the training features, by name.   weights: extractors' weights files to include, by the recipe's section.
    Raises CheckpointError if the folder cannot be written or such a file cannot be read.
    """
    settings = recipe.model_dump(mode="json")
    for section, path in (weights or {}).items():
        settings[section]["weights"] = WEIGHTS_FILES[section]
        write_tensors(folder / WEIGHTS_FILES[section], read_weights(path))
    versions = {"python": platform.python_version()} | {package: version(package) for package in PACKAGES}
    write_json(folder / "config.json", {"recipe": settings, "versions": versions}, CheckpointError)
    write_json(folder / "features.json", {name: dict(spec.fingerprint) for name, spec in streams.items()}, CheckpointError)
    write_atomically(folder / "vocabulary.json", vocabulary.to_json().encode("utf-8", "backslashreplace"), CheckpointError)


def save_weights(folder: Path, model: nn.Module) -> None:
    """Write model.safetensors, whole or not at all. Raises CheckpointError if it cannot be written."""
    write_tensors(folder / "model.safetensors", model.state_dict())


def save_metrics(folder: Path, recipe: Recipe, metrics: Mapping[str, Any]) -> None:
    """Write metrics.json, and the model card that shows its best epoch."""
    write_json(folder / "metrics.json", dict(metrics), CheckpointError)
    write_atomically(folder / "README.md", model_card(recipe, metrics).encode(), CheckpointError)


def load_run(folder: Path | str, device: torch.device | str = "cpu") -> Run:
    """The model of a folder, on the device and in eval mode. Raises CheckpointError that names the file and what is wrong.

    The folder may be a stranger's: it may name no file outside of itself, and nothing is built before its sizes were compared with those of
    the weights file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder. Expected a model folder, as `stap train` writes it.")
    recipe = read_recipe(folder)
    vocabulary = Vocabulary.from_json(_read_text(folder / "vocabulary.json"), source=str(folder / "vocabulary.json"))
    streams = _read_streams(folder / "features.json")
    weights = _own_file(folder / "model.safetensors")
    _check_sizes(recipe, vocabulary, streams, weights)
    model = model_for(recipe, vocabulary, streams)
    _load_weights(model, weights)
    return Run(model.to(device).eval(), vocabulary, recipe, streams, folder)


def model_for(
    recipe: Recipe, vocabulary: Vocabulary, streams: Mapping[str, StreamSpec], label_smoothing: float = 0.0
) -> CaptionModel:
    """The recipe's model for these streams, with fresh weights. Raises ConfigError if it needs another stream, or more memory."""
    try:
        return build_model(recipe.model, streams, vocabulary_size=len(vocabulary), label_smoothing=label_smoothing)
    except (
        RuntimeError,
        MemoryError,
        OverflowError,
        TypeError,
    ) as error:  # sizes beyond the memory, or beyond PyTorch's integers
        raise ConfigError(
            f"the model cannot be built in these sizes ({one_line(error)[:200]}). Lower model.hidden_size."
        ) from error


def check_features(run: Run, streams: Mapping[str, StreamSpec]) -> None:
    """Raises FeatureError that names every difference between these features and those of training."""
    others = [
        f"stream {stream}: {difference}"
        for stream in [*run.streams, *(stream for stream in streams if stream not in run.streams)]
        for difference in _differences(run.streams.get(stream), streams.get(stream))
    ]
    if others:
        raise FeatureError(
            f"{run.folder}: these features differ from those of training: {'; '.join(others)}. "
            "Extract them with the backbone, weights and settings in features.json of the model folder."
        )


def _differences(expected: StreamSpec | None, found: StreamSpec | None) -> list[str]:
    if expected is None or found is None:
        return ["missing" if found is None else "unknown to the model"]
    return differences(expected.fingerprint, found.fingerprint)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises CheckpointError if it is missing or damaged: cut short, against its checksum, or with values that are not finite numbers.
    """
    regular_file(path, CheckpointError, COPY_AGAIN)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (safetensors.SafetensorError, OSError) as error:
        raise _unusable(path, f"damaged ({one_line(error)})") from error
    if found := checksums.damage(tensors, metadata):
        raise _unusable(path, f"damaged ({found})")
    return tensors, metadata


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file with a checksum, whole or not at all. Raises CheckpointError if it cannot be written."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, checksums.to_bytes(on_cpu, metadata), CheckpointError)


def read_recipe(folder: Path) -> Recipe:
    """The recipe in a folder's config.json; its weights files are those in the folder. Raises CheckpointError."""
    path = folder / "config.json"
    settings = _read_json(path).get("recipe")
    if not isinstance(settings, dict):
        raise _unusable(path, "'recipe' is missing")
    try:
        recipe = recipe_from_config(settings, source=str(path))
    except ConfigError as error:
        raise CheckpointError(f"{error}\nLoad the folder with the version of stap that config.json names.") from error
    carried = {}
    for section in sections_to_extract(recipe):
        settings, name = getattr(recipe, section), WEIGHTS_FILES[section]
        if settings.weights == name:
            carried[section] = settings.model_copy(update={"weights": str(_own_file(folder / name))})
        elif settings.weights not in PUBLISHED:
            raise CheckpointError(
                f"{path}: {section}.weights is {settings.weights!r}, and a model folder names no file outside of itself; expected {name}, or "
                f"{' or '.join(PUBLISHED)}. Train again, or copy the weights there as safetensors and correct the line."
            )
    return recipe.model_copy(update=carried)


def _read_streams(path: Path) -> dict[str, StreamSpec]:
    """By name, each checked for what models are built from."""
    content = _read_json(path)
    if isinstance(content.get("kind"), str):
        raise CheckpointError(
            f"{path}: holds one fingerprint, as stap wrote it before models could have several streams of features; expected "
            "one for each stream. Train the model again."
        )
    streams = {}
    for stream, made in content.items():
        if not isinstance(made, dict):
            raise _unusable(path, f"{stream} holds a {type(made).__name__}, expected an object")
        try:
            streams[stream] = StreamSpec.from_fingerprint(stream, made)
        except FeatureError as error:
            raise _unusable(path, str(error)) from error
    return streams


def _check_sizes(recipe: Recipe, vocabulary: Vocabulary, streams: Mapping[str, StreamSpec], path: Path) -> None:
    """Compare the model, built without memory, with the header of the weights file."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (safetensors.SafetensorError, OSError) as error:
        raise _unusable(path, f"damaged ({one_line(error)})") from error
    try:
        with torch.device("meta"):
            own = model_for(recipe, vocabulary, streams).state_dict()
            given = {name: torch.empty(shape) for name, shape in shapes.items()}
    except ConfigError as error:
        raise CheckpointError(f"{path.parent}: config.json and features.json do not go together: {error}") from error
    if problems := mismatches(own, given):
        raise _unusable(path, f"does not fit config.json, vocabulary.json and features.json: {'; '.join(problems)}")


def _load_weights(model: nn.Module, path: Path) -> None:
    weights, _ = read_tensors(path)
    model.load_state_dict(weights)


def _own_file(path: Path) -> Path:
    """The path, if a plain file is there that lies in the folder itself; or where the Hub's client keeps what such a link leads to."""
    regular_file(path, CheckpointError, COPY_AGAIN)
    folder, file = path.parent.resolve(), path.resolve()
    blobs = folder.parent.parent / "blobs"  # <cache>/models--user--name/snapshots/<revision> holds links to its blobs
    if not file.is_relative_to(folder) and not (folder.parent.name == "snapshots" and file.is_relative_to(blobs)):
        raise CheckpointError(f"{path}: a link out of the folder, and a model folder holds its own files. Copy the file there.")
    return path


def _read_text(path: Path) -> str:
    try:
        return read_bytes(_own_file(path), CheckpointError, COPY_AGAIN).decode()
    except UnicodeDecodeError as error:
        raise _unusable(path, f"cannot be read ({one_line(error)})") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(_read_text(path))
    except json.JSONDecodeError as error:
        raise _unusable(path, f"not JSON ({error})") from error
    if not isinstance(content, dict):
        raise _unusable(path, f"holds a {type(content).__name__}, expected an object")
    return content


def _unusable(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{path}: {reason}. {COPY_AGAIN}")
