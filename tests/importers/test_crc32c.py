import numpy as np
import pytest

from stap.importers.crc32c import crc32c, masked_crc32c


def plain(data: bytes) -> int:
    """A bit at a time, as the polynomial is defined."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_the_published_examples(data: bytes, expected: int) -> None:
    """RFC 3720, appendix B.4, and the usual check value."""
    assert crc32c(data) == expected


@pytest.mark.parametrize("length", [1, 2, 4095, 4096, 4097, 20_001])
def test_any_length_as_bit_by_bit(length: int) -> None:
    data = np.random.default_rng(length).bytes(length)
    assert crc32c(data) == plain(data) == crc32c(memoryview(data))


def test_the_mask_is_a_rotation_and_a_constant() -> None:
    rotated = int(f"{0xE3069283:032b}"[-15:] + f"{0xE3069283:032b}"[:-15], 2)
    assert masked_crc32c(b"123456789") == (rotated + 0xA282EAD8) % 2**32
