"""Writing a generated corpus: video files, captions and facts in MSR-VTT's layout.

The same seed, dials and number of videos give the same corpus, whatever the number of workers. A video file is complete or
absent and the JSON files come last, so an interrupted corpus is finished by running the same call again.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import asdict
from itertools import repeat
from pathlib import Path
from typing import Any

from stap.corpora.corpus import Corpus
from stap.corpora.loading import load_corpus
from stap.corpora.msrvtt import FACTS, FOLDERS, SPLIT_NAMES, WHOLE
from stap.errors import CorpusError
from stap.files import folder_lock, read_json, write_json
from stap.files.locks import LOCK_FILE
from stap.files.writers import is_leftover_name
from stap.recipes.settings import CorpusSettings
from stap.scenes.dials import SceneDials
from stap.scenes.grammar import references
from stap.scenes.plan import Scene, plan_scenes

__all__ = ["VERSION", "write_scenes"]

VERSION = 3  # of the generator: another version draws or words the same seed differently
SETTINGS = "scenes.json"
KINDS = ("single", "sequence", "pair")
ENCODER = {"preset": "ultrafast", "crf": "24"}  # encoding is half of the time; slower presets double it
FEW = 16  # videos that one process writes sooner than it starts others
CHUNK = 2  # videos handed to a worker at a time; an interruption waits for them
NOT_SCENES = "{out}: is there already and is not a folder of generated scenes. Choose a new or empty folder."

Progress = Callable[[int, int, str], None]


def write_scenes(
    out: Path,
    *,
    videos: int,
    seed: int,
    dials: SceneDials | None = None,
    workers: int = 2,
    on_progress: Progress | None = None,
) -> Corpus:
    """Write a corpus of `videos` scenes to the folder `out`, and read it back.

    workers: processes; the files do not depend on it.   on_progress: called with (videos done, videos, id of the latest).
    Raises CorpusError if `out` holds anything else than the (perhaps unfinished) same corpus, or cannot be written.
    """
    dials = dials or SceneDials()
    _check(videos, seed, workers)
    out = Path(out)
    scenes = plan_scenes(videos, seed, dials)
    if out.exists() and not out.is_dir():
        raise CorpusError(NOT_SCENES.format(out=out))
    try:
        with folder_lock(out, CorpusError):
            _claim(out, {"version": VERSION, "videos": videos, "seed": seed, "dials": dials.to_dict()})
            missing = [scene for scene in scenes if not _path(out, scene).exists()]
            _write_videos(out, missing, dials, workers, on_progress, videos)
            write_json(out / FACTS, {_id(scene): scene.facts() for scene in scenes}, CorpusError)
            write_json(out / WHOLE, _videodatainfo(scenes, seed, dials), CorpusError)
    except OSError as error:
        raise CorpusError(
            f"{error.filename or out}: cannot be written ({error.strerror}). Choose another folder or make room."
        ) from error
    return load_corpus(CorpusSettings(kind="msrvtt", root=out))


def _check(videos: int, seed: int, workers: int) -> None:
    for name, value, least in (("videos", videos, 3), ("seed", seed, 0), ("workers", workers, 1)):
        if value < least:
            raise CorpusError(f"{name} is {value}. Expected at least {least}.")


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Make the folder this corpus's own, or find that it already is."""
    file = out / SETTINGS
    if file.is_file():
        try:
            present = read_json(file)
        except ValueError:
            present = None
        if present != settings:
            raise CorpusError(
                f"{out}: holds other scenes ({_differences(present, settings)}). Choose another folder or empty it."
            )
    elif any(_is_strange(path) for path in out.iterdir()):
        raise CorpusError(NOT_SCENES.format(out=out))
    write_json(file, settings, CorpusError)  # before anything else: a run that was killed is known by it
    for folder in sorted(set(FOLDERS.values())):
        (out / folder).mkdir(exist_ok=True)


def _is_strange(path: Path) -> bool:
    """Whether what is in the folder is neither the lock, nor what is left of a run that was killed before it wrote its settings."""
    if path.name == LOCK_FILE or is_leftover_name(path.name):
        return False
    return path.name not in FOLDERS.values() or not path.is_dir() or any(path.iterdir())


def _differences(present: Any, wanted: dict[str, Any]) -> str:
    if not isinstance(present, dict):
        return f"{SETTINGS} cannot be read"
    flat, flat_wanted = ({**value, **value.get("dials", {}), "dials": None} for value in (present, wanted))
    names = sorted({*flat, *flat_wanted})
    parts = [f"{n}: {flat.get(n)} there, {flat_wanted.get(n)} wanted" for n in names if flat.get(n) != flat_wanted.get(n)]
    return "; ".join(parts)


def _write_videos(
    out: Path, scenes: Sequence[Scene], dials: SceneDials, workers: int, on_progress: Progress | None, total: int
) -> None:
    done = total - len(scenes)
    for video_id in _written(out, scenes, dials, workers):
        done += 1
        if on_progress:
            on_progress(done, total, video_id)


def _written(out: Path, scenes: Sequence[Scene], dials: SceneDials, workers: int) -> Iterable[str]:
    """The ids of the scenes, each once its video is written."""
    if workers == 1 or len(scenes) <= FEW:  # starting processes would take longer
        yield from (_write_video(out, scene, dials) for scene in scenes)
        return
    # Processes are spawned: forked ones may hang where the parent has threads, as PyTorch has.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_leave_signals_to_the_parent) as pool:
        try:
            yield from pool.map(_write_video, repeat(out), scenes, repeat(dials), chunksize=CHUNK)
        except BrokenExecutor as error:
            raise CorpusError(
                f"{out}: a process that wrote videos ended unexpectedly. Run the same again to continue, or with one worker. "
                "(A script must call this under `if __name__ == '__main__':`.)"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _leave_signals_to_the_parent() -> None:
    """A worker finishes the videos that it was handed, so that none stays half written."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_IGN)


def _write_video(out: Path, scene: Scene, dials: SceneDials) -> str:
    """One video file; returns its id. Runs in a worker."""
    from stap.scenes.render import render  # not needed to read a corpus
    from stap.video.writing import write_video

    write_video(_path(out, scene), render(scene, dials), dials.frame_rate, options=ENCODER)
    return _id(scene)


def _id(scene: Scene) -> str:
    return f"video{scene.number}"


def _path(out: Path, scene: Scene) -> Path:
    return out / FOLDERS[scene.split] / f"{_id(scene)}.mp4"


def _videodatainfo(scenes: Sequence[Scene], seed: int, dials: SceneDials) -> dict[str, Any]:
    published_names = {split: name for name, split in SPLIT_NAMES.items()}
    videos = [
        {
            "video_id": _id(scene),
            "id": scene.number,
            "split": published_names[scene.split],
            "category": KINDS.index(scene.kind),
            "start time": 0.0,
            "end time": dials.seconds,
        }
        for scene in scenes
    ]
    lines = [(_id(scene), reference.sentence) for scene in scenes for reference in references(scene)]
    sentences = [{"sen_id": number, "video_id": video, "caption": line} for number, (video, line) in enumerate(lines)]
    info = {"name": "scenes", "description": "generated scenes", "version": VERSION, "seed": seed, "dials": asdict(dials)}
    return {"info": info, "videos": videos, "sentences": sentences}
