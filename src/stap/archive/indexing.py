"""Videos, or captions that were made of them, into an archive: what is there is left alone, and what changed is done again.

A video is known by its content. One that was moved is found again where it is now; one that another model or plan captions, or whose path
holds another file now, is replaced. An interrupted run is finished by running it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from stap.archive.records import ArchivedShot, ArchivedVideo, Space, fingerprint_of, shot_id
from stap.archive.spaces import TEXT_SPACE, check_model, joint_space, space_of, text_vector, unit
from stap.archive.store import Archive
from stap.captioning.in_batches import BatchCaptioner
from stap.captioning.protocol import VideoCaptioner
from stap.captioning.video_caption import VideoCaption
from stap.errors import ArchiveError, StapError, VideoError
from stap.files import sha256_of_file
from stap.programmes.caption_files import CaptionPlan, Progress, caption_files
from stap.programmes.timed import CaptionedVideo, TimedCaption
from stap.recipes.settings import VideoLimits
from stap.recipes.streams import StreamSpec

__all__ = ["Indexing", "space_for"]

Elsewhere = Callable[
    [CaptionPlan, Sequence[Path], Callable[[Progress], None], Progress], Iterable[tuple[Path, CaptionedVideo | StapError]]
]

FILES_AT_A_TIME = 64  # between two writes
SHOTS_AT_A_TIME = 1000


def space_for(captioner: VideoCaptioner | None, results: Iterable[CaptionedVideo], model: str = "") -> Space:
    """The space of a new archive: the captioner's; without one that of the first result.   model: the captioner's name."""
    if captioner is not None:
        return space_of(captioner, model)
    for result in results:
        for caption in result.captions:
            if caption.answer is not None and caption.answer.embedding is not None:
                return joint_space(result.made_by.get("captioner", {}), len(caption.answer.embedding), model)
        break
    return replace(TEXT_SPACE, model=model)


class Indexing:
    """The work on one archive. Leave it by `with`, which writes what is waiting.

    counts: of videos: 'added', 'unchanged', 'moved', 'failed'.   lost: at the end, videos whose file is gone or changed.
    """

    def __init__(self, archive: Archive, report: Callable[[StapError], None], *, is_part: bool = False) -> None:
        """archive: open for writing.   report: called with a video and the reason why it is not in the archive.

        is_part: others index other videos into it at the same time, so one that is gone may be theirs by its new name: none is looked for,
        and the archive is not tidied.
        """
        self.archive, self._report, self._is_part = archive, report, is_part
        self.counts: Counter[str] = Counter()
        self.lost: list[ArchivedVideo] = []
        self._by_content = {video.content: video for video in archive.videos()}
        self._by_path = {video.path: video for video in self._by_content.values()}
        self._waiting: list[tuple[ArchivedVideo, list[ArchivedShot]]] = []

    def __enter__(self) -> Indexing:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *others: object) -> None:
        if error_type is None or issubclass(error_type, KeyboardInterrupt):
            self._write()
            if not self._is_part:
                self._end()

    def _end(self) -> None:
        videos = self.archive.videos()
        here = {video.path for video in videos if video.state == "present"}
        gone = [video for video in videos if video.state != "present"]
        self.archive.forget([video.content for video in gone if video.path in here])
        self.lost = [video for video in gone if video.path not in here]
        self.archive.optimize()

    def caption(
        self,
        paths: Sequence[Path],
        captioner: VideoCaptioner,
        plan: CaptionPlan,
        limits: VideoLimits | None = None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """Caption the videos that are not there yet by this captioner and plan, as `caption_files` does.

        elsewhere: captions all of them, given the plan, the paths, `on_progress` and the progress; then the captioner is only asked who it is.
        """
        check_model(self.archive, space_of(captioner, ""))
        if isinstance(captioner, BatchCaptioner):
            captioner.pictures = True
        plan = replace(plan, pictures=True, answers=True)
        made_by = {"captioner": dict(captioner.fingerprint), "plan": plan.to_json()}
        caption = elsewhere or partial(_here, captioner, limits)
        progress, following = Progress(len(paths)), iter(map(Path.absolute, paths))
        while some := list(islice(following, len(paths) if elsewhere else FILES_AT_A_TIME)):
            wanted = self._left_to_do(some, made_by)
            for path in set(some) - wanted.keys():
                progress.end(path, 0.0)
            for path, found in caption(plan, list(wanted), on_progress, progress):
                if isinstance(found, StapError):
                    self._fail(found)
                else:
                    self._take(wanted[path], found)
            self._write()

    def add(self, results: Iterable[CaptionedVideo]) -> None:
        """Take captions that were made already (see `stap.archive.results`). Of the videos only the content is read."""
        for result in results:
            path = Path(result.path).absolute()
            made_by = result.made_by or {"captions": [one.to_json() for one in result.captions]}
            for video in self._left_to_do([path], made_by).values():
                self._take(video, result)

    def _fail(self, error: StapError) -> None:
        self.counts["failed"] += 1
        self._report(error)

    def _left_to_do(self, paths: Iterable[Path], made_by: Mapping[str, Any]) -> dict[Path, ArchivedVideo]:
        """The videos that are not there, as they are now. The others are brought up to date."""
        plan = {name: value for name, value in made_by.get("plan", {}).items() if name != "vectors"}
        model = fingerprint_of({**made_by, "plan": plan})
        if model not in self.archive.models:
            self.archive.note(models={model: dict(made_by)})
        wanted: dict[Path, ArchivedVideo] = {}
        contents = set[str]()
        for path in paths:
            try:
                video = self._unknown(path, model)
            except OSError as error:
                self._fail(VideoError(f"{path}: cannot be read ({error.strerror or error}). Check the path."))
                continue
            if video is not None and video.content not in contents:
                wanted[path] = video
                contents.add(video.content)
        return wanted

    def _unknown(self, path: Path, model: str) -> ArchivedVideo | None:
        """The file at the path; None where all of it is in the archive."""
        known = self._by_path.get(path)
        if known and known.model == model and known.state == "present":
            self.counts["unchanged"] += 1
            return None
        status = path.stat()
        video = ArchivedVideo(sha256_of_file(path), path, status.st_size, status.st_mtime_ns, 0.0, model)
        same = self._by_content.get(video.content)
        if same is None or same.model != model:
            return video
        is_elsewhere = same.path != path and same.state == "present"  # a copy, of which one is enough
        if not is_elsewhere:
            self.archive.move(video)
            self._remember(replace(video, duration_seconds=same.duration_seconds))
        self.counts["unchanged" if is_elsewhere or same.path == path else "moved"] += 1
        return None

    def _take(self, video: ArchivedVideo, result: CaptionedVideo) -> None:
        video = replace(video, duration_seconds=result.duration_seconds)
        try:
            shots = [_shot(video, one, result, self._vector(one, result)) for one in result.captions]
        except StapError as error:
            self._fail(error)
            return
        self._waiting.append((video, shots))
        self._remember(video)
        self.counts["added"] += 1
        if len(self._waiting) >= FILES_AT_A_TIME or sum(len(shots) for _, shots in self._waiting) >= SHOTS_AT_A_TIME:
            self._write()

    def _vector(self, caption: TimedCaption, result: CaptionedVideo) -> np.ndarray:
        if self.archive.space.kind == "text":
            return text_vector(caption.text)
        if caption.answer is None or caption.answer.embedding is None:
            raise ArchiveError(
                f"{result.path}: its captions have no vectors, and this archive holds those of a model. Caption it with --vectors, or index "
                "the video itself."
            )
        vector = caption.answer.embedding.numpy()
        check_model(self.archive, joint_space(result.made_by.get("captioner", {}), len(vector)))
        return unit(vector)

    def _remember(self, video: ArchivedVideo) -> None:
        self._by_content[video.content] = self._by_path[video.path] = video

    def _write(self) -> None:
        folders = dict.fromkeys(video.path.parent for video, _ in self._waiting)
        new = [one for one in folders if not any(one.is_relative_to(root) for root in self.archive.roots)]
        if new:
            self.archive.note(roots=new)
        self.archive.add(self._waiting)
        self._waiting = []


def _here(
    captioner: VideoCaptioner,
    limits: VideoLimits | None,
    plan: CaptionPlan,
    paths: Sequence[Path],
    on_progress: Callable[[Progress], None],
    progress: Progress,
) -> Iterable[tuple[Path, CaptionedVideo | StapError]]:
    return caption_files(paths, captioner, plan, limits, on_progress, progress)


def _shot(video: ArchivedVideo, caption: TimedCaption, whole: CaptionedVideo, vector: np.ndarray) -> ArchivedShot:
    streams = whole.made_by.get("captioner", {}).get("streams", {})
    return ArchivedShot(
        shot_id(video.content, caption.start_seconds),
        video.path,
        video.content,
        caption.start_seconds,
        caption.end_seconds,
        caption.text,
        caption.words,
        {} if caption.answer is None else _attention(caption.answer, streams, is_whole=whole.whole is not None),
        caption.score,
        caption.confidence,
        caption.frame_seconds,
        video.model,
        fingerprint_of(streams) if streams else "",
        picture=caption.picture,
        embedding=vector,
    )


def _attention(answer: VideoCaption, streams: Mapping[str, Any], is_whole: bool) -> dict[str, Any]:
    """See `ArchivedShot.attention`."""
    if answer.attention is None or not len(answer.attention):
        return {}
    frames = answer.attention.numpy()
    found: dict[str, Any] = {"frames": [_bytes(row) for row in frames]}
    stream = answer.stream or ""
    grid = StreamSpec.from_fingerprint(stream, streams[stream]) if stream in streams else None
    if answer.pooling_weights is not None and grid is not None and grid.grid is not None and len(grid.grid) == 2:
        crop = grid.crop or 1.0
        places = answer.pooling_weights.numpy()[frames.argmax(axis=1)]
        found |= {"rows": grid.grid[0], "columns": grid.grid[1], "places": [_bytes(row) for row in places]}
        found |= {"crop": crop, "picture_crop": 1.0 if is_whole else crop}
    return found


def _bytes(weights: np.ndarray) -> list[int]:
    largest = float(weights.max())
    return [round(255 * float(weight) / largest) for weight in weights] if largest > 0 else [0] * len(weights)
