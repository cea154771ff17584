"""The words of captions as a recipe wants them: its tokenizer, its longest caption, its vocabulary.

`text.py` holds the rules; here is the choice between them. It is apart because one choice, STAT's, is the tokenizer of the
scorers, which `text.py` does not know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from stap.recipes.settings import TextSettings
from stap.text.vocabulary import Vocabulary
from stap.text.words import part_characters, tokenize

if TYPE_CHECKING:
    from stap.corpora.corpus import Clip

__all__ = ["TextRules"]


class TextRules:
    """The `text` section of a recipe, at work. One object serves a whole run: with `ptb` it remembers what Java has answered."""

    def __init__(self, settings: TextSettings) -> None:
        """Nothing is started here; Java is started by the first captions where the recipe asks for it."""
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
        """The words of each caption, all of them; a list may be empty. Many captions in one call are much faster with `ptb`."""
        settings = self.settings
        if settings.tokenizer == "ptb":
            return [line.split() for line in self._ptb.tokenize(captions)]
        cut = partial(tokenize, lowercase=settings.lowercase, special_characters=settings.special_characters)
        words = map(cut, captions)
        return list(map(part_characters, words)) if settings.tokenizer == "characters" else list(words)

    def is_too_long(self, words: Sequence[str]) -> bool:
        """Whether a training caption of these words is cut or dropped."""
        return len(words) > self.settings.max_words

    def for_training(self, clips: Sequence[Clip]) -> list[list[list[str]]]:
        """The words of each clip's captions that a model is trained on; all clips in one call of the tokenizer.

        Captions without words are left out, those that are too long are cut or left out; a clip's list may be empty.
        """
        lines = iter(self.words([caption for clip in clips for caption in clip.captions]))
        return [self._usable(islice(lines, len(clip.captions))) for clip in clips]

    def encoded(self, clips: Sequence[Clip], vocabulary: Vocabulary) -> list[list[list[int]]]:
        """The same as word ids, each caption with EOS at its end."""
        longest = self.settings.max_words
        return [[vocabulary.encode(line, longest) for line in lines] for lines in self.for_training(clips)]

    def with_words(self, clips: Sequence[Clip]) -> list[Clip]:
        """The clips that have a caption to be trained on."""
        return [clip for clip, lines in zip(clips, self.for_training(clips), strict=True) if lines]

    def _usable(self, lines: Iterable[list[str]]) -> list[list[str]]:
        drop, longest = self.settings.too_long == "drop", self.settings.max_words
        return [line[:longest] for line in lines if line and not (drop and self.is_too_long(line))]

    def vocabulary(self, clips: Iterable[Clip]) -> Vocabulary:
        """The vocabulary of a corpus, from its training captions or, where the recipe says so, from all of them.

        Whole captions count, those that are too long included. Raises CorpusError if no word is left.
        """
        every = self.settings.vocabulary_from == "all"
        captions = [caption for clip in clips if every or clip.split == "train" for caption in clip.captions]
        return self.vocabulary_of(Counter(word for line in self.words(captions) for word in line))

    def vocabulary_of(self, counts: Mapping[str, int]) -> Vocabulary:
        """The vocabulary of words that are seen so often, in the size that the recipe wants."""
        return Vocabulary.from_counts(counts, self.settings.vocabulary_size, self.settings.min_count)
