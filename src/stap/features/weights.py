"""Weights by name compared with a network, put into it, and hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from stap.errors import CheckpointError

__all__ = ["load_weights", "mismatches", "weights_sha256"]

NAMES_SHOWN = 5
BATCH_COUNTER = "num_batches_tracked"  # older files lack it, and in evaluation mode nothing depends on it


def load_weights(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    network_name: str,
    source: str,
    advice: str,
    left_out: tuple[str, ...] = (),
) -> None:
    """Copy weights into a network; every difference is an error, save for the classifier that the network lacks.

    network_name, source: how the message calls the network and the file.   advice: what to do about a difference.
    left_out: beginnings of the names of further weights that this network does without.
    Raises CheckpointError, naming up to five tensors of a kind.
    """
    own = network.state_dict()
    computed = {name for name, _ in network.named_buffers()} - own.keys()  # tables that older files still hold
    omitted = _classifier_prefixes(network) + left_out
    given = {
        name: value for name, value in weights.items() if name in own or not (name in computed or name.startswith(omitted))
    }
    needed = {name: value for name, value in own.items() if name in given or not name.endswith(BATCH_COUNTER)}
    if problems := mismatches(needed, given):
        raise CheckpointError(f"{source}: these weights do not fit {network_name}: {'; '.join(problems)}. {advice}")
    # A network on the device meta is only compared: it takes the tensors themselves, for it has nothing to copy them into.
    network.load_state_dict(given, strict=False, assign=any(value.is_meta for value in own.values()))


def mismatches(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """Where given tensors differ from a network's own: 'missing: ...', 'unexpected: ...' and 'of another shape: ...', if any.

    Each names up to five tensors.
    """
    shapes = [
        f"{name} {list(given[name].shape)} where {list(own[name].shape)} is needed"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    return [
        *_named("missing", (name for name in own if name not in given)),
        *_named("unexpected", (name for name in given if name not in own)),
        *_named("of another shape", shapes),
    ]


def weights_sha256(network: nn.Module) -> str:
    """SHA-256 of all parameters and buffers in the order of their names, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if name.endswith(BATCH_COUNTER):
            continue
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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


def _named(kind: str, names: Iterable[str]) -> list[str]:
    found = sorted(names)
    if not found:
        return []
    more = f" and {len(found) - NAMES_SHOWN} more" if len(found) > NAMES_SHOWN else ""
    return [f"{kind}: {', '.join(found[:NAMES_SHOWN])}{more}"]
