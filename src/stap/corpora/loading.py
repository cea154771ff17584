"""A corpus by its settings, whatever its layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stap.corpora import coco, folder, msrvtt, msvd, vatex
from stap.corpora.corpus import Annotations, Corpus, distinct
from stap.corpora.files import with_files
from stap.corpora.problems import OnProblem, refuse
from stap.errors import CorpusError
from stap.recipes.settings import CorpusSettings

__all__ = ["load_annotations", "load_corpus", "load_corpus_with_files"]

READERS: Mapping[str, Callable[[CorpusSettings, OnProblem], Annotations]] = {
    "msrvtt": msrvtt.read_annotations,
    "msvd": msvd.read_annotations,
    "vatex": vatex.read_annotations,
    "folder": folder.read_annotations,
    "coco": coco.read_annotations,
}


def load_corpus(settings: CorpusSettings) -> Corpus:
    """The captions and splits of the corpus that a recipe names: all that training on stored features needs.

    No video file is looked for; a clip's path is where its file should be. Raises CorpusError for captions that are missing or
    inconsistent.
    """
    annotations = load_annotations(settings)
    return Corpus(annotations.name, annotations.clips)


def load_corpus_with_files(settings: CorpusSettings) -> Corpus:
    """The same for whatever decodes: each clip with the path of its file.

    With `available_only`, clips without a file are left out. Raises CorpusError as `load_corpus` does, and for missing files.
    """
    corpus = load_corpus(settings)
    where = str(settings.root or settings.videos or corpus.name)
    what = "image" if settings.kind == "coco" else "video"
    return Corpus(corpus.name, with_files(corpus.clips, where, what=what, available_only=settings.available_only))


def load_annotations(settings: CorpusSettings, on_problem: OnProblem = refuse) -> Annotations:
    """What the caption files say. Every problem goes to `on_problem`, and its record is left out if that returns.

    Raises CorpusError where nothing more can be read: a file that is missing or of another corpus.
    """
    if settings.root is None and not settings.captions:
        raise CorpusError("corpus.root is not set. Give the folder of the corpus, for example corpus.root=data/msrvtt.")
    annotations = READERS[settings.kind](settings, on_problem)
    return Annotations(annotations.name, distinct(annotations.name, annotations.clips, on_problem))
