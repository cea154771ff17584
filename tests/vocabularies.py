"""Vocabularies of a few captions."""

from collections import Counter
from collections.abc import Iterable

from stap.text.vocabulary import Vocabulary
from stap.text.words import tokenize


def vocabulary_of(captions: Iterable[str], size: int | None = None, min_count: int = 1) -> Vocabulary:
    """The vocabulary of captions, tokenized by `tokenize`; see `Vocabulary.from_counts`."""
    return Vocabulary.from_counts(Counter(word for caption in captions for word in tokenize(caption)), size, min_count)
