from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stap.errors import CheckpointError
from stap.importers.protobuf import fields
from stap.importers.tensorflow_checkpoint import TensorFlowCheckpoint, is_tensorflow_checkpoint, masked_crc32c

WriteCheckpoint = Callable[..., Path]


@pytest.fixture
def variables() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(2)
    found = {f"scope/unit_{k}/w": generator.standard_normal((k % 3 + 1, 2, 5)).astype(np.float32) for k in range(90)}
    for name in ("float64", "int32", "int64", "float16"):
        found[f"types/{name}"] = np.arange(6).reshape(2, 3).astype(name)
    return found | {"scalar": np.array(4, dtype=np.int64), "empty": np.zeros((0, 3), dtype=np.float32)}


@pytest.fixture
def prefix(write_checkpoint: WriteCheckpoint, variables: dict[str, np.ndarray], tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model.ckpt", variables)


def message(path: Path, name: str | None = None) -> str:
    try:
        checkpoint = TensorFlowCheckpoint(path)
        if name is not None:
            checkpoint.read(name)
    except CheckpointError as error:
        return str(error)
    pytest.fail("no error")


@pytest.mark.parametrize("ending", ["", ".index", ".data-00000-of-00001"])
def test_every_variable_comes_back(prefix: Path, variables: dict[str, np.ndarray], ending: str) -> None:
    path = prefix.with_name(prefix.name + ending)
    assert is_tensorflow_checkpoint(path)
    checkpoint = TensorFlowCheckpoint(path)
    assert checkpoint.variables.keys() == variables.keys()
    for name, expected in variables.items():
        found = checkpoint.read(name)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_the_checksum_is_that_of_rfc_3720_rotated_plus_a_constant(data: bytes, crc: int) -> None:
    """RFC 3720, appendix B.4, and the usual check value; the mask is LevelDB's, crc32c.h."""
    rotated = int(f"{crc:032b}"[-15:] + f"{crc:032b}"[:-15], 2)
    assert masked_crc32c(data) == (rotated + 0xA282EAD8) % 2**32


def test_other_files_are_none(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"")
    assert not is_tensorflow_checkpoint(tmp_path / "weights.pth")
    assert not is_tensorflow_checkpoint(tmp_path / "model.ckpt")


@pytest.mark.parametrize(("name", "variables", "with_momentum"), [("rgb_imagenet", 230, 0), ("rgb_scratch_kin600", 346, 116)])
def test_the_published_indices(stap_data: Path, name: str, variables: int, with_momentum: int) -> None:
    """Every block's checksum is right, and the variables lie one behind the other, without a hole."""
    found = TensorFlowCheckpoint(stap_data / "i3d" / f"{name}.model.ckpt.index").variables
    assert len(found) == variables
    assert sum(key.endswith("/Momentum") for key in found) == with_momentum
    end = 0
    for variable in sorted(found.values(), key=lambda variable: variable.offset):
        assert variable.offset == end
        assert (variable.dtype, variable.size) == (1, 4 * int(np.prod(variable.shape)))
        end += variable.size


def test_a_missing_file(prefix: Path, tmp_path: Path) -> None:
    assert message(tmp_path / "no.ckpt") == (
        f"{tmp_path}/no.ckpt.index: cannot be read (No such file or directory). Give the path without its ending, for example "
        ".../model.ckpt, with both files, .index and .data-00000-of-00001, in one folder."
    )
    data = prefix.with_name("model.ckpt.data-00000-of-00001")
    data.unlink()
    assert message(prefix, "scalar") == (
        f"{data}: cannot be read (No such file or directory). It holds the values of scalar and belongs next to model.ckpt.index."
    )


def test_a_data_file_that_is_too_short(prefix: Path) -> None:
    data = prefix.with_name("model.ckpt.data-00000-of-00001")
    content = data.read_bytes()
    data.write_bytes(content[:-1])
    assert message(prefix, "types/int64") == (
        f"{data}: has {len(content) - 1} bytes, and types/int64 ends at {len(content)}. Fetch the file again, whole."
    )


def test_a_changed_value(prefix: Path) -> None:
    data = prefix.with_name("model.ckpt.data-00000-of-00001")
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    assert message(prefix, "types/int64") == (
        f"{data}: the values of types/int64 do not match their checksum. Fetch the file again."
    )
    TensorFlowCheckpoint(prefix).read("scalar")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({1: 7}, "v has TensorFlow's type 7, and whole variables of numbers were expected."),
        ({7: 1}, "v is stored in slices, and whole variables of numbers were expected."),
        ({1: 2}, "v is said to have shape [3] and 12 bytes, which contradict each other. Fetch the file again."),
        ({5: 8}, "v is said to have shape [3] and 8 bytes, which contradict each other. Fetch the file again."),
    ],
    ids=["strings", "slices", "type", "size"],
)
def test_what_cannot_be_read(write_checkpoint: WriteCheckpoint, tmp_path: Path, changes: dict[int, int], expected: str) -> None:
    prefix = write_checkpoint(tmp_path / "m", {"v": np.ones(3, dtype=np.float32)}, changes={"v": changes})
    assert message(prefix, "v") == f"{tmp_path}/m.index: {expected}"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"compression": 1}, "a block is compressed (kind 1), and TensorFlow writes none that is"),
        ({"header": b"\x08\x01\x10\x01"}, "its numbers are big-endian, which is not supported"),
        ({"header": b"\x08"}, "an integer runs over the end"),
        ({"changes": {"v": {4: 2**64 - 1}}}, "no number where one was expected"),
        ({"changes": {"v": {2: 5}}}, "a number where a message was expected"),
    ],
    ids=["compressed", "big-endian", "header", "negative offset", "shape"],
)
def test_an_index_of_another_kind(
    write_checkpoint: WriteCheckpoint, tmp_path: Path, options: dict[str, object], reason: str
) -> None:
    prefix = write_checkpoint(tmp_path / "m", {"v": np.ones(3, dtype=np.float32)}, **options)
    assert message(prefix) == f"{tmp_path}/m.index: not a whole index of a TensorFlow checkpoint ({reason}). Fetch it again."


def test_a_cut_index_is_refused_wherever_it_is_cut(
    write_checkpoint: WriteCheckpoint, variables: dict[str, np.ndarray], tmp_path: Path
) -> None:
    prefix = write_checkpoint(tmp_path / "model.ckpt", dict(list(variables.items())[:5]))
    index = prefix.with_name("model.ckpt.index")
    content = index.read_bytes()
    for length in range(len(content)):
        index.write_bytes(content[:length])
        assert "not a whole index of a TensorFlow checkpoint" in message(prefix)


def test_a_flipped_bit_is_an_error_or_changes_nothing(
    write_checkpoint: WriteCheckpoint, variables: dict[str, np.ndarray], tmp_path: Path
) -> None:
    prefix = write_checkpoint(tmp_path / "model.ckpt", dict(list(variables.items())[:5]))
    whole = TensorFlowCheckpoint(prefix).variables
    index = prefix.with_name("model.ckpt.index")
    content = index.read_bytes()
    unnoticed = 0
    for place in range(len(content)):
        index.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            assert TensorFlowCheckpoint(prefix).variables == whole
            unnoticed += 1
        except CheckpointError:
            pass
    assert unnoticed < 70  # the padding of the footer, the block about blocks, nothing else


@given(st.binary(max_size=60))
def test_bytes_that_are_no_message_are_an_error_or_fields(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert sum(1 for _ in fields(memoryview(data))) <= len(data)
