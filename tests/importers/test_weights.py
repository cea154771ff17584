"""Weights from files of every form; what is damaged or would run code is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from raising import error_of
from stap.errors import CheckpointError
from stap.importers.weights import read_weights

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.tensor(3)}


class Trap:
    """Runs on a careless `torch.load`."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.witness,)


def save(path: Path, content: object) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.pt", "w.bin"])
def test_every_format_gives_the_same_tensors(tmp_path: Path, name: str) -> None:
    read = read_weights(save(tmp_path / name, TENSORS))
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[key], TENSORS[key]) for key in TENSORS)


@pytest.mark.parametrize(
    "wrapped",
    [
        {"state_dict": TENSORS, "epoch": 3},
        {"model": TENSORS, "args": {"lr": 0.1}},
        {"model": {"state_dict": TENSORS}},
        {f"module.{key}": value for key, value in TENSORS.items()},
        {"state_dict": {f"module.{key}": value for key, value in TENSORS.items()}},
    ],
)
def test_wrappers_are_taken_off(tmp_path: Path, wrapped: dict[str, object]) -> None:
    read = read_weights(save(tmp_path / "w.pth", wrapped))
    assert read.keys() == TENSORS.keys()
    assert torch.equal(read["a.weight"], TENSORS["a.weight"])


def test_a_pickle_that_would_run_code_is_refused_unrun(tmp_path: Path) -> None:
    witness, path = tmp_path / "it ran", tmp_path / "w.pth"
    torch.save({"state_dict": TENSORS, "trap": Trap(witness)}, path)
    with pytest.raises(CheckpointError) as caught:
        read_weights(path)
    assert not witness.exists()
    assert str(caught.value).startswith(f"{path}: wants to build ")
    assert str(caught.value).endswith(
        " on reading, and such a file could run any code; refused. "
        "Where you trust it, save its tensors as .safetensors and give that file."
    )


def test_a_missing_file_and_an_unknown_suffix(tmp_path: Path) -> None:
    assert error_of(CheckpointError, read_weights, tmp_path / "none.pth") == (
        f"{tmp_path}/none.pth: there is no such weights file. Give 'pretrained' or a .safetensors, .pth, .pt, .bin or .pth.tar file."
    )
    (tmp_path / "w.h5").touch()
    assert error_of(CheckpointError, read_weights, tmp_path / "w.h5") == (
        f"{tmp_path}/w.h5: weights are read from .safetensors, .pth, .pt, .bin or .pth.tar files, not from '.h5' files. "
        "Save them as safetensors."
    )


@pytest.mark.parametrize(
    ("name", "kind"), [("w.safetensors", "not a whole safetensors file"), ("w.pth", "cannot be read as PyTorch")]
)
@pytest.mark.parametrize("kept", [0, 10, 300])
def test_a_cut_file_is_named_as_damaged(tmp_path: Path, name: str, kind: str, kept: int) -> None:
    whole = save(tmp_path / name, {"a": torch.randn(100, 100)}).read_bytes()
    (tmp_path / name).write_bytes(whole[:kept])
    with pytest.raises(CheckpointError) as caught:
        read_weights(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: {kind}")
    assert str(caught.value).endswith(" Fetch or write it again.")


def test_a_changed_byte_is_seen(tmp_path: Path) -> None:
    """Of a tensor, so that the file can be read all the same; torch.load does, and says nothing."""
    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": torch.zeros(3000)}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["fc.weight"].count_nonzero() == 1
    error = error_of(CheckpointError, read_weights, path)
    assert error == f"{path}: 'weights/data/0' in it does not match its checksum. Fetch or write it again."


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3}, {"state_dict": {"a": 1}}])
def test_a_file_without_weights(tmp_path: Path, content: object) -> None:
    assert error_of(CheckpointError, read_weights, save(tmp_path / "w.pth", content)) == (
        f"{tmp_path}/w.pth: holds no weights by name. Expected a dictionary of tensors, on its own or under 'state_dict' or 'model'."
    )
