"""Every bit of every time stamp of MP4s and of a transport stream, one at a time: the samples stay spread over the frames."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.conftest import _make_video, _number_shown
from tests.torture.outcome import Outcome

from stap.errors import StapError
from stap.video import sample_frames

FRAMES, SAMPLES, FEWEST = 50, 8, 7
X264 = {"preset": "ultrafast", "g": "10", "bf": "2", "b-adapt": "0"}


def run(folder: Path, share: float, seed: int) -> Outcome:
    """Flip bits and sample; at least 7 of 8 samples must differ and ascend, with at most one warning."""
    outcome = Outcome()
    for name_of_file, (bits_of, muxing) in FILES.items():
        path, suffix = folder / name_of_file, name_of_file.replace("clip.", "")
        _make_video(path, FRAMES, options=X264, container_options=muxing)
        whole = path.read_bytes()
        cases = list(bits_of(whole))
        for name, bit in random.Random(seed).sample(cases, max(1, round(share * len(cases)))):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 0x80 >> bit % 8
            path.write_bytes(flipped)
            problem = problem_with(path)
            outcome.counts[f"{suffix} {name}"] += 1
            if problem:
                outcome.failures.append(f"{suffix}: bit {bit} ({name}): {problem}")
    return outcome


def problem_with(path: Path) -> str | None:
    """What is wrong with the samples of this file, if anything."""
    try:
        frames = sample_frames(path, SAMPLES, threads=1)
    except StapError as error:
        return f"refused: {error}"
    numbers = [_number_shown(rgb) for rgb in frames.rgb_uint8]
    if len(set(numbers)) < FEWEST or max(numbers) - min(numbers) < FRAMES // 2:
        return f"samples {numbers} {frames.times_seconds} {frames.warnings}"
    return f"warnings {frames.warnings}" if len(frames.warnings) > 1 else None


def bits_of_mp4(data: bytes) -> Iterator[tuple[str, int]]:
    """What each bit belongs to, and its place: decode times, durations and offsets of fragments, and durations of headers."""
    for box, first, size in (
        ("tfdt", 8, 8),  # version and flags, then 64 bits
        ("tfhd", 20, 4),  # default duration, behind track and data offset (flags 0x39)
        ("trex", 16, 4),
        ("mvhd", 20, 4),
        ("mdhd", 20, 4),
        ("tfra", 20, 8),
    ):
        at = data.find(box.encode())
        while at >= 0:
            yield from ((box, 8 * (at + first) + bit) for bit in range(8 * size))
            at = data.find(box.encode(), at + 1)
    at = data.find(b"trun")
    while at >= 0:
        samples = int.from_bytes(data[at + 8 : at + 12])
        first = at + 20  # the flags of the first sample come between the data offset and the rows: size and time offset
        for k in range(samples):
            yield from (("trun", 8 * (first + 8 * k + 4) + bit) for bit in range(32))
        at = data.find(b"trun", at + 1)


def bits_of_ts(data: bytes) -> Iterator[tuple[str, int]]:
    """The 33 bits of each presentation and decoding time (ISO/IEC 13818-1, 2.4.3.7), and of the clock references."""
    for packet in range(0, len(data), 188):
        at, has_adaptation = packet + 4, data[packet + 3] & 0x20
        if has_adaptation:
            if data[at] and data[at + 1] & 0x10:
                yield from (("clock reference", 8 * (at + 2) + bit) for bit in range(33))
            at += 1 + data[at]
        if data[packet + 1] & 0x40 and data[at : at + 4] == b"\0\0\1\xe0":
            stamps = data[at + 7] >> 6
            for k, name in enumerate(("presentation time", "decoding time")[: {0: 0, 2: 1, 3: 2}[stamps]]):
                first = 8 * (at + 9 + 5 * k)
                yield from ((name, first + bit) for bit in (4, 5, 6, *range(8, 23), *range(24, 39)))


def bits_of_plain_mp4(data: bytes) -> Iterator[tuple[str, int]]:
    """The tables of durations and of time offsets, and the edit list's duration."""
    for box in (b"stts", b"ctts"):
        at = data.find(box)
        yield from ((box.decode(), 8 * (at + 12) + bit) for bit in range(64 * int.from_bytes(data[at + 8 : at + 12])))
    at = data.find(b"elst")
    yield from (("elst", 8 * (at + 12) + bit) for bit in range(32))


FILES: dict[str, tuple[Callable[[bytes], Iterator[tuple[str, int]]], dict[str, str]]] = {
    "fragments.mp4": (bits_of_mp4, {"movflags": "frag_keyframe+empty_moov"}),
    "clip.mp4": (bits_of_plain_mp4, {}),
    "clip.ts": (bits_of_ts, {}),
}
