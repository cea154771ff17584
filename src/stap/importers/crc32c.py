"""CRC-32C (Castagnoli), fast enough for hundreds of megabytes without a compiled library.

The remainder of a message is linear in its bits, so the message is cut into many pieces of equal length whose remainders are
computed side by side with NumPy, and then joined in pairs.
"""

import numpy as np

__all__ = ["crc32c", "masked_crc32c"]

_POLYNOMIAL = 0x82F63B78  # of CRC-32C, lowest power first
_LANES = 4096  # pieces computed side by side; a power of two
_MASK_DELTA = 0xA282EAD8
_BITS = np.arange(32, dtype=np.uint32)


def _table() -> np.ndarray:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, (values >> 1) ^ np.uint32(_POLYNOMIAL), values >> 1)
    return values.astype(np.uint32)


_TABLE = _table()


def crc32c(data: bytes | memoryview) -> int:
    """The CRC-32C of the bytes, as in RFC 3720, appendix B.4."""
    bits = np.frombuffer(data, dtype=np.uint8)
    length = -(-len(bits) // _LANES)
    lanes = np.zeros((_LANES, length), dtype=np.uint8)
    lanes.reshape(-1)[lanes.size - len(bits) :] = bits  # zeros in front leave the remainder 0
    remainders = np.zeros(_LANES, dtype=np.uint32)
    for column in lanes.T:
        remainders = _TABLE[(remainders ^ column) & 0xFF] ^ (remainders >> 8)
    shift = _power(_zero_byte(), length)
    while len(remainders) > 1:
        remainders = _apply(shift, remainders[0::2]) ^ remainders[1::2]
        shift = _apply(shift, shift)
    start = _apply(_power(_zero_byte(), len(bits)), np.array([0xFFFFFFFF], dtype=np.uint32))
    return int(remainders[0] ^ start[0]) ^ 0xFFFFFFFF


def masked_crc32c(data: bytes | memoryview) -> int:
    """The CRC-32C as LevelDB and TensorFlow store it: rotated right by 15 bits, plus a constant."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def _zero_byte() -> np.ndarray:
    """What a following zero byte does to a remainder, as a matrix over GF(2): (32,) its columns."""
    units = np.uint32(1) << _BITS
    columns: np.ndarray = _TABLE[units & 0xFF] ^ (units >> 8)
    return columns


def _apply(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """matrix: (32,) columns.   values: (n,).   Returns (n,); with a matrix for values, the product of the two."""
    is_set = (values[:, None] >> _BITS) & 1
    product: np.ndarray = np.bitwise_xor.reduce(matrix * is_set, axis=1)
    return product


def _power(matrix: np.ndarray, exponent: int) -> np.ndarray:
    result = np.uint32(1) << _BITS  # identity
    while exponent:
        if exponent & 1:
            result = _apply(matrix, result)
        matrix = _apply(matrix, matrix)
        exponent >>= 1
    return result
