"""Check a whole corpus before training: counts, words, captions, video files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stap.corpora.corpus import SPLITS, Annotations, Clip, Split
from stap.corpora.files import find_video_files
from stap.corpora.loading import load_annotations
from stap.corpora.probe import probe_videos, report_same_files
from stap.corpora.problems import OnProblem, Problem, Problems
from stap.corpora.published import CLIPS_AND_CAPTIONS
from stap.recipes.settings import CorpusSettings, TextSettings
from stap.text.rules import TextRules
from stap.text.vocabulary import SPECIAL_WORDS

__all__ = ["CorpusReport", "SplitCounts", "WordCounts", "check_corpus", "count_words", "no_video"]

FEWEST_VALIDATION_CLIPS = 30  # fewer, and the scores of two epochs differ by chance

OnProgress = Callable[[int, int, str], None]  # videos done, videos, id of the latest


@dataclass(frozen=True)
class SplitCounts:
    """The sizes of a split. published_...: of the corpus of that name; None where nothing is published."""

    split: Split
    clips: int
    captions: int
    videos: int  # clips that have a file
    published_clips: int | None
    published_captions: int | None

    @property
    def is_as_published(self) -> bool:
        """Whether nothing contradicts what is published."""
        return self.published_clips in (None, self.clips) and self.published_captions in (None, self.captions)


@dataclass(frozen=True)
class WordCounts:
    """What the text rules of a recipe make of the captions."""

    rules: str
    train: int  # distinct words of the training captions
    every_split: int
    vocabulary: int  # words that a model would know, special words not counted
    known: float  # part of the training captions' words that are in the vocabulary
    mean_length: float  # words per caption, all splits
    too_long: int  # training captions that are cut or dropped
    without_words: int  # all splits


@dataclass(frozen=True)
class CorpusReport:
    """What was found. Problems are in the order in which they were met."""

    name: str
    splits: tuple[SplitCounts, ...]
    words: WordCounts | None  # None if no training caption has a word
    probed: int  # video files that were decoded in part
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stop work, or give results that differ from the papers'."""
        return tuple(problem for problem in self.problems if problem.is_error)

    @property
    def small_validation(self) -> str | None:
        """A sentence if the validation split is too small to choose weights by its scores."""
        clips = next(counts.clips for counts in self.splits if counts.split == "validation")
        if not 0 < clips < FEWEST_VALIDATION_CLIPS:
            return None
        of = "1 validation clip" if clips == 1 else f"{clips} validation clips"
        return (
            f"{self.name}: {of}; expected at least {FEWEST_VALIDATION_CLIPS} to choose weights by a score. With one clip CIDEr is always 0, "
            "with few it is mostly chance. Move clips there, or set training.best_by=log-likelihood."
        )

    def to_dict(self) -> dict[str, Any]:
        """The report for a JSON file."""
        return asdict(self)


def check_corpus(
    corpus: CorpusSettings,
    text: TextSettings,
    *,
    frames: int = 3,
    workers: int = 2,
    expect_published: bool = True,
    on_progress: OnProgress | None = None,
) -> CorpusReport:
    """Check everything that training would read, and report all problems at once. Nothing is changed on disk.

    frames: taken of each video to see that it can be decoded; 0: only whether its file is there.
    expect_published: other counts than those published of a corpus of that name are errors.
    Raises CorpusError if a folder or the only caption file cannot be read at all.
    """
    problems = Problems()
    annotations = load_annotations(corpus, problems)
    here, missing = find_video_files(annotations.clips, problems)
    for clip in missing:
        problems(no_video(clip, is_error=not corpus.available_only))
    splits = tuple(_count(annotations, here, split) for split in SPLITS)
    for counts in splits:
        _check_counts(annotations.name, counts, problems, expect_published)
    _check_captions(annotations.clips, problems)
    words = _check_words(annotations.clips, text, problems)
    if corpus.kind == "folder":
        _check_unused(here, corpus.videos or corpus.root, problems)
    report_same_files(here, problems, may_leak=corpus.kind != "folder")
    if frames:
        probe_videos(here, problems, frames=frames, workers=workers, limits=corpus.limits, on_progress=on_progress)
    return CorpusReport(annotations.name, splits, words, len(here) if frames else 0, tuple(problems))


def count_words(clips: Sequence[Clip], text: TextSettings) -> WordCounts | None:
    """What these text rules make of the captions; None if no training caption has a word."""
    words = _words(clips, text)
    return _word_counts(words, TextRules(text)) if any(line for split, _, line in words if split == "train") else None


def no_video(clip: Clip, *, is_error: bool = True) -> Problem:
    """The problem of a clip whose file is missing."""
    path = clip.path if clip.path.suffix else f"{clip.path}.mp4"
    sentence = f"{clip.id}: no video file {path}, nor one of that name with another suffix."
    return Problem("no video", sentence, is_error)


def _count(annotations: Annotations, here: Iterable[Clip], split: Split) -> SplitCounts:
    clips = [clip for clip in annotations.clips if clip.split == split]
    published = CLIPS_AND_CAPTIONS.get(annotations.name, {}).get(split, (None, None))
    videos = sum(clip.split == split for clip in here)
    return SplitCounts(split, len(clips), sum(len(clip.captions) for clip in clips), videos, *published)


def _check_counts(name: str, counts: SplitCounts, on_problem: OnProblem, expect_published: bool) -> None:
    if not counts.clips:
        sentence = f"{name}: no clip in {counts.split}. " + _WITHOUT[counts.split]
        on_problem(Problem("count", sentence, is_error=counts.split == "train"))
    elif not counts.is_as_published:
        on_problem(
            Problem(
                "count",
                f"{name}, {counts.split}: {counts.clips:,} clips and {counts.captions:,} captions; "
                f"{counts.published_clips:,} and {counts.published_captions:,} are published. "
                "Scores will not compare with the papers': get the caption files again, or say that the counts are meant.",
                is_error=expect_published,
            )
        )


_WITHOUT = {
    "train": "Nothing can be trained.",
    "validation": "Training cannot choose its best weights.",
    "test": "Nothing can be scored at the end.",
}


def _check_captions(clips: Iterable[Clip], on_problem: OnProblem) -> None:
    for clip in clips:
        for caption, times in Counter(clip.captions).items():
            if not caption.strip():
                on_problem(Problem("caption", f"{clip.id}: an empty caption. Training leaves it out.", is_error=False))
            elif times > 1:
                sentence = f"{clip.id}: {times} captions are {caption!r}."
                on_problem(Problem("same caption", sentence, is_error=False))


def _check_words(clips: Sequence[Clip], text: TextSettings, on_problem: OnProblem) -> WordCounts | None:
    rules = TextRules(text)
    what = f"cuts it after {text.max_words}" if text.too_long == "cut" else "leaves it out"
    words = _words(clips, text)
    captions = ((clip.id, caption) for clip in clips for caption in clip.captions)
    for (clip_id, caption), (split, _, line) in zip(captions, words, strict=True):
        if not line and caption.strip():
            sentence = f"{clip_id}: no word is left of the caption {caption!r}. Training leaves it out."
            on_problem(Problem("no words", sentence, is_error=False))
        elif split == "train" and rules.is_too_long(line):
            sentence = f"{clip_id}: a caption of {len(line)} words; training {what}."
            on_problem(Problem("long caption", sentence, is_error=False))
    return _word_counts(words, rules) if any(line for split, _, line in words if split == "train") else None


def _words(clips: Iterable[Clip], text: TextSettings) -> list[tuple[Split, str, list[str]]]:
    """Split, clip and words of each caption."""
    captions = [(clip.split, clip.id, caption) for clip in clips for caption in clip.captions]
    lines = TextRules(text).words([caption for _, _, caption in captions])
    return [(split, clip_id, line) for (split, clip_id, _), line in zip(captions, lines, strict=True)]


def _word_counts(words: Sequence[tuple[Split, str, list[str]]], rules: TextRules) -> WordCounts:
    train = Counter(word for split, _, line in words if split == "train" for word in line)
    every = Counter(word for _, _, line in words for word in line)
    vocabulary = rules.vocabulary_of(train if rules.settings.vocabulary_from == "train" else every)
    known = vocabulary.words[len(SPECIAL_WORDS) :]
    return WordCounts(
        rules=rules.description,
        train=len(train),
        every_split=len(every),
        vocabulary=len(known),
        known=sum(train[word] for word in known) / train.total(),
        mean_length=every.total() / len(words),
        too_long=sum(split == "train" and rules.is_too_long(line) for split, _, line in words),
        without_words=sum(not line for _, _, line in words),
    )


def _check_unused(here: Iterable[Clip], folder: Path | None, on_problem: OnProblem) -> None:
    """Videos in your own folder that no caption names."""
    if folder is None:
        return
    from stap.errors import VideoError
    from stap.video import find_videos

    named = {clip.path for clip in here}
    try:
        there = find_videos([folder])
    except VideoError:  # none at all, which is reported clip by clip
        return
    for path in there:
        if path not in named:
            on_problem(Problem("no caption", f"{path}: no caption names this video. It is not used.", is_error=False))
