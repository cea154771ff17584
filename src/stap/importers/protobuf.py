"""The wire format of Protocol Buffers: the few lines that reading published weights needs, instead of their compiler."""

from collections.abc import Iterator

__all__ = ["fields", "read_varint"]

_VARINT, _EIGHT_BYTES, _COUNTED, _FOUR_BYTES = 0, 1, 2, 5
_LONGEST_VARINT = 10  # bytes of 64 bits

Value = int | memoryview


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Each field of a message in order: its number, and an unsigned integer or (counted fields) its bytes.

    Raises ValueError where the bytes are no message.
    """
    at = 0
    while at < len(message):
        tag, at = read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = read_varint(message, at)
            yield number, value
            continue
        if kind == _COUNTED:
            length, at = read_varint(message, at)
        elif kind in (_FOUR_BYTES, _EIGHT_BYTES):
            length = 4 if kind == _FOUR_BYTES else 8
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        piece = message[at : at + length]
        if len(piece) < length:
            raise ValueError("a field runs over the end")
        yield number, piece if kind == _COUNTED else int.from_bytes(piece, "little")
        at += length


def read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """The unsigned integer that begins at a place, and the place after it. Raises ValueError if it does not end."""
    value = 0
    for count, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    raise ValueError("an integer runs over the end")
