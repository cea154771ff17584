"""A flipped bit is found, wherever it is; files without a checksum are looked at themselves."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from stap.importers.checksums import damage, to_bytes

TENSORS = {
    "grid": torch.linspace(-2, 3, 60).half().view(3, 4, 5),
    "nothing": torch.empty(0, 3),
    "number": torch.tensor(1.5),
    "places": torch.tensor([[True, False]]),
    "steps": torch.tensor([3, 4]),
    "wide": torch.linspace(0, 1, 7).bfloat16(),
}


def read(content: bytes, folder: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    path = folder / "a.safetensors"
    path.write_bytes(content)
    with safetensors.safe_open(path, framework="pt") as opened:
        return safetensors.torch.load(content), opened.metadata() or {}


def test_what_is_written_is_read_and_sound(tmp_path: Path) -> None:
    tensors, metadata = read(to_bytes(TENSORS, {"video_id": "é"}), tmp_path)
    assert damage(tensors, metadata) is None
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) and tensors[name].dtype == TENSORS[name].dtype for name in TENSORS)
    assert metadata["video_id"] == "é"


def test_any_flipped_bit_is_found(tmp_path: Path) -> None:
    """Of the header and of the values: the library refuses the file, or the checksum differs."""
    content, draw = to_bytes(TENSORS, {"video_id": "video7"}), random.Random(1)
    for bit in draw.sample(range(8 * len(content)), 300):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            tensors, metadata = read(bytes(changed), tmp_path)
        except (safetensors.SafetensorError, UnicodeDecodeError, ValueError, KeyError):
            continue
        same = tensors.keys() == TENSORS.keys() and all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
        assert damage(tensors, metadata) or (same and metadata["video_id"] == "video7"), bit


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "max", "tiny", "0"])
def test_values_that_are_no_numbers_are_named_with_and_without_a_checksum(
    dtype: torch.dtype, value: str, tmp_path: Path
) -> None:
    number = getattr(torch.finfo(dtype), value) if value in ("max", "tiny") else float(value)
    tensors = {"fine": torch.ones(2), "grid": torch.tensor([1.0, number, -2.0], dtype=dtype)}
    expected = "grid holds NaN or infinite values" if value in ("nan", "inf", "-inf") else None
    assert damage(tensors, {}) == expected
    assert damage(*read(to_bytes(tensors), tmp_path)) == expected


@pytest.mark.slow
def test_the_bytes_are_the_same_in_every_process() -> None:
    """The library writes the metadata in an order that differs from process to process."""
    code = "import torch, sys; from stap.importers.checksums import to_bytes; metadata = {c: c for c in 'abcdefgh'}; "
    code += "sys.stdout.buffer.write(to_bytes({'x': torch.ones(3)}, metadata))"
    made = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)}
    assert len(made) == 1
