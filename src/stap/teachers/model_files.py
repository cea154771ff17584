"""The files of a captioner of transformers: which are fetched, and what is refused before any weights are read.

Nothing in them is executed: only safetensors, JSON, plain text and chat templates (which transformers runs in a sandbox) are read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import safetensors
from huggingface_hub import ModelCard

from stap.captioning.hub import from_hub
from stap.errors import CheckpointError
from stap.files import one_line

__all__ = ["ModelFiles", "fetch_model"]

DESCRIPTIONS = ("*.json", "*.jinja", "*.txt", "*.model", "README.md")
WEIGHTS = "*.safetensors"
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")  # one of them holds the words
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class ModelFiles:
    """A whole model in a folder.   name: as it was asked for, without a revision.   revision: the commit on the Hub; None of a folder."""

    name: str
    revision: str | None
    folder: Path

    @cached_property
    def licence(self) -> str | None:
        """What the model card states; None where it states none."""
        try:
            stated = ModelCard.load(self.folder / "README.md").data.get("license")
        except (OSError, ValueError):  # no card, or one that cannot be read
            return None
        return str(stated) if stated else None

    @cached_property
    def sha256(self) -> str:
        """Of the weights and the configuration."""
        found = hashlib.sha256()
        for path in [self.folder / "config.json", *sorted(self.folder.glob(WEIGHTS))]:
            with path.open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
        return found.hexdigest()

    @property
    def bytes(self) -> int:
        """Size of the weights."""
        return sum(path.stat().st_size for path in self.folder.glob(WEIGHTS))


def fetch_model(name: str, local: Path | None, config: Mapping[str, Any]) -> ModelFiles:
    """The files of a captioner, fetched from the Hub if it is no local folder.   config: its config.json.

    Raises CheckpointError for a model that is no captioner, needs code of its own, has no safetensors, or is not there whole.
    """
    _check_type(name, config)
    if local is not None:
        files = ModelFiles(name, None, local)
    else:
        repository, _, _ = name.partition("@")
        described = from_hub(name, DESCRIPTIONS)
        folder = from_hub(f"{repository}@{described.name}", [*DESCRIPTIONS, WEIGHTS])  # of the same commit
        files = ModelFiles(repository, folder.name, folder)
    _check_weights(name, files.folder)
    return files


def _check_type(name: str, config: Mapping[str, Any]) -> None:
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    kind = str(config["model_type"])
    if kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return
    if kind not in CONFIG_MAPPING and "auto_map" in config:
        raise CheckpointError(
            f"{name}: needs code of its own repository (model type {kind}), which stap never runs. Choose a captioner that transformers itself "
            "has, such as microsoft/git-base-vatex."
        )
    raise CheckpointError(
        f"{name}: is no captioner (model type {kind}): transformers has no model of this type that writes text about pictures. Choose another "
        "one, such as microsoft/git-base-vatex."
    )


def _check_weights(name: str, folder: Path) -> None:
    there = sorted(folder.glob(WEIGHTS))
    if not there and not (folder / INDEX).exists():
        raise CheckpointError(
            f"{name}: has no weights as safetensors, and other weights files may run code, so stap does not read them. Choose another revision "
            "(user/name@revision) or model."
        )
    missing = [part for part in _parts(folder) if not (folder / part).exists()]
    damaged = [f"{path.name}: {reason}" for path in there if (reason := _damage(path))]
    problems = [*(f"{part} is missing" for part in missing), *damaged]
    if not any(any(folder.glob(file)) for file in TOKENIZERS):  # transformers would make an empty one up
        problems.append("the files of its tokenizer are missing")
    if problems:
        raise CheckpointError(
            f"{name}: only a part of it is here ({'; '.join(problems)}). Run again with a network to complete the download, or copy the folder again."
        )


def _parts(folder: Path) -> list[str]:
    """The weights files that the index of a large model names."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return sorted({Path(part).name for part in index["weight_map"].values()})
    except FileNotFoundError:
        return []
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder / INDEX}: cannot be read ({one_line(error)}). Get the model again.") from error


def _damage(path: Path) -> str | None:
    try:
        with safetensors.safe_open(path, framework="pt"):
            return None
    except (safetensors.SafetensorError, OSError) as error:
        return one_line(error)
