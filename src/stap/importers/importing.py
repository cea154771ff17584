"""Putting published weights into a network: every tensor that is missing, unexpected or of another shape is told at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from stap.errors import CheckpointError

__all__ = ["fill"]

NAMES_SHOWN = 5


def fill(network: nn.Module, weights: Mapping[str, Tensor], *, network_name: str, source: str, advice: str) -> None:
    """Copy weights that are under the network's own names into it; every difference is an error.

    network_name, source: how the message calls the network and the file.   advice: what to do about a difference.
    Raises CheckpointError, naming up to five tensors of a kind.
    """
    own = network.state_dict()
    other_shapes = [
        f"{name} {list(weights[name].shape)} where {list(own[name].shape)} is needed"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    problems = [
        *_listed("missing", (name for name in own if name not in weights)),
        *_listed("unexpected", (name for name in weights if name not in own)),
        *_listed("of another shape", other_shapes),
    ]
    if problems:
        raise CheckpointError(f"{source}: these weights do not fit {network_name}: {'; '.join(problems)}. {advice}")
    network.load_state_dict(dict(weights))


def _listed(kind: str, names: Iterable[str]) -> list[str]:
    found = sorted(names)
    if not found:
        return []
    more = f" and {len(found) - NAMES_SHOWN} more" if len(found) > NAMES_SHOWN else ""
    return [f"{kind}: {', '.join(found[:NAMES_SHOWN])}{more}"]
