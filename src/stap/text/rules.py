"""The `text` section of a recipe at work: its tokenizer, its longest caption, its vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Generic, Protocol, TypeVar

from stap.recipes.settings import TextSettings
from stap.text.vocabulary import Vocabulary
from stap.text.words import split_characters, tokenize

__all__ = ["CaptionedClip", "TextRules", "TokenizedClip"]


class CaptionedClip(Protocol):
    """What the rules read of a clip."""

    @property
    def split(self) -> str:
        """train, validation or test."""

    @property
    def captions(self) -> Sequence[str]:
        """The captions as published."""


ClipType = TypeVar("ClipType", bound=CaptionedClip)


@dataclass(frozen=True)
class TokenizedClip(Generic[ClipType]):
    """A clip and the words of its captions.

    words: of every caption, in order; those of a caption may be empty.
    training_words: of the captions to train on: not empty, and those longer than text.max_words cut or left out.
    """

    clip: ClipType
    words: tuple[list[str], ...]
    training_words: tuple[list[str], ...]


class TextRules:
    """Tokenizes captions and builds vocabularies. With `ptb`, Java runs once for the captions of each call."""

    def __init__(self, settings: TextSettings) -> None:
        """Java is not started here."""
        self.settings = settings
        if settings.tokenizer == "ptb":
            from stap.text.ptb import PTBTokenizer

            self._ptb = PTBTokenizer()

    @property
    def description(self) -> str:
        """The tokenizer in a few words, for tables."""
        settings = self.settings
        if settings.tokenizer == "ptb":
            return "ptb"
        case = "lower case" if settings.lowercase else "case kept"
        return f"{settings.tokenizer}, {case}, special characters {settings.special_characters}"

    def words(self, captions: Sequence[str]) -> list[list[str]]:
        """All words of each caption; a list may be empty. With `ptb`, one call for many captions is much faster."""
        settings = self.settings
        if settings.tokenizer == "ptb":
            return [line.split() for line in self._ptb.tokenize(captions)]
        cut = partial(tokenize, lowercase=settings.lowercase, special_characters=settings.special_characters)
        words = map(cut, captions)
        return list(map(split_characters, words)) if settings.tokenizer == "characters" else list(words)

    def is_too_long(self, words: Sequence[str]) -> bool:
        """Whether a training caption of these words is cut or dropped."""
        return len(words) > self.settings.max_words

    def tokenized(self, clips: Sequence[ClipType]) -> list[TokenizedClip[ClipType]]:
        """The clips with the words of their captions, in one call of the tokenizer."""
        lines = iter(self.words([caption for clip in clips for caption in clip.captions]))
        return [self._tokenized(clip, tuple(islice(lines, len(clip.captions)))) for clip in clips]

    def _tokenized(self, clip: ClipType, lines: tuple[list[str], ...]) -> TokenizedClip[ClipType]:
        drop, longest = self.settings.too_long == "drop", self.settings.max_words
        usable = tuple(line[:longest] for line in lines if line and not (drop and self.is_too_long(line)))
        return TokenizedClip(clip, lines, usable)

    def vocabulary(self, clips: Iterable[TokenizedClip[ClipType]]) -> Vocabulary:
        """The vocabulary of a corpus: of its training captions or, with text.vocabulary_from all, of all captions.

        Counts whole captions, those that are too long included. Raises CorpusError if no word is left.
        """
        every = self.settings.vocabulary_from == "all"
        lines = (line for one in clips if every or one.clip.split == "train" for line in one.words)
        return self.vocabulary_of(Counter(word for line in lines for word in line))

    def vocabulary_of(self, counts: Mapping[str, int]) -> Vocabulary:
        """The vocabulary of words with these counts, in the recipe's size."""
        return Vocabulary.from_counts(counts, self.settings.vocabulary_size, self.settings.min_count)
