"""A look at the index of an MP4 before FFmpeg opens it: for claims of millions of frames, and for edit lists that cannot be right."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from stap.errors import VideoError

__all__ = ["check_claims", "has_wrong_edits"]

_FIRST_BOXES = (b"ftyp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"styp", b"sidx")
_MOST_BYTES = 64 << 20  # of a box that is looked through; the index of a film of two hours has less than 10 MiB
_MOST_BOXES = 100_000
_UNKNOWN = {2**32 - 1, 2**64 - 1}  # durations of a header that does not know


def check_claims(path: Path) -> None:
    """Raise VideoError if a table of an MP4 claims more frames than the file has bytes: FFmpeg would list each. Raises OSError.

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


def has_wrong_edits(path: Path) -> bool:
    """Whether an edit list of a track of pictures contradicts the rest of its index, so that it would cut away the wrong frames.

    The edits of a track add up to its duration in `tkhd` and begin inside the media, and the times in `stts` add up to its duration in
    `mdhd`, or nearly so where frames are reordered (ISO/IEC 14496-12, sections 8.3.2, 8.4.2, 8.6.1 and 8.6.6). Raises OSError.
    """
    with path.open("rb") as file:
        for box in _index_boxes(file, path.stat().st_size):
            for kind, start, end in _children(box, 8, len(box)):
                with suppress(struct.error):
                    if kind == b"trak" and _is_wrong(box, start, end):
                        return True
    return False


def _is_wrong(box: bytes, start: int, end: int) -> bool:
    handler, header = _inside(box, start, end, b"mdia", b"hdlr"), _inside(box, start, end, b"mdia", b"mdhd")
    times, edits = _inside(box, start, end, b"mdia", b"minf", b"stbl", b"stts"), _inside(box, start, end, b"edts", b"elst")
    track = _inside(box, start, end, b"tkhd")
    if None in (handler, header, times, edits, track) or handler[8:12] != b"vide":
        return False
    long = edits[0] == 1
    rows = struct.iter_unpack(">QqI" if long else ">IiI", edits[8 : 8 + (20 if long else 12) * int.from_bytes(edits[4:8])])
    segments, media_times, _ = zip(*rows, strict=True) if len(edits) > 8 else ((), (), ())
    [media] = struct.unpack_from(*((">Q", header, 24) if header[0] == 1 else (">I", header, 16)))
    [shown] = struct.unpack_from(*((">Q", track, 28) if track[0] == 1 else (">I", track, 20)))
    listed = sum(count * ticks for count, ticks in struct.iter_unpack(">II", times[8 : 8 + 8 * int.from_bytes(times[4:8])]))
    return (
        _is_more(listed, 2, media)
        or _is_more(sum(segments), 1.1, shown)
        or _is_more(shown, 1.1, sum(segments))
        or max(media_times, default=0) > media > 0
    )


def _is_more(one: int, times: float, other: int) -> bool:
    """Whether a duration is more than so many times another, where both are known."""
    return min(one, other) > 0 and not {one, other} & _UNKNOWN and one > times * other


def _children(box: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the contents of each box between two places."""
    while start + 8 <= end:
        length, kind = struct.unpack_from(">I4s", box, start)
        if length < 8:
            return
        yield kind, start + 8, min(start + length, end)
        start += length


def _inside(box: bytes, start: int, end: int, *path: bytes) -> Any:
    """The contents of the first box at the end of a path, None if there is none."""
    for kind, inner, inner_end in _children(box, start, end):
        if kind == path[0]:
            return _inside(box, inner, inner_end, *path[1:]) if len(path) > 1 else box[inner:inner_end]
    return None


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
            file.seek(at)
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
