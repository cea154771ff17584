"""References named on the command line: a file, or a split of a corpus with its caption files in a folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from stap.errors import ScoringError

if TYPE_CHECKING:
    from stap.corpora.corpus import Clip, Corpus

__all__ = ["CaptionSource", "read_source"]

_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class CaptionSource:
    """Captions of videos by video id, in the order of the split; and the clips, if a corpus was named (some have facts)."""

    references: Mapping[str, Sequence[str]]
    clips: tuple[Clip, ...] = ()


def read_source(
    name: str, captions: Path | None, *, split: str | None = None, like: Collection[str] | None = None
) -> CaptionSource:
    """The captions of a file, or of `msvd:test`, `msrvtt:train` and the like.

    captions: the folder of the corpus's caption files, or the one file, for a corpus that is named; its videos need not be there.
    split: see stap.scoring.references.read_references.   like: names of videos, as predictions give them.

    Raises ScoringError for a name that is neither, or a split that is not there; CorpusError as the corpus's reader does.
    """
    kind, colon, part = name.partition(":")
    if Path(name).is_file() or kind not in _kinds():
        from stap.scoring.matching import video_id
        from stap.scoring.references import read_references

        _check_file(name)
        return CaptionSource(read_references(name, split=split, like=None if like is None else [*like, *map(video_id, like)]))
    if colon and split is not None and part != split:
        raise ScoringError(f"{name} names one split and --split {split} another. Give one of them.")
    chosen = part if colon else split
    if chosen not in _SPLITS:
        raise ScoringError(f"{name}: no split of a corpus. Expected {kind}:train, {kind}:validation or {kind}:test.")
    if captions is None:
        raise ScoringError(
            f"{name}: the folder of its captions is missing. Give the folder of the corpus's caption files with --captions DIR."
        )
    clips = _corpus(kind, captions).split(chosen)
    if not clips:
        raise ScoringError(f"{captions}: no clip of {name}. Choose another split.")
    by_file_name = like is not None and _are_file_names(like, clips)
    ids = [clip.path.stem if by_file_name else clip.id for clip in clips]
    return CaptionSource({video: clip.captions for video, clip in zip(ids, clips, strict=True)}, () if by_file_name else clips)


def _are_file_names(names: Collection[str], clips: Sequence[Clip]) -> bool:
    """Whether these are names of the clips' files, where a corpus calls its clips otherwise."""
    from stap.scoring.matching import video_id

    ids, stems = {clip.id for clip in clips}, {clip.path.stem for clip in clips}
    named = {*names, *map(video_id, names)}
    known_by_id = ids & named or {one.rpartition("/")[2] for one in ids} & named  # kitchen/0001 among a folder's clips
    return not known_by_id and len(stems) == len(clips) and bool(stems & named)


def _kinds() -> tuple[Any, ...]:
    from stap.recipes.settings import CorpusSettings

    return get_args(CorpusSettings.model_fields["kind"].annotation)


def _corpus(kind: str, captions: Path) -> Corpus:
    from stap.corpora.loading import load_corpus
    from stap.recipes.settings import CorpusSettings

    where = {"captions": captions} if captions.is_file() else {"root": captions}
    return load_corpus(CorpusSettings.model_validate({"kind": kind, **where}))


def _check_file(name: str) -> None:
    if not Path(name).exists():
        raise ScoringError(
            f"{name}: neither a file nor a corpus. Name a file with captions, or a split of a corpus, such as msvd:test, "
            "with --captions DIR."
        )
