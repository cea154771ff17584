"""A corpus by its settings, whatever its layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stap.corpora import coco, folder, msrvtt, msvd, vatex
from stap.corpora.corpus import Annotations, Corpus, distinct
from stap.corpora.files import with_video_files
from stap.corpora.problems import OnProblem, refuse
from stap.errors import CorpusError
from stap.recipes.settings import CorpusSettings

__all__ = ["load_annotations", "load_corpus"]

READERS: Mapping[str, Callable[[CorpusSettings, OnProblem], Annotations]] = {
    "msrvtt": msrvtt.read_annotations,
    "msvd": msvd.read_annotations,
    "vatex": vatex.read_annotations,
    "folder": folder.read_annotations,
    "coco": coco.read_annotations,
}


def load_corpus(settings: CorpusSettings) -> Corpus:
    """The corpus that a recipe names. Raises CorpusError for anything missing or inconsistent."""
    if settings.kind == "coco":
        return coco.read_coco(settings)
    annotations = load_annotations(settings)
    where = str(settings.root or settings.videos or annotations.name)
    return Corpus(annotations.name, with_video_files(annotations.clips, where, available_only=settings.available_only))


def load_annotations(settings: CorpusSettings, on_problem: OnProblem = refuse) -> Annotations:
    """The same without looking for the video files. What else is wrong goes to `on_problem`, and is left out if that returns.

    Raises CorpusError where nothing can be read on: a file that is missing or of another corpus.
    """
    if settings.root is None and not settings.captions:
        raise CorpusError("corpus.root is not set. Give the folder of the corpus, for example corpus.root=data/msrvtt.")
    annotations = READERS[settings.kind](settings, on_problem)
    return Annotations(annotations.name, distinct(annotations.name, annotations.clips, on_problem))
