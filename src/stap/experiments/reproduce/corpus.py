"""The corpus of a reproduction: checked once as `stap prepare` does, without the clips that have neither a video nor features."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stap.corpora.check import check_corpus, no_video
from stap.corpora.corpus import SPLITS, Annotations, Clip, Corpus
from stap.corpora.files import find_video_files
from stap.corpora.loading import load_annotations
from stap.corpora.problems import Problem, Problems, listed
from stap.errors import CorpusError, FeatureError
from stap.features.imported import open_imported
from stap.features.store import EXTRACTOR_FILE, FeatureStore
from stap.files import read_json, write_json
from stap.recipes.settings import Recipe

__all__ = ["CHECK_FILE", "CheckedCorpus", "clips_digest", "existing_stores", "find_clips", "limited", "prepare_corpus"]

CHECK_FILE = "check.json"
ABOUT_VIDEOS = frozenset({"no video", "video", "same video"})  # these clips are left out, and the others go on
SHOWN = 5

OnProgress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class CheckedCorpus:
    """A corpus that can be trained on.

    corpus: the clips with a video file or stored features, at most as many as wanted.   in_all: clips of each split in the caption files.
    problems: findings about single videos, for people.
    """

    corpus: Corpus
    in_all: Mapping[str, int]
    problems: tuple[str, ...]


def existing_stores(recipes: Iterable[Recipe]) -> tuple[FeatureStore, ...]:
    """The stores of these recipes that exist: imported ones, and all that extraction has filled before."""
    stores: dict[Path, FeatureStore] = {}
    for recipe in recipes:
        for file in sorted(recipe.features.store.glob(f"*/{EXTRACTOR_FILE}")):
            with contextlib.suppress(FeatureError):  # whoever reads the store says what is wrong with it
                stores[file.parent] = FeatureStore.at(file.parent)
        for stream, folder in recipe.features.imported.items():
            with contextlib.suppress(FeatureError):
                store = open_imported(folder, stream)
                stores[store.folder] = store
    return tuple(stores.values())


def find_clips(recipe: Recipe, stores: Sequence[FeatureStore] = ()) -> tuple[Annotations, list[Clip], list[Clip]]:
    """What the caption files say; the clips with a video file or features in a store; and the others.

    Nothing is decoded. Raises CorpusError if the captions cannot be read.
    """
    annotations = load_annotations(recipe.corpus, Problems())
    found, missing = find_video_files(annotations.clips)
    path = {clip.id: clip.path for clip in found}
    unusable = {clip.id for clip in missing if not any(clip.id in store for store in stores)}
    usable = [replace(clip, path=path.get(clip.id, clip.path)) for clip in annotations.clips if clip.id not in unusable]
    return annotations, usable, [clip for clip in missing if clip.id in unusable]


def prepare_corpus(
    recipe: Recipe,
    out: Path,
    *,
    stores: Sequence[FeatureStore] = (),
    limit: int | None = None,
    other_counts: bool = False,
    say: Callable[[str], None] = print,
    on_progress: OnProgress | None = None,
) -> CheckedCorpus:
    """Check the corpus, or find that these very files were checked, and read it.

    stores: a clip whose features are in one of them needs no video file.   limit: of the videos; their files are then not decoded
    for the check. Raises CorpusError for an error that is not about single videos, or if no clip is left.
    """
    annotations, usable, missing = find_clips(recipe, stores)
    mark = _mark(recipe, usable, decoded=limit is None)
    problems = _found_before(out / CHECK_FILE, mark)
    if problems is None:
        problems = _check(recipe, frames=0 if limit else 3, on_progress=on_progress)
        content = {"of": mark, "problems": [vars(problem) for problem in problems]}
        write_json(out / CHECK_FILE, content)
    missing_files = {no_video(clip) for clip in missing}
    problems = tuple(problem for problem in problems if problem.kind != "no video" or problem in missing_files)
    _refuse(problems, other_counts, out / CHECK_FILE)
    videos = [problem.sentence for problem in problems if problem.kind in ABOUT_VIDEOS and problem.is_error]
    for sentence in videos[:SHOWN]:
        say(f"  {sentence}")
    if len(videos) > SHOWN:
        say(f"  and {len(videos) - SHOWN:,} more; {out / CHECK_FILE} lists them all")
    if not usable:
        folders = sorted({str(clip.path.parent) for clip in missing})
        raise CorpusError(
            f"{annotations.name}: none of {len(missing):,} clips has a video file or stored features. Expected files in {listed(folders)}."
        )
    corpus = Corpus(annotations.name, tuple(usable))
    in_all: dict[str, int] = {split: sum(clip.split == split for clip in annotations.clips) for split in SPLITS}
    return CheckedCorpus(corpus if limit is None else limited(corpus, limit), in_all, tuple(videos))


def limited(corpus: Corpus, count: int) -> Corpus:
    """At most `count` clips, spread evenly over each split, and the splits in their proportions with at least one clip each.

    Raises CorpusError if there are fewer than one for each split.
    """
    parts = [part for split in SPLITS if (part := corpus.split(split))]
    if count < len(parts):
        raise CorpusError(f"--data {count}: {corpus.name} has clips in {len(parts)} splits. Give at least {len(parts)}.")
    if count >= len(corpus.clips):
        return corpus
    sizes = [1] * len(parts)
    for _ in range(count - len(parts)):  # each to the split that has the smallest share of its clips
        open_parts = [place for place in range(len(parts)) if sizes[place] < len(parts[place])]
        sizes[min(open_parts, key=lambda place: sizes[place] / len(parts[place]))] += 1
    kept = {clip.id for part, size in zip(parts, sizes, strict=True) for clip in _evenly(part, size)}
    return Corpus(corpus.name, tuple(clip for clip in corpus.clips if clip.id in kept))


def clips_digest(clips: Iterable[Clip]) -> str:
    """A hash of ids, splits and captions: whether two runs saw the same data."""
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(json.dumps([clip.id, clip.split, clip.captions]).encode())
    return digest.hexdigest()


def _evenly(clips: Sequence[Clip], count: int) -> list[Clip]:
    return [clips[place * len(clips) // count] for place in range(count)]


def _check(recipe: Recipe, *, frames: int, on_progress: OnProgress | None) -> tuple[Problem, ...]:
    settings = recipe.corpus.model_copy(update={"available_only": False})  # missing videos are findings too
    report = check_corpus(settings, recipe.text, frames=frames, on_progress=on_progress)
    return report.errors


def _refuse(problems: Sequence[Problem], other_counts: bool, file: Path) -> None:
    """Raise CorpusError for what concerns every row."""
    passed_over = ABOUT_VIDEOS | ({"count"} if other_counts else frozenset())
    blocking = [problem for problem in problems if problem.kind not in passed_over]
    if not blocking:
        return
    lines = "".join(f"\n  - {problem.sentence}" for problem in blocking[:SHOWN])
    more = f"\n  and {len(blocking) - SHOWN:,} more" if len(blocking) > SHOWN else ""
    counts = " --other-counts accepts other numbers of clips." if any(p.kind == "count" for p in blocking) else ""
    raise CorpusError(
        f"{len(blocking):,} error{'s' if len(blocking) > 1 else ''} in the caption files; nothing was trained:{lines}{more}\n"
        f"{file} lists them all. Correct the files and check them with `stap prepare`.{counts}"
    )


def _mark(recipe: Recipe, here: Iterable[Clip], *, decoded: bool) -> dict[str, Any]:
    """The identity of the caption and video files, which changes when one of them is corrected."""
    digest = hashlib.sha256()
    for path in [*_caption_files(recipe), *(clip.path for clip in here)]:
        state = path.stat() if path.is_file() else None
        digest.update(json.dumps([str(path), *((state.st_size, state.st_mtime_ns) if state else ())]).encode())
    corpus = recipe.corpus.model_dump(mode="json", include={"kind", "language", "sources"})
    return {"files": digest.hexdigest(), "videos_decoded": decoded, "text": recipe.text.model_dump(mode="json"), **corpus}


def _caption_files(recipe: Recipe) -> list[Path]:
    root = recipe.corpus.root
    given = [file if root is None or file.is_absolute() else root / file for file in recipe.corpus.captions]
    files_in_root = root.iterdir() if root is not None else ()
    return sorted({*given, *(path for path in files_in_root if path.suffix in (".txt", ".csv", ".json"))})


def _found_before(file: Path, mark: Mapping[str, Any]) -> tuple[Problem, ...] | None:
    try:
        content = read_json(file)
        return tuple(Problem(**problem) for problem in content["problems"]) if content["of"] == mark else None
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or of another version: the check is repeated
        return None
