"""Damaged videos of many codecs and containers, each in a process of 2 GiB and 20 seconds: frames or a VideoError, nothing else."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from tests.torture.outcome import Outcome

from stap.errors import VideoError
from stap.recipes.settings import VideoLimits
from stap.video import isolated, sample_frames
from stap.video.clips import FrameStream

CASES = 3000
# The process has 2 GiB for itself (stap.video.worker) and these few MiB for pictures.
LIMITS = VideoLimits(isolate=True, seconds=20, memory_mib=16)
# What the process that dies or hangs is called in the error.
BROKEN = ("decoding it ended the process", "reading it takes more than")

X264 = {"preset": "ultrafast", "g": "8", "bf": "2", "b-adapt": "0"}
KINDS: dict[str, tuple[str, str, dict[str, str]]] = {
    "clip.mp4": ("libx264", "yuv420p", X264),
    "fragments.mp4": ("libx264", "yuv420p", X264),
    "clip.mkv": ("libx265", "yuv420p", {"x265-params": "log-level=none:keyint=8:bframes=2", "preset": "ultrafast"}),
    "clip.ts": ("libx264", "yuv420p", X264),
    "clip.264": ("libx264", "yuv420p", X264),
    "clip.flv": ("flv", "yuv420p", {}),
    "vp8.webm": ("libvpx", "yuv420p", {"deadline": "realtime", "cpu-used": "8", "g": "8"}),
    "vp9.webm": ("libvpx-vp9", "yuv420p", {"deadline": "realtime", "cpu-used": "8", "g": "8"}),
    "av1.mkv": ("libsvtav1", "yuv420p", {"preset": "12", "svtav1-params": "lp=1"}),
    "xvid.avi": ("mpeg4", "yuv420p", {"bf": "2", "g": "8"}),
    "msmpeg4.avi": ("msmpeg4", "yuv420p", {}),
    "mjpeg.avi": ("mjpeg", "yuvj420p", {}),
    "huffyuv.avi": ("huffyuv", "yuv422p", {}),
    "clip.mpg": ("mpeg2video", "yuv420p", {"bf": "2", "g": "8"}),
    "mpeg1.mpg": ("mpeg1video", "yuv420p", {"g": "8"}),
    "clip.mxf": ("mpeg2video", "yuv420p", {"g": "8"}),
    "clip.wmv": ("wmv2", "yuv420p", {}),
    "wmv1.asf": ("wmv1", "yuv420p", {}),
    "clip.3gp": ("h263", "yuv420p", {}),
    "clip.rm": ("rv10", "yuv420p", {}),
    "prores.mov": ("prores_ks", "yuv422p10le", {}),
    "qtrle.mov": ("qtrle", "rgb24", {}),
    "ffv1.mkv": ("ffv1", "yuv420p", {}),
    "clip.nut": ("mpeg4", "yuv420p", {}),
    "clip.gif": ("gif", "rgb8", {}),
    "clip.apng": ("apng", "rgb24", {}),
    "clip.y4m": ("wrapped_avframe", "yuv420p", {}),
}


def run(folder: Path, share: float, seed: int) -> Outcome:
    """Damage a clip of each kind in turn and sample it, or read every fourth as a stream."""
    outcome, draw = Outcome(), random.Random(seed)
    clips = {name: whole for name in KINDS if (whole := encoded(folder / name))}
    outcome.counts["codecs and containers"] = len(clips)
    for k in range(max(1, round(share * CASES))):
        name = list(clips)[k % len(clips)]
        how, damaged = damage(clips[name], draw)
        path = folder / f"damaged {name}"
        path.write_bytes(damaged)
        what, problem = outcome_of(path, is_stream=k % 4 == 3)
        outcome.counts[what] += 1
        if problem:
            outcome.failures.append(f"case {k} of seed {seed} ({name}, {how}): {problem}")
    isolated.end_idle()
    return outcome


def outcome_of(path: Path, is_stream: bool) -> tuple[str, str | None]:
    """What comes of a file, and what is wrong with that, if anything."""
    try:
        if is_stream:
            stream = FrameStream(path, 12, short_side=48, limits=LIMITS)
            pictures, warnings = list(stream), stream.warnings
        else:
            frames = sample_frames(path, 8, short_side=48, limits=LIMITS)
            pictures, warnings = list(frames.rgb_uint8), frames.warnings
    except VideoError as error:
        return "refused", str(error) if any(words in str(error) for words in BROKEN) else None
    except Exception as error:
        return "raised", f"{type(error).__name__}: {error}"
    if not pictures or any(picture.shape != pictures[0].shape for picture in pictures):
        return "no pictures", f"{len(pictures)} pictures of different shapes"
    return ("frames with a warning" if warnings else "frames"), None


def encoded(path: Path) -> bytes:
    """A clip of 24 frames; nothing where this build of FFmpeg has no such encoder."""
    os.environ["SVT_LOG"] = "0"  # SVT-AV1 prints its settings
    codec, pix_fmt, options = KINDS[path.name]
    if codec not in av.codecs_available:
        return b""
    muxing = {"movflags": "frag_keyframe+empty_moov"} if path.stem == "fragments" else {}
    noise = np.random.default_rng(0).normal(0, 6, (96, 128, 3))
    with av.open(str(path), "w", container_options=muxing) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 96, pix_fmt
        stream.codec_context.thread_count = 1
        for k in range(24):
            picture = np.clip(60 + 5 * k + np.roll(noise, k, axis=1), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


def damage(whole: bytes, draw: random.Random) -> tuple[str, bytes]:
    """What is done to the bytes, and what comes of it."""
    how = draw.choice(DAMAGES)
    data = bytearray(whole)
    for _ in range(draw.choice((1, 1, 2, 4))):
        how(data, draw)
    return how.__name__, bytes(data)


def flipped_bits(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 2, 8, 64))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def flipped_header(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 2, 8))):
        data[draw.randrange(min(len(data), 1024))] ^= 1 << draw.randrange(8)


def cut(data: bytearray, draw: random.Random) -> None:
    del data[max(1, draw.randrange(len(data))) :]


def lost_part(data: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(data))
    del data[at : at + draw.choice((1, 16, 300, 5000))]
    data[:0] = b"" if data else b"\0"


def inserted(data: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(data))
    data[at:at] = draw.randbytes(draw.choice((1, 4, 188, 3000)))


def noise(data: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(data))
    size = min(len(data) - at, draw.choice((4, 100, 2000)))
    data[at : at + size] = draw.randbytes(size)


def extreme_number(data: bytearray, draw: random.Random) -> None:
    at = draw.randrange(min(len(data), 2048))
    size = draw.choice((1, 2, 4, 8))
    data[at : at + size] = draw.choice((b"\xff", b"\0", b"\x7f")) * size


def repeated_part(data: bytearray, draw: random.Random) -> None:
    at, size = draw.randrange(len(data)), draw.choice((16, 188, 4000))
    data[at:at] = data[at : at + size]


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flipped_bits,
    flipped_header,
    cut,
    lost_part,
    inserted,
    noise,
    extreme_number,
    repeated_part,
)
