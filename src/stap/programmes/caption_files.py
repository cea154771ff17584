"""Captions of many videos, long and short: files are decoded in threads, and their shots share batches of the networks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any, Literal

from stap.captioning.protocol import VideoCaptioner
from stap.captioning.video_caption import VideoCaption
from stap.errors import StapError, VideoError
from stap.files import unforeseen
from stap.programmes.shots import SampledShot, Shot, ShotRules, Shots
from stap.programmes.timed import CaptionedVideo, TimedCaption, marked, merged, timed_caption, without_uncertain
from stap.recipes.settings import VideoLimits
from stap.video.clips import start_and_duration
from stap.video.threads import available_cores, hand_over

if TYPE_CHECKING:
    from stap.decoding.draw import Draws
    from stap.video import Frames

__all__ = ["WHOLE_SECONDS", "CaptionPlan", "Progress", "caption_files"]

WHOLE_SECONDS = 60.0  # a longer video is captioned shot by shot, unless it is said otherwise; clips of the corpora are shorter
SHOTS_PER_BATCH = 16
_SHOTS_AHEAD = 16  # decoded before the networks take them: bounds the memory


@dataclass(frozen=True)
class CaptionPlan:
    """How videos are captioned.

    whole: each as one clip, or each shot by shot; None: by its length.   beam_width, draws: as VideoCaptioner takes them.
    merge: neighbours that say the same become one caption.   least_confidence: below it a caption is marked or left out.
    alternatives: how many further captions are kept.   jobs: files that are decoded at the same time.   pictures: a key frame of each
    shot is kept.   answers: what the captioner itself gave is kept, with its vector in the joint space.   words_per_minute: captions become an audio description, spoken so fast in the pauses of the sound.
    """

    rules: ShotRules = field(default_factory=ShotRules)
    whole: bool | None = None
    beam_width: int | None = None
    draws: Draws | None = None
    merge: bool = False
    least_confidence: float = 0.0
    below: Literal["mark", "leave-out"] = "mark"
    alternatives: int = 0
    jobs: int = 2
    pictures: bool = False
    answers: bool = False
    words_per_minute: float | None = None

    def to_json(self) -> dict[str, Any]:
        """What the captions depend on."""
        return {
            "shots": "none" if self.whole else asdict(self.rules),
            "whole_up_to_seconds": WHOLE_SECONDS if self.whole is None else None,
            "beam_width": self.beam_width,
            "draws": None if self.draws is None else asdict(self.draws),
            "merge": self.merge,
            "least_confidence": self.least_confidence,
            "below": self.below,
            "alternatives": self.alternatives,
            "words_per_minute": self.words_per_minute,
            **({"vectors": True} if self.answers else {}),
        }

    def timed(self, shot: Shot, caption: VideoCaption, frames: Frames | None = None) -> TimedCaption:
        """The caption of a shot, with what the plan keeps of it.   frames: that were seen; None: the caption brings its picture."""
        said = timed_caption(shot, caption, frames if self.pictures else None)
        return replace(said, answer=caption if self.answers else None)

    def chosen(self, captions: Sequence[TimedCaption]) -> tuple[TimedCaption, ...]:
        """Captions of shots as the plan wants them."""
        most = None if self.words_per_minute else self.alternatives  # a shorter one may fit into a pause
        kept = [replace(caption, alternatives=caption.alternatives[:most]) for caption in captions]
        if self.merge:
            kept = merged(kept)
        if self.least_confidence > 0:
            kept = (marked if self.below == "mark" else without_uncertain)(kept, self.least_confidence)
        return tuple(kept)

    def finished(self, video: CaptionedVideo) -> CaptionedVideo:
        """The video with its captions as an audio description, if the plan wants one."""
        if self.words_per_minute is None:
            return video
        from stap.programmes.description import described

        return described(video, self.words_per_minute)


@dataclass
class Progress:
    """How far the work is: files and shots that are done, the seconds of video that were read, and the part of all work, 0 to 1."""

    files: int
    files_done: int = 0
    shots: int = 0
    seconds_done: float = 0.0
    seconds_read: dict[Path, float] = field(default_factory=dict)  # of the files that are being read
    part_read: dict[Path, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Of video that were read."""
        return self.seconds_done + sum(self.seconds_read.values())

    @property
    def part(self) -> float:
        """Of the files."""
        return (self.files_done + sum(self.part_read.values())) / max(1, self.files)

    def read(self, path: Path, seconds: float, duration: float) -> None:
        """So much of a file is read."""
        self.seconds_read[path], self.part_read[path] = seconds, min(1.0, seconds / duration) if duration > 0 else 0.0

    def end(self, path: Path, duration: float) -> None:
        """A file is done."""
        self.seconds_read.pop(path, None), self.part_read.pop(path, None)
        self.files_done, self.seconds_done = self.files_done + 1, self.seconds_done + duration


@dataclass
class _Opened:
    """A file that is being read: what its thread has found so far."""

    path: Path
    captions: list[TimedCaption] = field(default_factory=list)
    shots: Shots | None = None
    warnings: list[str] = field(default_factory=list)


_Message = tuple[_Opened, "SampledShot | StapError | None"]  # None: the file is read


def caption_files(
    paths: Sequence[Path],
    captioner: VideoCaptioner,
    plan: CaptionPlan,
    limits: VideoLimits | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    progress: Progress | None = None,
) -> Iterator[tuple[Path, CaptionedVideo | StapError]]:
    """The captions of each video, or the reason why it has none, each as soon as it is done.

    A video that is captioned as one clip has a single caption and `whole`. Raises FeatureError where shots are wanted of a model that
    reads files only.   progress: of a larger work, of which this is a part.
    """
    progress = progress or Progress(len(paths))
    by_shots: list[Path] = []
    for path, found in _caption_whole(paths, captioner, plan, limits, by_shots.append):
        progress.end(path, found.duration_seconds if isinstance(found, CaptionedVideo) else 0.0)
        on_progress(progress)
        yield path, found
    if by_shots:
        yield from _ShotCaptioning(captioner, plan, limits, progress, on_progress).run(by_shots)


def _listed(path: Path, limits: VideoLimits | None) -> Shot | None:
    """The whole video as one shot; None of a file that cannot be read, of which the captioner says why."""
    try:
        start, duration = start_and_duration(path, limits)
    except StapError:
        return None
    return Shot(1, start, start + duration)


def _is_whole(length: Shot | None, plan: CaptionPlan) -> bool:
    if plan.whole is not None:
        return plan.whole
    return length is None or length.end_seconds - length.start_seconds <= WHOLE_SECONDS


def _caption_whole(
    paths: Sequence[Path],
    captioner: VideoCaptioner,
    plan: CaptionPlan,
    limits: VideoLimits | None,
    on_long: Callable[[Path], None],
) -> Iterator[tuple[Path, CaptionedVideo | StapError]]:
    """Each video that is captioned as one clip, in order.   on_long: called with the others."""
    failed: list[tuple[Path, StapError]] = []
    lengths: dict[Path, Shot | None] = {}
    made_by = {"captioner": dict(captioner.fingerprint), "plan": plan.to_json()}

    def short() -> Iterator[Path]:  # files are looked at as they are needed: the first caption of a large folder comes soon
        for path in paths:
            lengths[path] = _listed(path, limits)
            if _is_whole(lengths[path], plan):
                yield path
            else:
                on_long(path)

    captions = captioner.caption_many(
        short(),
        beam_width=plan.beam_width,
        draws=plan.draws,
        on_error=lambda path, error: failed.append((path, error)),
    )
    for caption in captions:
        yield from failed
        failed.clear()
        shot = lengths[caption.path] or Shot(1, 0.0, 0.0)
        duration = shot.end_seconds - shot.start_seconds
        said = plan.chosen([plan.timed(shot, caption)])
        whole = replace(caption, alternatives=caption.alternatives[: plan.alternatives])
        video = CaptionedVideo(caption.path, duration, said, made_by, caption.warnings, whole)
        yield caption.path, plan.finished(video)
    yield from failed


class _ShotCaptioning:
    """Threads that decode a file each, and the networks that caption the shots which they find."""

    def __init__(
        self,
        captioner: VideoCaptioner,
        plan: CaptionPlan,
        limits: VideoLimits | None,
        progress: Progress,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._captioner, self._plan, self._limits = captioner, plan, limits
        self._progress, self._on_progress = progress, on_progress
        self._samplings = captioner.samplings
        self._made_by = {"captioner": dict(captioner.fingerprint), "plan": plan.to_json()}
        self._found: Queue[_Message] = Queue(_SHOTS_AHEAD)
        self._is_over = threading.Event()

    def run(self, paths: Sequence[Path]) -> Iterator[tuple[Path, CaptionedVideo | StapError]]:
        """The captions of each video, as soon as it is done."""
        left = len(paths)
        pool = ThreadPoolExecutor(self._plan.jobs, thread_name_prefix="shots")
        try:
            for path in paths:
                pool.submit(self._read, _Opened(path))
            while left:
                messages = self._waiting()
                self._caption([(file, shot) for file, shot in messages if isinstance(shot, SampledShot)])
                for file, end in messages:
                    if not isinstance(end, SampledShot):
                        left -= 1
                        yield file.path, self._ended(file) if end is None else end
                self._on_progress(self._progress)
        finally:
            self._is_over.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _waiting(self) -> list[_Message]:
        """What has been found and not captioned yet: at least one message, at most a batch."""
        messages = [self._found.get()]
        while len(messages) < SHOTS_PER_BATCH:
            try:
                messages.append(self._found.get_nowait())
            except Empty:
                break
        return messages

    def _read(self, file: _Opened) -> None:
        """Runs in a thread: find the shots of a file."""
        end: StapError | None = None
        try:
            threads = max(1, available_cores() // self._plan.jobs)
            file.shots = Shots(file.path, self._samplings, self._plan.rules, threads=threads, limits=self._limits)
            for shot in file.shots:
                hand_over(self._found, (file, shot), self._is_over)
        except StapError as error:
            end = error
        except Exception as error:  # a decoder's unforeseen failure on one file must not stop ten thousand others
            end = VideoError(f"{unforeseen(file.path, error)}. Check that it plays, or get it again.")
        hand_over(self._found, (file, end), self._is_over)

    def _caption(self, shots: Sequence[tuple[_Opened, SampledShot]]) -> None:
        clips = [shot.as_clip(file.path) for file, shot in shots]
        said = self._captioner.caption_frames(clips, beam_width=self._plan.beam_width, draws=self._plan.draws)
        for (file, sampled), caption in zip(shots, said, strict=True):
            assert file.shots is not None, "it found this shot"
            self._progress.shots += 1
            self._progress.read(file.path, file.shots.seconds_read, file.shots.duration_seconds)
            if isinstance(caption, VideoCaption):
                file.captions.append(self._plan.timed(sampled.shot, caption, sampled.frames[0]))
                file.warnings += [one for one in caption.warnings if one not in file.warnings]
            else:
                at = f"from {sampled.shot.start_seconds:.3f} to {sampled.shot.end_seconds:.3f} seconds"
                file.warnings.append(f"the shot {at} has no caption: {caption}")

    def _ended(self, file: _Opened) -> CaptionedVideo:
        assert file.shots is not None, "it was read"
        self._progress.end(file.path, file.shots.duration_seconds)
        warnings = tuple(dict.fromkeys((*file.shots.warnings, *file.warnings)))
        said = self._plan.chosen(file.captions)
        video = CaptionedVideo(file.path, file.shots.duration_seconds, said, self._made_by, warnings)
        return self._plan.finished(video)
