"""Captions of a source that goes on: a file at its own pace, standard input, or any address that FFmpeg opens."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from queue import Queue
from typing import Any, BinaryIO, TypeVar

import av
from av.container.input import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from stap.captioning.captioner import Captioner
from stap.captioning.protocol import VideoCaptioner
from stap.captioning.streamed import StreamedShot, most_frames
from stap.captioning.video_caption import VideoCaption
from stap.errors import ConfigError, StapError, VideoError
from stap.files import one_line
from stap.programmes.caption_files import CaptionPlan
from stap.programmes.detectors import build_detector
from stap.programmes.shot_frames import ShotFrames
from stap.programmes.shots import THUMBNAIL_SIDE, Clock, Keeper, SampledShot, Shot, ShotCutter, ShotRules, find_shots
from stap.programmes.timed import TimedCaption, timed_caption
from stap.recipes.settings import VideoLimits
from stap.video.budget import Budget
from stap.video.clips import FrameView
from stap.video.picture import PictureMaker, thumbnail_maker
from stap.video.sampling import Sampling
from stap.video.threads import hand_over

__all__ = ["LiveSource", "caption_live"]

_SHOTS_AHEAD = 4  # found and not captioned yet: where captions take longer than the shots, reading waits
_OPEN_SECONDS = 20.0
_USUAL_SECONDS = Fraction(1, 25)  # of a frame, until two have come
Found = TypeVar("Found")


class LiveSource:
    """The frames of a source as they come, and the shots in them. Nothing is known ahead, and nothing is kept of what has gone by.

    warnings: sentences about what was wrong, all known after the last shot.
    """

    def __init__(self, source: str | BinaryIO, limits: VideoLimits | None = None, speed: float = 1.0) -> None:
        """source: the name of a file, an address, or a stream of bytes.   speed: of a file, times its own; 0 for as fast as it is read."""
        self.name = source if isinstance(source, str) else "standard input"
        self._source, self._budget = source, Budget(Path(self.name), limits)
        self._speed = speed if isinstance(source, str) and Path(source).is_file() else 0.0
        self._end = 0
        self.warnings: list[str] = []

    def shots(self, samplings: Sequence[Sampling], plan: CaptionPlan) -> Iterator[SampledShot]:
        """The shots, each as soon as it has ended. Raises VideoError where the source gives no picture."""
        sides = {one.short_side for one in samplings}
        for shot, frames, end in self.kept(sides, plan.rules, lambda clock: ShotFrames(clock.tick_seconds, samplings)):
            yield SampledShot(shot, frames.sampled(end))

    def kept(
        self, sides: set[int | None], rules: ShotRules, new_shot: Callable[[Clock], Keeper]
    ) -> Iterator[tuple[Shot, Keeper, int]]:
        """The same with what `new_shot` keeps of each; see `find_shots`.   sides: of the pictures that it asks for."""
        with self._opened() as container:
            if not container.streams.video:
                raise VideoError(f"{self.name}: there are no moving pictures in this source. Give one with a picture stream.")
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"  # threads that take a frame each would hold frames back
            assert stream.time_base is not None, "FFmpeg gives every input stream a time base"
            frames = self._views(container, stream, sides)
            first = next(frames, None)
            if first is None:
                raise VideoError(f"{self.name}: no frame could be decoded (codec '{stream.codec_context.name}').")
            cutter = ShotCutter(build_detector(rules.detector, rules.window_seconds), rules)
            clock = Clock(first[0], stream.time_base)
            yield from find_shots(_chained(first, frames), clock, cutter, lambda: new_shot(clock), lambda: self._end)

    def _opened(self) -> InputContainer:
        try:
            return av.open(self._source, "r", timeout=(_OPEN_SECONDS, None), metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as problem:
            reason = one_line(problem)
            raise VideoError(
                f"{self.name}: the source could not be opened ({reason}). Check the address, and that it sends."
            ) from None

    def _views(self, container: InputContainer, stream: VideoStream, sides: set[int | None]) -> Iterator[tuple[int, FrameView]]:
        makers: dict[int | None, PictureMaker] = {}
        make_thumbnail, begun, first = thumbnail_maker(THUMBNAIL_SIDE), time.monotonic(), None
        tick = float(stream.time_base or 1)
        for pts, frame in _in_time(self._decoded(container, stream), stream):
            if first is None:
                first = pts
                aspect = stream.sample_aspect_ratio or Fraction(1)
                makers = {side: PictureMaker(side, aspect, self._budget, frame) for side in sides}
            self._end = pts + max(1, frame.duration or round(_USUAL_SECONDS / Fraction(stream.time_base or 1)))
            if self._speed:
                time.sleep(max(0.0, begun + (pts - first) * tick / self._speed - time.monotonic()))
            yield pts, _view(frame, makers, make_thumbnail(frame))

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """The frames that decode, until the source ends, or cannot be read on."""
        faults, packets = 0, container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as problem:
                self.warnings.append(f"{self.name}: the source could not be read on ({one_line(problem)}).")
                break
            if packet is None:
                break
            try:
                yield from packet.decode()
            except av.FFmpegError:
                faults += 1
        if faults:
            self.warnings.append(f"{self.name}: {faults} packets could not be decoded.")


def _view(frame: VideoFrame, makers: dict[int | None, PictureMaker], thumbnail: Any) -> FrameView:
    return FrameView(thumbnail, lambda side: makers[side](frame), sum(plane.buffer_size for plane in frame.planes))


def _chained(first: tuple[int, FrameView], rest: Iterator[tuple[int, FrameView]]) -> Iterator[tuple[int, FrameView]]:
    yield first
    yield from rest


def _in_time(frames: Iterator[VideoFrame], stream: VideoStream) -> Iterator[tuple[int, VideoFrame]]:
    """Frames with times that go on: where the clock stops or goes back, as where a sender starts again, the usual step is taken."""
    latest, step, offset = None, max(1, round(_USUAL_SECONDS / Fraction(stream.time_base or 1))), 0
    for frame in frames:
        pts = (frame.pts or 0) + offset if frame.pts is not None or latest is None else latest + step
        if latest is not None and pts <= latest:
            offset += latest + step - pts
            pts = latest + step
        elif latest is not None:
            step = min(pts - latest, 10 * step)
        latest = pts
        yield pts, frame


class _ReadWhileItComes:
    """A shot that L-STAP reads at an even rate as it comes."""

    def __init__(self, clock: Clock, captioner: Captioner, frame_rate: float) -> None:
        self._clock, self._rate, self._side = clock, frame_rate, captioner.extractor.short_side
        self.shot, self._most, self._pts = StreamedShot(captioner), most_frames(captioner), array("q")

    @property
    def start(self) -> int:
        """When the first frame appears, in ticks."""
        return self._pts[0]

    def add(self, pts: int, view: FrameView) -> None:
        """Read the frame, if it is time for one."""
        if not self._pts:
            self._pts.append(pts)
        seconds = float((pts - self.start) * self._clock.tick_seconds)
        if seconds * self._rate >= len(self.shot) - 1e-6 and len(self.shot) != self._most:
            self.shot.read(view.picture(self._side), seconds)


def caption_live(
    source: LiveSource, captioner: VideoCaptioner, plan: CaptionPlan, frame_rate: float | None = None
) -> Iterator[TimedCaption]:
    """The caption of each shot, as soon as the shot has ended and is captioned. Raises VideoError as `LiveSource.shots` does.

    frame_rate: at which L-STAP reads while the shot comes, so that no frame is kept; a model that has learned a vector for each frame of
    training reads no more of a shot, and longer ones are divided. None: the captioner sees the frames of the shot that it would see in a
    file. Raises ConfigError for another model with a frame rate.

    A thread reads meanwhile, so that no frame is missed while the networks are at work.
    """
    if frame_rate is not None:
        yield from _caption_streamed(source, captioner, plan, frame_rate)
        return
    samplings = captioner.samplings
    with _read_ahead(source, lambda: source.shots(samplings, plan)) as shots:
        for sampled in shots:
            [said] = captioner.caption_frames(
                [sampled.as_clip(Path(source.name))], beam_width=plan.beam_width, draws=plan.draws
            )
            if isinstance(said, VideoCaption):
                yield from plan.chosen([timed_caption(sampled.shot, said)])
            else:
                source.warnings.append(f"the shot at {sampled.shot.start_seconds:.3f} seconds has no caption: {said}")


def _caption_streamed(
    source: LiveSource, captioner: VideoCaptioner, plan: CaptionPlan, frame_rate: float
) -> Iterator[TimedCaption]:
    if not isinstance(captioner, Captioner) or plan.draws is not None:
        raise ConfigError("--live-rate: expected an L-STAP, and no --sample. Leave --live-rate out.")
    rules, most = plan.rules, most_frames(captioner)
    if most is not None:
        rules = replace(rules, max_seconds=min(rules.max_seconds, most / frame_rate))
    StreamedShot(captioner)  # raises for a model that cannot
    sides: set[int | None] = {captioner.extractor.short_side}
    with _read_ahead(
        source, lambda: source.kept(sides, rules, lambda clock: _ReadWhileItComes(clock, captioner, frame_rate))
    ) as shots:
        for shot, read, _ in shots:
            said = read.shot.caption(Path(source.name), plan.beam_width)
            yield from plan.chosen([timed_caption(shot, said)])


@contextmanager
def _read_ahead(source: LiveSource, find: Callable[[], Iterator[Found]]) -> Iterator[Iterator[Found]]:
    """What a thread finds in the source, a few ahead. Its errors are raised here."""
    found: Queue[Found | StapError | None] = Queue(_SHOTS_AHEAD)
    is_over = threading.Event()

    def read() -> None:
        end: StapError | None = None
        try:
            for shot in find():
                hand_over(found, shot, is_over)
        except StapError as error:
            end = error
        except Exception as error:  # a decoder's unforeseen failure
            end = VideoError(f"{source.name}: the source could not be read on ({one_line(error)}).")
        hand_over(found, end, is_over)

    def taken() -> Iterator[Found]:
        while (item := found.get()) is not None:
            if isinstance(item, StapError):
                raise item
            yield item

    threading.Thread(target=read, name="live", daemon=True).start()
    try:
        yield taken()
    finally:
        is_over.set()
