"""MP4 files of a few bytes that claim millions of frames: FFmpeg would list every one before it reads the first."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from stap.errors import VideoError

__all__ = ["check_claims"]

_FIRST_BOXES = (b"ftyp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"styp", b"sidx")
_MOST_BYTES = 64 << 20  # of a box that is looked through; the index of a film of two hours has less than 10 MiB
_MOST_BOXES = 100_000


def check_claims(path: Path) -> None:
    """Raise VideoError if a table of an MP4 claims more frames than the file has bytes. Raises OSError.

    Only tables without a row for each frame can do so: `stsz` where all frames have one size, and `trun` without fields (ISO/IEC
    14496-12, sections 8.7.3 and 8.8.8).
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        for box in _index_boxes(file, size_bytes):
            for claimed in (*_claims(box, b"stsz", 8), *_claims(box, b"trun", 4)):
                if claimed > size_bytes:
                    raise VideoError(
                        f"{path}: its index claims {claimed:,} frames, and the file has {size_bytes:,} bytes. It is damaged or made to do "
                        "harm. Get it again."
                    )


def _index_boxes(file: IO[bytes], size_bytes: int) -> Iterator[bytes]:
    """The contents of the boxes moov and moof of an MP4; nothing for another file."""
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        header = file.read(16)
        if len(header) < 8 or (at == 0 and header[4:8] not in _FIRST_BOXES):
            return
        length, kind = struct.unpack(">I4s", header[:8])
        if length == 1 and len(header) == 16:
            [length] = struct.unpack(">Q", header[8:])
        if kind in (b"moov", b"moof"):
            file.seek(at + 8)
            yield file.read(min(length or size_bytes, _MOST_BYTES))
        if length < 8:
            return
        at += length


def _claims(box: bytes, name: bytes, count_at: int) -> Iterator[int]:
    """The numbers of frames in the tables of this name.   count_at: bytes from the end of the name to the number."""
    at = box.find(name)
    while at >= 0:
        fields = box[at + 4 : at + 4 + count_at + 4]
        if len(fields) == count_at + 4:
            yield int.from_bytes(fields[count_at:])
        at = box.find(name, at + 4)
