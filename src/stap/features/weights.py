"""Weights of a network from a file, read without running anything in it and checked key by key."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from stap.errors import CheckpointError
from stap.importers import vsepp
from stap.importers.foreign import is_foreign, read_foreign

__all__ = ["load_weights", "read_weights", "weights_sha256"]

PICKLE_SUFFIXES = (".pth", ".pt", ".bin", ".tar")
WRAPPERS = ("state_dict", "model")  # keys under which training scripts put the weights among other things
KEYS_SHOWN = 5
# Beside tensors, what a pickle may build: the command line that many training scripts keep with their weights. It holds values only.
HARMLESS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [argparse.Namespace]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a .safetensors, .pth, .pt, .bin or .pth.tar file, on the CPU.

    Wrappers ({'state_dict': ...}, {'model': ...}) and the prefix 'module.' are taken off; of a VSE++ checkpoint, the image
    network is given. TensorFlow checkpoints (.../model.ckpt) and Caffe models are read under their own names. Pickles are read with `weights_only=True`: a file that wants to build other objects than tensors and
    an `argparse.Namespace` is refused. Raises CheckpointError.
    """
    if is_foreign(path):
        return read_foreign(path)
    if not path.is_file():
        raise CheckpointError(
            f"{path}: there is no such weights file. Give 'pretrained' or a .safetensors, .pth, .pt, .bin or .pth.tar file."
        )
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in PICKLE_SUFFIXES:
        loaded = _read_pickle(path)
        if vsepp.is_checkpoint(loaded):
            return vsepp.image_network(loaded, path)
        return _without_module_prefix(_unwrapped(loaded, path))
    raise CheckpointError(
        f"{path}: weights are read from .safetensors, .pth, .pt, .bin or .pth.tar files, not from '{path.suffix}' files. "
        "Save them as safetensors."
    )


def load_weights(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    network_name: str,
    source: str,
    left_out: tuple[str, ...] = (),
    advice: str = "Check features.backbone and features.backbone_options.",
) -> None:
    """Put weights into a network that has no classifier; every other difference is an error.

    network_name, source, advice: how messages call the network and the file, and what they tell people to do.
    left_out: how the names of further weights begin that this network does without, as its classifier's do.
    Raises CheckpointError, naming up to five keys of a kind.
    """
    own = network.state_dict()
    computed = {key for key, _ in network.named_buffers()} - own.keys()  # tables that older files still hold
    classifier = _classifier_prefixes(network) + left_out
    given = {key: value for key, value in weights.items() if key in own or not (key in computed or key.startswith(classifier))}
    problems = [
        *_listed("missing", (key for key in own if key not in given and not key.endswith("num_batches_tracked"))),
        *_listed("unexpected", (key for key in given if key not in own)),
        *_listed("of another shape", _other_shapes(own, given)),
    ]
    if problems:
        raise CheckpointError(f"{source}: these weights do not fit {network_name}: {'; '.join(problems)}. {advice}")
    network.load_state_dict(given, strict=False)


def weights_sha256(network: nn.Module) -> str:
    """SHA-256 of all parameters and buffers in the order of their names, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if name.endswith("num_batches_tracked"):  # older files lack it, and features do not depend on it
            continue
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a whole safetensors file ({_first_line(error)}). Fetch or write it again."
        ) from error


def _read_pickle(path: Path) -> Any:
    _compare_checksums(path)
    try:
        with torch.serialization.safe_globals(HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if wanted := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise CheckpointError(
                f"{path}: wants to build {wanted[1]} on reading, and such a file could run any code; refused. "
                "Where you trust it, save its tensors as .safetensors and give that file."
            ) from error
        raise _damaged(path, error) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error


def _compare_checksums(path: Path) -> None:
    """torch.load looks at none of the checksums that torch.save writes: a changed byte would be a changed weight."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError):
        return  # older than PyTorch 1.6, without checksums, or not whole, which torch.load says better
    if damaged:
        raise CheckpointError(f"{path}: '{damaged}' in it does not match its checksum. Fetch or write it again.")


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path}: cannot be read as PyTorch weights ({_first_line(error)}). Fetch or write it again.")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _unwrapped(loaded: Any, path: Path) -> dict[str, Tensor]:
    for _ in range(3):
        wrapper = next((key for key in WRAPPERS if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping)), None)
        if wrapper is None:
            break
        loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not loaded or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise CheckpointError(
            f"{path}: holds no weights by name. Expected a dictionary of tensors, on its own or under "
            f"{' or '.join(repr(key) for key in WRAPPERS)}."
        )
    return {str(key): value for key, value in loaded.items()}


def _without_module_prefix(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """DataParallel puts 'module.' before every name."""
    if all(key.startswith("module.") for key in weights):
        return {key.removeprefix("module."): value for key, value in weights.items()}
    return weights


def _classifier_prefixes(network: nn.Module) -> tuple[str, ...]:
    """How the names of a classifier's weights begin, of which a network without classifier has none.

    timm names the last layer; where nothing is left of the block around it ('head' of 'head.linear'), the whole block went.
    """
    names = (getattr(network, "pretrained_cfg", None) or {}).get("classifier") or ()
    names = {names} if isinstance(names, str) else set(names)
    blocks = {name.rpartition(".")[0] for name in names} - {""}
    own = network.state_dict()
    gone = {block for block in blocks if not any(key.startswith(f"{block}.") for key in own)}
    return tuple(f"{name}." for name in names | gone)


def _other_shapes(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Iterable[str]:
    for key in own:
        if key in given and given[key].shape != own[key].shape:
            yield f"{key} {list(given[key].shape)} where {list(own[key].shape)} is needed"


def _listed(kind: str, keys: Iterable[str]) -> list[str]:
    found = sorted(keys)
    if not found:
        return []
    more = f" and {len(found) - KEYS_SHOWN} more" if len(found) > KEYS_SHOWN else ""
    return [f"{kind}: {', '.join(found[:KEYS_SHOWN])}{more}"]
