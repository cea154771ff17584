"""Audio description: captions that are spoken in the pauses of the sound track (silero-vad finds speech)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from stap.errors import VideoError
from stap.files import one_line
from stap.programmes.extra import import_extra
from stap.programmes.timed import CaptionedVideo, TimedCaption, one_line_of

__all__ = ["Pause", "described", "placed", "read_pauses"]

_RATE = 16_000  # samples a second, and
_CHUNK = 512  # samples that silero-vad reads at a time
_SILENCE_MS = 300  # a shorter break is taken for part of what is said
_AWAY_SECONDS = 0.2  # from what is said before and after
_GAP_SECONDS = 0.05  # of the sound's own times, from which on silence is filled in


@dataclass(frozen=True)
class Pause:
    """A time in which nobody speaks, by the clock of a player."""

    start_seconds: float
    end_seconds: float


def read_pauses(path: Path, end_seconds: float) -> list[Pause]:
    """The pauses of a file until its end; all of it where there is no sound. Raises VideoError where the sound cannot be read."""
    pauses, free_from = [], 0.0
    for start, end in _speech(path):
        if start - _AWAY_SECONDS > free_from:
            pauses.append(Pause(free_from, start - _AWAY_SECONDS))
        free_from = end + _AWAY_SECONDS
    if free_from < end_seconds:
        pauses.append(Pause(free_from, end_seconds))
    return pauses


def placed(
    captions: Sequence[TimedCaption], pauses: Sequence[Pause], words_per_minute: float
) -> tuple[list[TimedCaption], list[TimedCaption]]:
    """The captions with the times in which they are spoken, and those for which there is no time.

    Each is spoken while its shot is seen, in the first pause that is long enough for its words; where none is, the longest of its
    alternatives that fits is taken. None begins before the one before it has ended.
    """
    spoken: list[TimedCaption] = []
    not_placed: list[TimedCaption] = []
    free_from, first = 0.0, 0
    for caption in captions:
        while first < len(pauses) and pauses[first].end_seconds <= caption.start_seconds:
            first += 1
        found = None
        texts = [caption.text, *sorted((text for text, _ in caption.alternatives), key=lambda text: -len(text.split()))]
        for text in texts:
            needed = 60 * len(one_line_of(text).split()) / words_per_minute
            start = _first_start(caption, pauses[first:], free_from, needed)
            if start is not None and needed:
                found = replace(caption, text=text, start_seconds=start, end_seconds=start + needed)
                break
        if found is None:
            not_placed.append(caption)
        else:
            spoken.append(found)
            free_from = found.end_seconds + _AWAY_SECONDS
    return spoken, not_placed


def _first_start(caption: TimedCaption, pauses: Sequence[Pause], free_from: float, needed: float) -> float | None:
    for pause in pauses:
        if pause.start_seconds >= caption.end_seconds:
            return None
        start = max(pause.start_seconds, caption.start_seconds, free_from)
        if start + needed <= min(pause.end_seconds, caption.end_seconds) + 1e-9:
            return start
    return None


def described(video: CaptionedVideo, words_per_minute: float) -> CaptionedVideo:
    """The video with its captions as an audio description, and a sentence on the shots that could not be placed."""
    end = max((caption.end_seconds for caption in video.captions), default=video.duration_seconds)
    try:
        pauses = read_pauses(Path(video.path), end)
    except VideoError as error:
        return replace(video, captions=(), whole=None, not_placed=video.captions, warnings=(*video.warnings, str(error)))
    spoken, not_placed = placed(video.captions, pauses, words_per_minute)
    remarks = video.warnings
    if not_placed:
        listed = ", ".join(f"{one.start_seconds:.1f}-{one.end_seconds:.1f}" for one in not_placed)
        remarks += (f"{video.path}: {len(not_placed)} shots have no pause that is long enough (seconds): {listed}.",)
    return replace(video, captions=tuple(spoken), whole=None, not_placed=tuple(not_placed), warnings=remarks)


def _speech(path: Path) -> Iterator[tuple[float, float]]:
    """When somebody begins to speak and when they end, in seconds."""
    silero = _import_silero()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", (FutureWarning, DeprecationWarning))  # of torch.jit, in which the model is written
        model = silero.load_silero_vad()
        iterator = silero.VADIterator(model, sampling_rate=_RATE, min_silence_duration_ms=_SILENCE_MS)
        begun, samples = None, 0
        for chunk in _chunks(path):
            samples += len(chunk)
            found = iterator(torch.from_numpy(chunk)) or {}
            if "start" in found:
                begun = found["start"] / _RATE
            elif "end" in found and begun is not None:
                yield begun, found["end"] / _RATE
                begun = None
        if begun is not None:
            yield begun, samples / _RATE


def _import_silero() -> Any:
    threads = torch.get_num_threads()
    try:
        return import_extra("silero_vad", "audio description")
    finally:
        torch.set_num_threads(threads)  # its import leaves PyTorch with one


def _chunks(path: Path) -> Iterator[np.ndarray]:
    """The sound from when a player begins with the file, (512,) float32 each at 16 kHz, the last filled up; none without sound."""
    waiting = np.empty(0, dtype=np.float32)
    for samples in _samples(path):
        waiting = np.concatenate([waiting, samples])
        whole = len(waiting) // _CHUNK * _CHUNK
        yield from waiting[:whole].reshape(-1, _CHUNK)
        waiting = waiting[whole:]
    if len(waiting):
        yield np.pad(waiting, (0, _CHUNK - len(waiting)))


def _samples(path: Path) -> Iterator[np.ndarray]:
    try:
        with av.open(
            f"file:{path}", "r", container_options={"protocol_whitelist": "file"}, metadata_errors="replace"
        ) as container:
            if not container.streams.audio:
                return
            stream = container.streams.audio[0]
            resampler = av.AudioResampler(format="flt", layout="mono", rate=_RATE)
            first, given = (container.start_time or 0) / av.time_base, 0
            for packet in container.demux(stream):
                for frame in _decoded(packet):
                    gap = 0.0 if frame.time is None else frame.time - first - given / _RATE
                    if gap > _GAP_SECONDS:
                        yield from _silence(round(gap * _RATE))
                        given += round(gap * _RATE)
                    for part in resampler.resample(frame):
                        samples = part.to_ndarray().reshape(-1)
                        given += len(samples)
                        yield samples
    except (av.FFmpegError, OSError, ValueError) as problem:
        raise VideoError(
            f"{path}: its sound could not be read ({one_line(problem)}). Re-encode it, or leave --describe out."
        ) from None


def _decoded(packet: Any) -> list[Any]:
    try:
        return list(packet.decode())
    except av.FFmpegError:
        return []  # a damaged packet: silence follows from the next one's time


def _silence(samples: int) -> Iterator[np.ndarray]:
    while samples > 0:
        yield np.zeros(min(samples, _RATE), dtype=np.float32)
        samples -= _RATE
