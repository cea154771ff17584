"""A captioner by its name: a model folder of ours or of transformers, or one of either kind on the Hugging Face Hub."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from stap.captioning.captioner import MODEL_FILES, Captioner
from stap.captioning.hub import from_hub, local_folder
from stap.captioning.model_folder import load_run
from stap.captioning.protocol import VideoCaptioner
from stap.errors import CheckpointError, ConfigError, MissingDependencyError
from stap.features.device import choose_device
from stap.files import parse_json
from stap.recipes.settings import VideoLimits
from stap.teachers.default import DefaultModel, default_model

__all__ = ["check_installed", "load", "suggested"]


def load(
    name: str | Path,
    device: str = "auto",
    limits: VideoLimits | None = None,
    *,
    prompt: str | None = None,
    alternatives: int = 0,
) -> VideoCaptioner:
    """The captioner of a folder, or of user/name or user/name@revision on the Hugging Face Hub: a model of stap, or of transformers.

    limits: what a video file may cost; None for the defaults.   prompt: what a model that chats is asked; None for the default question.
    alternatives: how many of a beam's next best captions a model of stap keeps.

    Raises CheckpointError if there is no such model or it is no captioner, FeatureError if its features cannot be extracted, ConfigError
    for a prompt to a model that takes none, MissingDependencyError without the extra `stap[teacher]`.
    """
    chosen = choose_device(device)
    local = local_folder(name)
    config = _config(local or from_hub(str(name), ["config.json"]))
    if "model_type" in config:
        check_installed(f"{name} is a captioner of transformers")
        from stap.teachers.captioner import TransformersCaptioner
        from stap.teachers.model_files import fetch_model

        return TransformersCaptioner(fetch_model(str(name), local, config), chosen, limits, prompt=prompt)
    if prompt is not None:
        raise ConfigError(f"--prompt: {name} is a model of stap, which takes no question. Leave --prompt out.")
    return Captioner(load_run(local or from_hub(str(name), MODEL_FILES), chosen), chosen, limits, alternatives=alternatives)


def suggested(device: str = "auto") -> DefaultModel:
    """The captioner for somebody who names none. Raises MissingDependencyError without the extra."""
    chosen = default_model(choose_device(device), _free_memory)
    check_installed(f"without --model, {chosen.name} captions")
    return chosen


def check_installed(why: str) -> None:
    """Raise MissingDependencyError where transformers is missing.   why: it is needed, as the beginning of a sentence."""
    if find_spec("transformers") is None:
        raise MissingDependencyError(
            f"{why}, and the package transformers is not installed. Install it with: pip install 'stap[teacher]'; or name a model folder of "
            "stap with --model."
        )


def _free_memory(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0]


def _config(folder: Path) -> dict[str, Any]:
    """config.json of a folder; empty where it has none that can be read, which loading the folder explains."""
    try:
        content = parse_json((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        raise CheckpointError(f"{folder / 'config.json'}: holds a {type(content).__name__}, expected an object.")
    return content
