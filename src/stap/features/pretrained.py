"""timm's and torchvision's pretrained weights, fetched once (from the Hugging Face Hub and from PyTorch's server) and kept in their caches."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

import huggingface_hub
import timm
import torch
from timm.models import PretrainedCfg
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from stap.errors import CheckpointError
from stap.features.offline import hub_as_told, is_offline
from stap.files import one_line

__all__ = ["create_pretrained", "fetch_torchvision"]

NOT_HERE = "they are not in this machine's cache, and nothing is fetched offline"
CACHED_FILES = ("model.safetensors", "pytorch_model.bin")


def create_pretrained(name: str, options: Mapping[str, Any]) -> nn.Module:
    """The network without classifier, with timm's weights. Raises CheckpointError where they cannot be had, TypeError for options."""
    _check_available(name)
    try:
        with hub_as_told():
            network: nn.Module = timm.create_model(name, pretrained=True, num_classes=0, **options)
    except TypeError:
        raise
    except Exception as error:  # the Hub's client, its transport and timm each have their own families of errors
        raise CheckpointError(_unavailable(name, one_line(error))) from error
    return network


def fetch_torchvision(weights: WeightsEnum, *, name: str, setting: str) -> dict[str, Tensor]:
    """torchvision's published weights by name, from its cache or else from download.pytorch.org; their hash is checked.

    name, setting: how a message calls the network, and the setting that would take a file instead.
    Raises CheckpointError where they cannot be had.
    """
    host = str(urlparse(weights.url).hostname)
    cached = _torch_file(weights.url)
    try:
        if not cached.is_file() and is_offline():
            raise ConnectionError(NOT_HERE)
        if not cached.is_file() and not getproxies():
            socket.getaddrinfo(host, 443)  # says at once what the download says after a while
        tensors = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # of the network, of the disk, or a hash that differs: each library has its own family
        reason = one_line(error)
        raise CheckpointError(
            f"{name}: its pretrained weights could not be fetched from {host} ({reason}). Connect this machine once, or give a "
            f"file: {setting}=/path/to/weights.pth (or .safetensors). Theirs is {weights.url}"
        ) from error
    return dict(tensors)


def _check_available(name: str) -> None:
    """Say at once what the Hub's client says after a minute of trying again."""
    settings = timm.get_pretrained_cfg(name)
    if settings is None or not settings.has_weights:
        raise CheckpointError(
            f"{name}: timm has no pretrained weights of it. Give a file: features.weights=/path/to/weights.safetensors."
        )
    if is_offline() and not _is_here(settings):
        raise CheckpointError(_unavailable(name, NOT_HERE))
    if not settings.hf_hub_id or _is_cached(settings.hf_hub_id) or getproxies():
        return
    host = urlparse(huggingface_hub.constants.ENDPOINT).hostname
    try:
        socket.getaddrinfo(host, 443)
    except OSError as error:
        raise CheckpointError(_unavailable(name, f"{host} cannot be reached: {error.strerror}")) from error


def _is_here(settings: PretrainedCfg) -> bool:
    """Whether this machine has the weights, from the Hub or from the server that timm took them from before."""
    if settings.hf_hub_id:
        return _is_cached(settings.hf_hub_id)
    return isinstance(settings.url, str) and _torch_file(settings.url).is_file()


def _torch_file(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(urlparse(url).path).name


def _is_cached(repository: str) -> bool:
    return any(isinstance(huggingface_hub.try_to_load_from_cache(repository, file), str) for file in CACHED_FILES)


def _unavailable(name: str, reason: str) -> str:
    return (
        f"{name}: its pretrained weights could not be fetched from the Hugging Face Hub ({reason.rstrip('. ')}). Connect this machine "
        "once, or give a file: features.weights=/path/to/weights.safetensors (or .pth)."
    )
